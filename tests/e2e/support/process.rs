//! Programs: run to their end, or beside the test.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, wait_for};

/// `program`, which the kernel kills should this thread end without doing so (the process that starts keeps its id).
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.as_ref());
    for name in [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "JOURNAL_STREAM",
        "STATE_DIRECTORY",
        "MERIDIAN_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

/// How a program ended and what it printed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// `meridian` with `arguments`, run to its end in `directory`.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Done {
    let mut meridian = command(env!("CARGO_BIN_EXE_meridian"));
    meridian
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null());
    meridian.output().expect("meridian runs").into()
}

/// What `dig` prints for `arguments`, asking `server` once with little patience.
#[track_caller]
pub(crate) fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    ask(
        "dig",
        server,
        &["+tries=1", "+time=5", "+nocookie"],
        arguments,
    )
}

/// The same with `kdig`.
#[track_caller]
pub(crate) fn kdig(server: SocketAddr, arguments: &[&str]) -> String {
    ask("kdig", server, &["+retry=0", "+timeout=5"], arguments)
}

#[track_caller]
fn ask(program: &str, server: SocketAddr, options: &[&str], arguments: &[&str]) -> String {
    let (at, port) = (format!("@{}", server.ip()), server.port().to_string());
    let output = command(program)
        .args([&at, "-p", &port])
        .args(options)
        .args(arguments)
        .output();
    let done = Done::from(
        output.unwrap_or_else(|error| panic!("{program} (tests/run installs it): {error}")),
    );
    assert_eq!(
        done.code,
        Some(0),
        "{program} {arguments:?}: {}{}",
        done.stdout,
        done.stderr
    );
    done.stdout
}

/// A program beside the test; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it and collects what it prints, on both outputs.
    pub(crate) fn spawn(command: &mut Command) -> Process {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            collect(child.stdout.take().expect("piped"), log.clone()),
            collect(child.stderr.take().expect("piped"), log.clone()),
        ];
        Process {
            child,
            log,
            readers,
        }
    }

    /// Its standard input, where it was piped.
    pub(crate) fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has printed `text`, after the first `from` bytes; where in the log that ends.
    #[track_caller]
    pub(crate) fn wait_log(&mut self, text: &str, from: usize) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap();
            let log = self.log();
            if let Some(found) = log[from..].find(text) {
                return from + found + text.len();
            }
            assert!(
                ended.is_none(),
                "it ended ({ended:?}) before it printed {text:?}:\n{log}"
            );
            assert!(Instant::now() < end, "it does not print {text:?}:\n{log}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    /// False once it has ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end: its exit code and everything it printed.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for("the process ends", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status.code(), self.log())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}:\n{}", self.child.id(), self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            log.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
