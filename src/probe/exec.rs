//! An operator's program as a check ([`super::program`]): exit code 0 passes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::program::{self, Running};
use super::report::Report;
use crate::health::{Evidence, ExecFault, FailReason, NotJudged, Seen};
use crate::model::ExecSpec;

/// A program that writes more than this many bytes is cut off.
pub const MAX_OUTPUT: usize = 64 << 10;

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
    match program::start(command(spec, attempt), turn).await {
        Ok((mut running, pipe)) => {
            programs.say_starts(check);
            finish(&mut running, pipe, report).await
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

fn command(spec: &ExecSpec, attempt: &Attempt<'_>) -> Command {
    let left = attempt.deadline.saturating_duration_since(Instant::now());
    let mut command = program::command(&spec.command);
    command.env("MERIDIAN_CHECK", &attempt.check.spec.name);
    command.env("MERIDIAN_TARGET", attempt.named().trim_matches(['[', ']']));
    command.env("MERIDIAN_ADDRESS", attempt.address.ip().to_string());
    command.env("MERIDIAN_TIMEOUT", format!("{:.3}", left.as_secs_f64()));
    if attempt.address.port() != 0 {
        command.env("MERIDIAN_PORT", attempt.address.port().to_string());
    }
    command
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what the program writes until it ends, and judges its end.
async fn finish(
    running: &mut Running,
    mut pipe: pipe::Receiver,
    report: &mut Report,
) -> Result<(), Seen> {
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
            status = running.ended() => break status,
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
        Ok(status) => judge(status),
        Err(error) => Err(resources(&error)),
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
