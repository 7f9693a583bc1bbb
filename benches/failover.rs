//! Time until a dead endpoint leaves the answers: `cargo bench --bench failover`.
//!
//! Runs the server itself with two endpoints, the second for when the first is down, and prints a
//! table: from the moment when the first is killed (its port refuses connections), stopped (it
//! accepts and never answers) or begins to answer 503, to the first answer without it, asked for
//! every millisecond. Each round has a server of its own, since what goes up and down often is held
//! down as flapping. Then what probing two endpoints costs, over 10 s.
//!
//! `FAILOVER_ROUNDS` (10) is how many rounds each row has.

mod process;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

/// The rows: what happens, and the check's `fall`.
const ROWS: [(Loss, u32); 4] = [
    (Loss::Killed, 2),
    (Loss::Answers503, 2),
    (Loss::Hangs, 2),
    (Loss::Killed, 1),
];

fn main() {
    if let Ok(address) = std::env::var("FAILOVER_ENDPOINT") {
        return endpoint(address.parse().expect("an address and a port"));
    }
    let rounds: u64 = std::env::var("FAILOVER_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let mut table =
        String::from("interval 100 ms, timeout 100 ms         median   least    most\n");
    for (loss, fall) in ROWS {
        let mut took: Vec<u128> = (0..rounds)
            .map(|round| failover(loss, fall, round).as_millis())
            .collect();
        took.sort_unstable();
        let [median, least, most] =
            [took.len() / 2, 0, took.len() - 1].map(|at| format!("{} ms", took[at]));
        let _ = writeln!(
            table,
            "{:40}{median:>6}{least:>8}{most:>8}",
            format!("fall {fall}, {}", words(loss))
        );
    }
    let share = cost(Duration::from_secs(10));
    let _ = write!(
        table,
        "CPU time for the probes of two endpoints: {share:.2} % of a core"
    );
    print(&table);
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
    fn start(fall: u32) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let near = Endpoint::start(NEAR, 0);
        let far = Endpoint::start(FAR, near.port);
        let files = |port| {
            let main = format!(
                "[server]\nnode = \"bench\"\nlisten = [\"127.0.0.1:{port}\"]\n[regions.a]\n[regions.b]\n[checks.web]\ntype = \"http\"\n\
                 port = {}\ninterval = \"100ms\"\ntimeout = \"100ms\"\nfall = {fall}\n",
                near.port
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
fn failover(loss: Loss, fall: u32, round: u64) -> Duration {
    let mut world = World::start(fall);
    let asker = process::asker(world.server.port, "www.bench.example.");
    // Anywhere between two probes.
    std::thread::sleep(Duration::from_millis(500 + round * 37 % 100));
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
    let world = World::start(2);
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

/// Serves health until it is killed: 200, and 503 once its standard input says something.
fn endpoint(address: SocketAddr) {
    static ILL: AtomicBool = AtomicBool::new(false);
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
        let status = if ILL.load(Ordering::Relaxed) {
            "503 Service Unavailable"
        } else {
            "200 OK"
        };
        if let Ok(1..) = stream.read(&mut [0; 1024]) {
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    }
}
