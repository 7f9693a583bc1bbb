//! The server under test, as a process, and what it used.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meridian::answer::query_message;
use meridian::dns::{Name, RrType};

/// The server under test; ends when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Port at which it answers.
    pub(crate) port: u16,
}

impl Server {
    /// Starts it in `directory` with the files that `files` makes for its port: `meridian.toml`,
    /// and that of its zone. What it logs up to "started", and later what `wanted` says, goes to
    /// `hear`.
    pub(crate) fn start(
        directory: &Path,
        files: impl FnOnce(u16) -> (String, String),
        wanted: fn(&str) -> bool,
        hear: fn(&str),
    ) -> Server {
        let port = free_port();
        let (main, zone) = files(port);
        std::fs::create_dir(directory.join("zones")).expect("a directory");
        std::fs::write(directory.join("meridian.toml"), main).expect("written");
        std::fs::write(directory.join("zones/bench.toml"), zone).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command
            .args(["serve", "--config"])
            .arg(directory.join("meridian.toml"))
            .env("MERIDIAN_LOG", "info");
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a server");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = stderr.lines().map_while(Result::ok);
        let (mut said, mut started) = (Vec::new(), false);
        while !started && let Some(line) = lines.next() {
            started = line.contains("started:");
            if started || wanted(&line) {
                hear(&line);
            }
            said.push(line);
        }
        assert!(started, "the server did not start: {}", said.join("\n"));
        std::thread::spawn(move || {
            lines
                .filter(|line| wanted(line))
                .for_each(|line| hear(&line))
        });
        Server { child, port }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints a table, or what a process that was started by another tells that one.
#[allow(
    clippy::print_stdout,
    reason = "the table is what these programs are for"
)]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

/// A socket to a server on `port`, and a query for the addresses of `name`.
pub(crate) fn asker(port: u16, name: &str) -> (UdpSocket, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(("127.0.0.1", port)).expect("a route");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    let name = Name::from_text(name, None).expect("a name");
    (
        socket,
        query_message(
            &name,
            RrType::A,
            "203.0.113.0/24".parse().expect("a prefix"),
        ),
    )
}

/// A port that neither UDP nor TCP uses.
fn free_port() -> u16 {
    let both = || {
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        let address = listener.local_addr().ok()?;
        UdpSocket::bind(address).is_ok().then_some(address.port())
    };
    (0..100).find_map(|_| both()).expect("a port")
}

/// Time on a CPU, of all threads of a process but those that answer queries.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    /// All of it.
    pub(crate) cpu: Duration,
    /// The part of it in the kernel, in steps of 10 ms.
    pub(crate) kernel: Duration,
}

impl Used {
    /// Up to now.
    pub(crate) fn by(process: u32) -> Used {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"))
            .expect("it runs")
            .filter_map(Result::ok);
        let read = |task: &std::fs::DirEntry, name| {
            std::fs::read_to_string(task.path().join(name)).unwrap_or_default()
        };
        let counted: Vec<_> = tasks
            .filter(|task| !read(task, "comm").starts_with("udp-"))
            .collect();
        let nanos = |task| {
            read(task, "schedstat")
                .split(' ')
                .next()
                .and_then(|nanos| nanos.parse::<u64>().ok())
        };
        let ticks = |task| {
            read(task, "stat")
                .rsplit(')')
                .next()?
                .split(' ')
                .nth(13)?
                .parse::<u64>()
                .ok()
        };
        Used {
            cpu: Duration::from_nanos(counted.iter().filter_map(nanos).sum()),
            kernel: Duration::from_millis(counted.iter().filter_map(ticks).sum::<u64>() * 10),
        }
    }

    /// Since `before`.
    pub(crate) fn since(self, before: Used) -> Used {
        Used {
            cpu: self.cpu - before.cpu,
            kernel: self.kernel - before.kernel,
        }
    }
}
