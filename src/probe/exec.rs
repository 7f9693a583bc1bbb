//! An operator's program as a check: run without a shell, exit code 0 passes.
//!
//! The program runs in a process group of its own, which is killed when the program ends, when its
//! time is over, and when the probe is given up: what it started in the background goes with it. A
//! thread waits for each program, so that it is reaped whatever becomes of the probe, and so that
//! the group is killed before its number can become another's.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::report::Report;
use crate::health::{Evidence, ExecFault, FailReason, NotJudged, Seen};
use crate::model::ExecSpec;

/// A program that writes more than this many bytes is cut off.
pub const MAX_OUTPUT: usize = 64 << 10;
/// The PATH of programs where this process has none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An `exec` check: the program ends with exit code 0. The first of what it wrote, be it to standard
/// output or error, is evidence at any time; dropping the future kills it.
pub(super) async fn probe(
    spec: &ExecSpec,
    attempt: &Attempt<'_>,
    programs: &Programs,
    turn: Option<Turn>,
    report: &mut Report,
) -> Result<(), Seen> {
    let check = &attempt.check.spec.name;
    match start(command(spec, attempt), turn).await {
        Ok((mut running, pipe)) => {
            programs.say_starts(check);
            running.finish(pipe, report).await
        }
        Err(error) => {
            programs.say_cannot_start(check, &spec.command[0], &error);
            Err(Seen::NotJudged(NotJudged::Program(
                error.raw_os_error().unwrap_or(0),
            )))
        }
    }
}

/// Lets so many programs run at once.
#[derive(Debug)]
pub(super) struct Programs {
    permits: Arc<Semaphore>,
    /// The checks whose program cannot be started: nothing is known of their endpoints, and that was said.
    broken: Mutex<HashSet<String>>,
}

/// The right to run a program; kept by the thread that waits for it, so that programs that cannot
/// even be killed do not become more and more.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

impl Programs {
    /// At most `at_once` programs run at the same time.
    pub(super) fn new(at_once: usize) -> Programs {
        Programs {
            permits: Arc::new(Semaphore::new(at_once.max(1))),
            broken: Mutex::default(),
        }
    }

    /// A turn: to be waited for before the check's time begins to run.
    pub(super) async fn turn(&self) -> Turn {
        Arc::new(
            self.permits
                .clone()
                .acquire_owned()
                .await
                .expect("nothing closes the semaphore"),
        )
    }

    fn say_cannot_start(&self, check: &str, program: &str, error: &io::Error) {
        if lock(&self.broken).insert(check.to_owned()) {
            tracing::warn!("check {check} judges nothing until {program} can be started: {error}");
        }
    }

    fn say_starts(&self, check: &str) {
        if lock(&self.broken).remove(check) {
            tracing::info!("check {check} judges again: its program can be started");
        }
    }
}

/// A program that was started; dropping it kills its group.
struct Running {
    state: Arc<Mutex<State>>,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// The process group to kill, agreed between the probe and the thread that waits for the program.
enum State {
    /// Nothing yet.
    Starting,
    /// This group: its leader has not been reaped.
    Running(Pid),
    /// Nothing any more.
    Over,
    /// The group, as soon as there is one.
    GivenUp,
}

async fn start(mut command: Command, turn: Option<Turn>) -> io::Result<(Running, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let state = Arc::new(Mutex::new(State::Starting));
    let (begun, beginning) = oneshot::channel();
    let (over, ended) = oneshot::channel();
    let running = Running {
        state: state.clone(),
        ended,
    };
    tokio::task::spawn_blocking(move || {
        let started = command.spawn();
        // It holds the pipe's writing ends, which would keep the pipe open.
        drop(command);
        match started {
            Ok(child) => {
                let _ = begun.send(Ok(()));
                let _ = over.send(wait(child, &state));
            }
            Err(error) => drop(begun.send(Err(error))),
        }
        drop(turn);
    });
    beginning.await.map_err(io::Error::other)??;
    Ok((running, reader))
}

fn command(spec: &ExecSpec, attempt: &Attempt<'_>) -> Command {
    let left = attempt.deadline.saturating_duration_since(Instant::now());
    let mut command = Command::new(&spec.command[0]);
    command
        .args(&spec.command[1..])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null());
    command.env_clear().env(
        "PATH",
        std::env::var_os("PATH").unwrap_or_else(|| PATH.into()),
    );
    command.env("MERIDIAN_CHECK", &attempt.check.spec.name);
    command.env("MERIDIAN_TARGET", attempt.named().trim_matches(['[', ']']));
    command.env("MERIDIAN_ADDRESS", attempt.address.ip().to_string());
    command.env("MERIDIAN_TIMEOUT", format!("{:.3}", left.as_secs_f64()));
    if attempt.address.port() != 0 {
        command.env("MERIDIAN_PORT", attempt.address.port().to_string());
    }
    command
}

