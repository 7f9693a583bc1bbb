//! Time until a dead endpoint leaves the answers: `cargo bench --bench failover`.
//!
//! Runs the server itself with two endpoints, the second for when the first is down, and prints a
//! table: from the moment when the first is killed (its connections are reset, its port refuses new
//! ones), stopped (it accepts and never answers) or begins to answer 503, to the first answer without
//! it, asked for every millisecond. Each round has a server of its own, since what goes up and down
//! often is held down as flapping. Then what probing two endpoints costs, over 10 s; and a region of
//! 1000 endpoints that dies: the time until all 100 services of it are answered from the other
//! region, and the latency of queries meanwhile beside that before.
//!
//! `FAILOVER_ROUNDS` (10) is how many rounds each row has; `FAILOVER_ONLY` a word that rows contain.

mod process;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process::{Server, Used, print};

/// The endpoints, and where they listen.
const NEAR: Ipv4Addr = Ipv4Addr::new(127, 20, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(127, 20, 0, 2);

/// Fate of the first endpoint.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Killed,
    Answers503,
    Hangs,
}

/// A check, in the words of its row and of the configuration.
struct Setting {
    name: &'static str,
    keys: &'static str,
    interval: Duration,
}

const DEFAULTS: Setting = Setting {
    name: "defaults",
    keys: "",
    interval: Duration::from_secs(2),
};
const WATCHED: Setting = Setting {
    name: "defaults, watch",
    keys: "watch = true",
    interval: Duration::from_secs(2),
};
const SECOND: Setting = Setting {
    name: "1 s, 250 ms, fall 2, recheck 50 ms, watch",
    keys: "interval = \"1s\"\ntimeout = \"250ms\"\nfall = 2\nrecheck = \"50ms\"\nwatch = true",
    interval: Duration::from_secs(1),
};
const TENTH: Setting = Setting {
    name: "100 ms, 50 ms, fall 2, recheck 50 ms, watch",
    keys: "interval = \"100ms\"\ntimeout = \"50ms\"\nfall = 2\nrecheck = \"50ms\"\nwatch = true",
    interval: Duration::from_millis(100),
};

/// The rows: a check, and what happens.
const ROWS: [(&Setting, Loss); 9] = [
    (&DEFAULTS, Loss::Killed),
    (&DEFAULTS, Loss::Hangs),
    (&WATCHED, Loss::Killed),
    (&SECOND, Loss::Killed),
    (&SECOND, Loss::Answers503),
    (&SECOND, Loss::Hangs),
    (&TENTH, Loss::Killed),
    (&TENTH, Loss::Answers503),
    (&TENTH, Loss::Hangs),
];

fn main() {
    if let Ok(address) = std::env::var("FAILOVER_ENDPOINT") {
        return endpoint(address.parse().expect("an address and a port"));
    }
    let rounds: u64 = std::env::var("FAILOVER_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let only = std::env::var("FAILOVER_ONLY").unwrap_or_default();
    let mut table = format!("{:58}{:>9}{:>9}{:>9}\n", "", "median", "least", "most");
    for (setting, loss) in ROWS {
        let name = format!("{}: {}", setting.name, words(loss));
        if !name.contains(&only) {
            continue;
        }
        let mut took: Vec<u128> = (0..rounds)
            .map(|round| failover(setting, loss, round).as_millis())
            .collect();
        took.sort_unstable();
        let [median, least, most] =
            [took.len() / 2, 0, took.len() - 1].map(|at| format!("{} ms", took[at]));
        let _ = writeln!(table, "{name:58}{median:>9}{least:>9}{most:>9}");
    }
    if "cost".contains(&only) {
        let share = cost(Duration::from_secs(10));
        let _ = writeln!(
            table,
            "CPU time for the probes of two endpoints every 100 ms: {share:.2} % of a core"
        );
    }
    if "region".contains(&only) {
        for _ in 0..rounds.min(5) {
            let _ = writeln!(table, "{}", region::dies());
        }
    }
    print(table.trim_end());
}

fn words(loss: Loss) -> &'static str {
    match loss {
        Loss::Killed => "killed",
        Loss::Answers503 => "answers 503",
        Loss::Hangs => "hangs",
    }
}

/// A server and its endpoints.
struct World {
    near: Endpoint,
    _far: Endpoint,
    server: Server,
    _directory: tempfile::TempDir,
}

