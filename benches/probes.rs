//! Cost of ten thousand endpoints: `cargo bench --bench probes`.
//!
//! Runs the server itself, with 10 000 endpoints on addresses of 127.0.0.0/8 that a process of its
//! own answers for, and prints a table: CPU time of the server alone per probe, but for its threads
//! that answer queries (the share in the kernel apart), how late probes start, how evenly they are
//! spread, memory, descriptors, and the latency of queries meanwhile beside that of the same server
//! while it does not probe. The rows `bare` are the floor: a loop of blocking calls that makes the
//! same connections at the same rate, and nothing else, beside a server that does not probe, whose
//! queries then show what the machine's being busy costs them. Over loopback the caller's time has
//! the kernel's work for the other end in it, too.
//!
//! How late a probe starts is seen from outside: the `i`th of `n` endpoints is due `i/n` of the
//! interval after the first, so each arrival is compared with the earliest schedule that fits all.
//!
//! `PROBES_SECONDS` (10) is how long each row is measured, `PROBES_ROWS` (all) which rows, by a
//! comma.

mod process;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{Server, Used, print};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ENDPOINTS: usize = 10_000;
const PER_SERVICE: usize = 10;
const INTERVAL: Duration = Duration::from_secs(2);
/// Rounds after the start that are not measured.
const SETTLE: Duration = Duration::from_secs(5);

fn main() {
    match std::env::var("PROBES_TARGET") {
        Ok(words) => match words.split_once(' ').expect("what and port") {
            ("bare", port) => bare(port.parse().expect("a port"), b""),
            ("bare-http", port) => bare(port.parse().expect("a port"), REQUEST),
            (kind, port) => target(kind, port.parse().expect("a port")),
        },
        Err(_) => measure(),
    }
}

/// One row of the table.
struct Row {
    name: &'static str,
    /// The check without its port; empty for a bare loop instead of the server.
    check: &'static str,
    /// Behaviour of the target; `None` starts none.
    target: &'static str,
    /// Endpoints beside the others, of a check `good` that answers.
    good: usize,
}

const ROWS: [Row; 6] = [
    Row {
        name: "idle",
        check: "type = \"tcp\"\ninterval = \"1h\"\ntimeout = \"1s\"",
        target: "answer",
        good: 0,
    },
    Row {
        name: "tcp",
        check: "type = \"tcp\"",
        target: "answer",
        good: 0,
    },
    Row {
        name: "http",
        check: "type = \"http\"\npath = \"/healthz\"",
        target: "answer",
        good: 0,
    },
    Row {
        name: "bare",
        check: "",
        target: "answer",
        good: 0,
    },
    Row {
        name: "bare-http",
        check: "",
        target: "answer",
        good: 0,
    },
    Row {
        name: "hung",
        check: "type = \"http\"",
        target: "hang",
        good: 100,
    },
];

/// A request about as long as that of `http` checks.
const REQUEST: &[u8] =
    b"GET /healthz HTTP/1.1\r\nhost: 127.10.0.1\r\nuser-agent: bare\r\naccept: */*\r\nconnection: close\r\n\r\n";