/// Waits for the end of the program, kills what is left of its group, and reaps it.
fn wait(mut child: Child, state: &Mutex<State>) -> io::Result<ExitStatus> {
    let group = Pid::from_raw(child.id().cast_signed());
    {
        let mut state = lock(state);
        match *state {
            State::GivenUp => kill(group),
            _ => *state = State::Running(group),
        }
    }
    // Not reaped yet, the program keeps its number, which is its group's.
    while waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {
    }
    let mut state = lock(state);
    kill(group);
    *state = State::Over;
    child.wait()
}

fn kill(group: Pid) {
    // The one error, that nothing of the group is left, is what is wanted.
    let _ = killpg(group, Signal::SIGKILL);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Reads what the program writes until it ends, and judges its end.
    async fn finish(&mut self, mut pipe: pipe::Receiver, report: &mut Report) -> Result<(), Seen> {
        let mut written = Written {
            total: 0,
            kept: Vec::new(),
            report,
        };
        let mut open = true;
        let mut buffer = [0; 1024];
        let status = loop {
            tokio::select! {
                biased;
                read = pipe.read(&mut buffer), if open => match read {
                    Ok(length) if length > 0 => written.take(&buffer[..length])?,
                    _ => open = false,
                },
                status = &mut self.ended => break status,
            }
        };
        // What left the group may hold the pipe open for as long as it likes: only what is there is read. The runtime
        // may not have heard of it yet, so the pipe itself is asked.
        let mut pipe = File::from(
            pipe.into_nonblocking_fd()
                .map_err(|error| resources(&error))?,
        );
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            written.take(&buffer[..length])?;
        }
        match status {
            Ok(Ok(status)) => judge(status),
            Ok(Err(error)) => Err(resources(&error)),
            Err(_) => Err(Seen::NotJudged(NotJudged::Check)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        match *state {
            State::Running(group) => kill(group),
            State::Starting => *state = State::GivenUp,
            State::Over | State::GivenUp => {}
        }
    }
}

/// The amount of output and the first of it, reported as it comes.
struct Written<'a> {
    total: usize,
    kept: Vec<u8>,
    report: &'a mut Report,
}

impl Written<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Seen> {
        self.total += bytes.len();
        let room = Evidence::MAX - self.kept.len();
        if room > 0 {
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            self.report.evidence = Evidence::of(self.kept.trim_ascii_end());
        }
        if self.total > MAX_OUTPUT {
            Err(Seen::Fail(FailReason::Exec(ExecFault::TooMuchOutput)))
        } else {
            Ok(())
        }
    }
}

fn resources(error: &io::Error) -> Seen {
    Seen::NotJudged(NotJudged::Resources(error.raw_os_error().unwrap_or(0)))
}

fn judge(status: ExitStatus) -> Result<(), Seen> {
    let fault = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        // "the value is status & 0xFF" (exit(3)).
        (Some(code), _) => ExecFault::Exit(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        // Signals are numbered from 1 to 64 (signal(7)).
        (None, signal) => ExecFault::Signal(
            signal
                .and_then(|signal| u8::try_from(signal).ok())
                .unwrap_or(0),
        ),
    };
    Err(Seen::Fail(FailReason::Exec(fault)))
}