impl World {
    fn start(setting: &Setting) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let near = Endpoint::start(NEAR, 0);
        let far = Endpoint::start(FAR, near.port);
        let files = |port| {
            let main = format!(
                "[server]\nnode = \"bench\"\nlisten = [\"127.0.0.1:{port}\"]\n[regions.a]\n[regions.b]\n[checks.web]\ntype = \"http\"\n\
                 port = {}\n{}\n",
                near.port, setting.keys
            );
            let zone = format!(
                "zone = \"bench.example\"\nttl_min = 1\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n\
                 [services.www]\nroute = \"priority\"\nchecks = [\"web\"]\n[services.www.pools]\n\
                 a = {{ priority = 1, endpoints = [\"{NEAR}\"] }}\nb = {{ priority = 2, endpoints = [\"{FAR}\"] }}\n"
            );
            (main, zone)
        };
        let server = Server::start(directory.path(), files, |_| false, |_| {});
        World {
            near,
            _far: far,
            server,
            _directory: directory,
        }
    }
}

/// From the loss to the first answer without the endpoint.
fn failover(setting: &Setting, loss: Loss, round: u64) -> Duration {
    let mut world = World::start(setting);
    let asker = process::asker(world.server.port, "www.bench.example.");
    // Anywhere between two probes.
    let place = f64::from(u32::try_from(round).expect("few rounds")) * 0.618;
    std::thread::sleep(setting.interval.mul_f64(1.5 + place.fract()));
    assert_eq!(ask(&asker), NEAR, "both are up");
    let lost = Instant::now();
    world.near.lose(loss);
    while ask(&asker) == NEAR {
        assert!(
            lost.elapsed() < Duration::from_secs(10),
            "it stays in the answers"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    lost.elapsed()
}

/// Percent of a core that the server takes while both endpoints are up.
fn cost(window: Duration) -> f64 {
    let world = World::start(&TENTH);
    std::thread::sleep(Duration::from_secs(1));
    let (used, begun) = (Used::by(world.server.id()), Instant::now());
    std::thread::sleep(window);
    100.0 * Used::by(world.server.id()).since(used).cpu.as_secs_f64()
        / begun.elapsed().as_secs_f64()
}

/// The address in the answer: an A record begins behind the question, and its last four octets of
/// 16 are the address.
fn ask((socket, query): &(UdpSocket, Vec<u8>)) -> Ipv4Addr {
    socket.send(query).expect("sent");
    let mut answer = [0; 512];
    socket.recv(&mut answer).expect("an answer");
    assert_eq!(answer[7], 1, "one record");
    let question = answer[12..]
        .iter()
        .position(|octet| *octet == 0)
        .expect("a name")
        + 17;
    let address: [u8; 4] = answer[question + 12..question + 16]
        .try_into()
        .expect("four octets");
    address.into()
}

/// A process that is an endpoint.
struct Endpoint {
    child: Child,
    port: u16,
}

impl Endpoint {
    /// On `address` and `port`, or any where that is 0.
    fn start(address: Ipv4Addr, port: u16) -> Endpoint {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command
            .env("FAILOVER_ENDPOINT", format!("{address}:{port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("an endpoint");
        let mut port = [0; 6];
        child
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut port)
            .expect("an endpoint that listens");
        let port = std::str::from_utf8(&port)
            .expect("a number")
            .trim()
            .parse()
            .expect("a port");
        Endpoint { child, port }
    }

    fn lose(&mut self, loss: Loss) {
        match loss {
            Loss::Killed => self.child.kill().expect("it runs"),
            Loss::Hangs => {
                kill(Pid::from_raw(self.child.id() as i32), Signal::SIGSTOP).expect("it runs")
            }
            Loss::Answers503 => self
                .child
                .stdin
                .as_mut()
                .expect("piped")
                .write_all(b"5")
                .expect("it runs"),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves health until it is killed: 200, and 503 once its standard input says something. Each
/// connection has a thread: one that is held idle keeps nobody waiting.
fn endpoint(address: SocketAddr) {
    static ILL: AtomicBool = AtomicBool::new(false);
    // A region has a thousand connections held to it, beside those of probes.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384).max(soft), hard).expect("a limit");
    let listener = TcpListener::bind(address).expect("the port");
    print(&format!(
        "{:5}",
        listener.local_addr().expect("an address").port()
    ));
    std::thread::spawn(|| {
        std::io::stdin()
            .lock()
            .bytes()
            .map_while(Result::ok)
            .for_each(|_| ILL.store(true, Ordering::Relaxed))
    });
    for mut stream in listener.incoming().map_while(Result::ok) {
        let answer = move || {
            if let Ok(1..) = stream.read(&mut [0; 1024]) {
                let status = match ILL.load(Ordering::Relaxed) {
                    true => "503 Service Unavailable",
                    false => "200 OK",
                };
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            }
        };
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(answer)
            .expect("a thread");
    }
}

/// A region of 1000 endpoints that dies.
mod region {
    use super::*;

    const SERVICES: usize = 100;
    const ENDPOINTS: usize = 10;

    fn address(region: u8, service: usize, endpoint: usize) -> Ipv4Addr {
        // Fewer than 250 of each.
        Ipv4Addr::new(127, 30 + region, service as u8 + 1, endpoint as u8 + 1)
    }

    fn files(ports: [u16; 2], port: u16) -> (String, String) {
        let mut main = format!(
            "[server]\nnode = \"bench\"\nlisten = [\"127.0.0.1:{port}\"]\n[regions.a]\n[regions.b]\n"
        );
        for (name, own) in ["a", "b"].iter().zip(ports) {
            let _ = writeln!(
                main,
                "[checks.{name}]\ntype = \"http\"\nport = {own}\n{}",
                SECOND.keys
            );
        }
        let mut zone = "zone = \"bench.example\"\nttl_min = 1\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n".to_owned();
        for service in 0..SERVICES {
            let _ = writeln!(
                zone,
                "[services.s{service:03}]\nroute = \"priority\"\n[services.s{service:03}.pools]"
            );
            for (region, name) in [(0, "a"), (1, "b")] {
                let endpoints: Vec<String> = (0..ENDPOINTS)
                    .map(|endpoint| format!("\"{}\"", address(region, service, endpoint)))
                    .collect();
                let _ = writeln!(
                    zone,
                    "{name} = {{ priority = {}, checks = [\"{name}\"], endpoints = [{}] }}",
                    region + 1,
                    endpoints.join(", ")
                );
            }
        }
        (main, zone)
    }

    /// Kills a region, and returns a row of the table.
    pub(super) fn dies() -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let mut near = Endpoint::start(Ipv4Addr::UNSPECIFIED, 0);
        let far = Endpoint::start(Ipv4Addr::UNSPECIFIED, 0);
        let ports = [near.port, far.port];
        let server = Server::start(
            directory.path(),
            |port| files(ports, port),
            |_| false,
            |_| {},
        );
        let askers: Vec<_> = (0..SERVICES)
            .map(|service| process::asker(server.port, &format!("s{service:03}.bench.example.")))
            .collect();
        std::thread::sleep(Duration::from_secs(4));
        let before = latency(&askers, Duration::from_secs(2));
        let lost = Instant::now();
        near.lose(Loss::Killed);
        let (moved, during) = until_all_moved(&askers, lost);
        format!(
            "a region of 1000 endpoints is killed: all out after {} ms; query p99 {} µs, before {} µs",
            moved.as_millis(),
            percentile(during, 99),
            percentile(before, 99),
        )
    }

    /// Asks every millisecond for one service after the other; the microseconds that each took.
    fn latency(askers: &[(UdpSocket, Vec<u8>)], window: Duration) -> Vec<u128> {
        let (begun, mut took) = (Instant::now(), Vec::new());
        for asker in askers.iter().cycle() {
            if begun.elapsed() > window {
                break;
            }
            let sent = Instant::now();
            ask(asker);
            took.push(sent.elapsed().as_micros());
            std::thread::sleep(Duration::from_millis(1));
        }
        took
    }

    /// The time from `lost` until no service is answered from the first region, and the latencies of
    /// the queries until then.
    fn until_all_moved(askers: &[(UdpSocket, Vec<u8>)], lost: Instant) -> (Duration, Vec<u128>) {
        let (mut took, mut left) = (Vec::new(), (0..askers.len()).collect::<Vec<_>>());
        while !left.is_empty() {
            assert!(lost.elapsed() < Duration::from_secs(20), "some stay");
            left.retain(|service| {
                let sent = Instant::now();
                let region = ask(&askers[*service]).octets()[1];
                took.push(sent.elapsed().as_micros());
                region == 30
            });
            std::thread::sleep(Duration::from_millis(1));
        }
        (lost.elapsed(), took)
    }

    fn percentile(mut took: Vec<u128>, percent: usize) -> u128 {
        took.sort_unstable();
        took[took.len() * percent / 100]
    }
}