fn measure() {
    let seconds = std::env::var("PROBES_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let rows = std::env::var("PROBES_ROWS").unwrap_or_default();
    let mut table = format!(
        "{:9} {:>8} {:>8} {:>6} {:>10} {:>10} {:>10} {:>8} {:>7} {:>5} {:>9} {:>9}\n",
        "row",
        "probes/s",
        "µs/probe",
        "kernel",
        "lag p50",
        "lag p99",
        "lag max",
        "slot max",
        "RSS",
        "fds",
        "query p50",
        "query p99"
    );
    for row in ROWS
        .iter()
        .filter(|row| rows.is_empty() || rows.split(',').any(|name| name == row.name))
    {
        let window = Duration::from_secs(seconds);
        let line = if row.check.is_empty() {
            measure_bare(row, window)
        } else {
            measure_row(row, window)
        };
        progress(&line);
        let _ = writeln!(table, "{line}");
    }
    print(&table);
}

/// Prints progress beside the table.
#[allow(clippy::print_stderr, reason = "the standard output is the table's")]
fn progress(text: &str) {
    eprintln!("{text}");
}

fn measure_row(row: &Row, window: Duration) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let mut targets = vec![Target::start(row.target)];
    if row.good > 0 {
        targets.push(Target::start("answer"));
    }
    let wanted = |line: &str| line.contains("probes at once") || line.contains("late");
    let server = Server::start(
        directory.path(),
        |port| files(row, &targets, port),
        wanted,
        progress,
    );
    std::thread::sleep(SETTLE);
    targets.iter_mut().for_each(|target| target.mark());
    let (used, begun) = (Used::by(server.id()), Instant::now());
    let queries = queries(server.port, window);
    let (used, took) = (Used::by(server.id()).since(used), begun.elapsed());
    let (memory, descriptors) = (memory(server.id()), descriptors(server.id()));
    let judged = if row.good > 0 { row.good } else { ENDPOINTS };
    let arrivals: Vec<Vec<(u32, u64)>> = targets.into_iter().map(Target::finish).collect();
    let probes: usize = arrivals.iter().map(Vec::len).sum();
    let judged = Arrivals::of(arrivals.last().expect("one target"), judged);
    // A few probes show no schedule.
    let shown = |text: String| if probes > 100 { text } else { "-".to_owned() };
    let late = |share| shown(format!("{:.2} ms", judged.late(share) as f64 / 1000.0));
    format!(
        "{} {:>10} {:>10} {:>10} {:>8} {:>7} {:>5} {:>9} {:>9}",
        cost(row.name, probes, took, used),
        late(0.5),
        late(0.99),
        late(1.0),
        shown(format!("{:.2}×", judged.fullest_slot())),
        format!("{memory} MiB"),
        descriptors,
        format!("{} µs", queries.0),
        format!("{} µs", queries.1),
    )
}

/// A loop that does what the probes of `row` do, in a process of its own, beside a server that does
/// not probe.
fn measure_bare(row: &Row, window: Duration) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let mut target = Target::start(row.target);
    let server = Server::start(
        directory.path(),
        |port| files(&ROWS[0], std::slice::from_ref(&target), port),
        |_| false,
        |_| {},
    );
    let mut looped = mode(row.name, target.port).spawn().expect("a loop");
    std::thread::sleep(SETTLE);
    target.mark();
    let (used, begun) = (Used::by(looped.id()), Instant::now());
    let queries = queries(server.port, window);
    let (used, took) = (Used::by(looped.id()).since(used), begun.elapsed());
    let _ = looped.kill();
    let _ = looped.wait();
    let probes = target.finish().len();
    format!(
        "{} {:>67} {:>9}",
        cost(row.name, probes, took, used),
        format!("{} µs", queries.0),
        format!("{} µs", queries.1)
    )
}

/// The columns of what `probes` in `took` cost.
fn cost(name: &str, probes: usize, took: Duration, used: Used) -> String {
    let per_probe = used.cpu.as_secs_f64() * 1e6 / probes.max(1) as f64;
    let per_probe = if probes > 100 {
        format!("{per_probe:.1}")
    } else {
        "-".to_owned()
    };
    let share = 100.0 * used.kernel.as_secs_f64() / used.cpu.as_secs_f64();
    format!(
        "{name:9} {:>8.0} {per_probe:>8} {:>6}",
        probes as f64 / took.as_secs_f64(),
        format!("{share:.0} %")
    )
}

/// Arrival times of probes.
struct Arrivals {
    /// Microseconds after its turn, sorted.
    late: Vec<u64>,
    /// In the fullest 10 ms over the mean.
    fullest: f64,
}

impl Arrivals {
    /// `seen` are (endpoint, microseconds) of `count` endpoints.
    fn of(seen: &[(u32, u64)], count: usize) -> Arrivals {
        let interval = INTERVAL.as_micros() as i64;
        // Where in the round each arrival is, its endpoint's place taken off: the same for all but
        // for lateness.
        let offsets: Vec<i64> = seen
            .iter()
            .map(|(index, at)| {
                (*at as i64 - interval * i64::from(*index) / count as i64).rem_euclid(interval)
            })
            .collect();
        // The round has no beginning: it is cut where there is the largest gap between offsets.
        let mut sorted = offsets.clone();
        sorted.sort_unstable();
        let gap = |i: usize| (sorted[(i + 1) % sorted.len()] - sorted[i]).rem_euclid(interval);
        let start = (0..sorted.len())
            .max_by_key(|i| gap(*i))
            .map_or(0, |i| sorted[(i + 1) % sorted.len()]);
        let mut late: Vec<u64> = offsets
            .iter()
            .map(|offset| (offset - start).rem_euclid(interval) as u64)
            .collect();
        late.sort_unstable();
        let mut slots = std::collections::HashMap::new();
        seen.iter()
            .for_each(|(_, at)| *slots.entry(at / 10_000).or_insert(0usize) += 1);
        let span = slots
            .keys()
            .max()
            .zip(slots.keys().min())
            .map_or(1, |(last, first)| last - first + 1);
        let fullest = slots.values().max().copied().unwrap_or(0) as f64
            / (seen.len().max(1) as f64 / span as f64);
        Arrivals { late, fullest }
    }

    fn late(&self, share: f64) -> u64 {
        let index = (self.late.len().saturating_sub(1) as f64 * share) as usize;
        self.late.get(index).copied().unwrap_or(0)
    }

    fn fullest_slot(&self) -> f64 {
        self.fullest
    }
}

/// Asks every 2 ms for `window`: median and 99th percentile in microseconds.
fn queries(port: u16, window: Duration) -> (u128, u128) {
    let (socket, query) = process::asker(port, "s0000.bench.example.");
    let (begun, mut taken, mut answer) = (Instant::now(), Vec::new(), [0; 1500]);
    while begun.elapsed() < window {
        let sent = Instant::now();
        socket.send(&query).expect("sent");
        if socket.recv(&mut answer).is_ok() {
            taken.push(sent.elapsed().as_micros());
        } else {
            taken.push(1_000_000);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    taken.sort_unstable();
    (taken[taken.len() / 2], taken[taken.len() * 99 / 100])
}

/// The `index`th endpoint's address.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 10, (index / 250) as u8, (index % 250 + 1) as u8)
}

/// The index of an endpoint's address.
fn index_of(address: Ipv4Addr) -> u32 {
    let [.., high, low] = address.octets();
    u32::from(high) * 250 + u32::from(low) - 1
}

/// Configuration and zone file of the server, for `row` and its targets.
fn files(row: &Row, targets: &[Target], port: u16) -> (String, String) {
    let mut main = format!(
        "[server]\nnode = \"bench\"\nlisten = [\"127.0.0.1:{port}\"]\n[regions.a]\n[regions.b]\n"
    );
    let _ = writeln!(
        main,
        "[checks.all]\n{}\nport = {}",
        row.check, targets[0].port
    );
    if let Some(good) = targets.get(1) {
        let _ = writeln!(main, "[checks.good]\ntype = \"http\"\nport = {}", good.port);
    }
    let mut zone =
        "zone = \"bench.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n"
            .to_owned();
    let mut service = |name: String, check: &str, addresses: std::ops::Range<usize>| {
        let quoted = |range: std::ops::Range<usize>| {
            range
                .map(|index| format!("\"{}\"", address(index)))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let middle = addresses.start.midpoint(addresses.end);
        let (a, b) = (
            quoted(addresses.start..middle),
            quoted(middle..addresses.end),
        );
        let _ = writeln!(
            zone,
            "[services.{name}]\nroute = \"weighted\"\nchecks = [\"{check}\"]"
        );
        let _ = writeln!(
            zone,
            "[services.{name}.pools]\na = {{ endpoints = [{a}] }}\nb = {{ endpoints = [{b}] }}"
        );
    };
    for number in 0..ENDPOINTS / PER_SERVICE {
        service(
            format!("s{number:04}"),
            "all",
            number * PER_SERVICE..(number + 1) * PER_SERVICE,
        );
    }
    for number in 0..row.good / PER_SERVICE {
        service(
            format!("t{number:04}"),
            "good",
            number * PER_SERVICE..(number + 1) * PER_SERVICE,
        );
    }
    (main, zone)
}

/// Resident memory of `process`, in MiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// The process that all endpoints are.
struct Target {
    child: Child,
    port: u16,
}

impl Target {
    fn start(kind: &str) -> Target {
        let reserved = TcpListener::bind("0.0.0.0:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port");
        let port = reserved.port();
        let mut child = mode(kind, port)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a target");
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut ready)
            .expect("a target that listens");
        Target { child, port }
    }

    /// Counts from now on.
    fn mark(&mut self) {
        self.child
            .stdin
            .as_mut()
            .expect("piped")
            .write_all(b"m")
            .expect("a target that runs");
    }

    /// (endpoint, microseconds) of every arrival since the mark.
    fn finish(mut self) -> Vec<(u32, u64)> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let _ = self
            .child
            .stdout
            .take()
            .expect("piped")
            .read_to_string(&mut text);
        let _ = self.child.wait();
        let pair = |line: &str| {
            line.split_once(' ')
                .and_then(|(index, at)| Some((index.parse().ok()?, at.parse().ok()?)))
        };
        text.lines().filter_map(pair).collect()
    }
}

/// This program, as something else than the measurement.
fn mode(kind: &str, port: u16) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.env("PROBES_TARGET", format!("{kind} {port}"));
    command
}

/// Connects to the endpoints in turn, at the rate of the server's probes, until it is killed; sends
/// `request`, if any, and reads an answer once.
fn bare(port: u16, request: &[u8]) {
    let (begun, mut answer) = (Instant::now(), [0; 1024]);
    for probe in 0.. {
        // As a timer of whole milliseconds has it.
        let due = INTERVAL * probe / ENDPOINTS as u32;
        std::thread::sleep(
            Duration::from_millis(due.as_millis() as u64).saturating_sub(begun.elapsed()),
        );
        let mut stream =
            TcpStream::connect((address(probe as usize % ENDPOINTS), port)).expect("a connection");
        if !request.is_empty() {
            stream.write_all(request).expect("sent");
            assert!(
                stream.read(&mut answer).expect("an answer") > 0,
                "an answer"
            );
        }
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn target(kind: &str, port: u16) {
    let hangs = kind == "hang";
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket
        .bind(SocketAddr::from(([0, 0, 0, 0], port)))
        .expect("the port");
    let listener = socket.listen(16_384).expect("a queue");
    print("ready");
    let (marked, mut marks) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin()
            .lock()
            .bytes()
            .map_while(Result::ok)
            .for_each(|_| marked.send(()).unwrap_or(()))
    });
    let (begun, mut seen, mut counting) = (Instant::now(), Vec::new(), false);
    loop {
        tokio::select! {
            biased;
            mark = marks.recv() => match mark {
                Some(()) => counting = true,
                None => break,
            },
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                if let Ok(SocketAddr::V4(local)) = stream.local_addr() && counting {
                    seen.push((index_of(*local.ip()), begun.elapsed().as_micros() as u64));
                }
                tokio::spawn(serve(stream, hangs));
            }
        }
    }
    let mut text = String::new();
    seen.iter()
        .for_each(|(index, at)| writeln!(text, "{index} {at}").expect("memory"));
    print(&text);
}

async fn serve(mut stream: tokio::net::TcpStream, hangs: bool) {
    let mut request = [0; 1024];
    while let Ok(1..) = stream.read(&mut request).await {
        if !hangs
            && stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
                .await
                .is_err()
        {
            return;
        }
    }
}
