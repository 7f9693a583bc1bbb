//! A program of an operator's: run without a shell, in a process group of its own.
//!
//! The group is killed when the program ends, when its time is over, and when whoever waits for it
//! gives up: what it started in the background goes with it. A thread waits for each program, so
//! that it is reaped whatever becomes of who started it, and so that the group is killed before its
//! number can become another's.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// The PATH of programs where this process has none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that was started; dropping it kills its group.
pub(crate) struct Running {
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

/// A command of a program and its arguments: without input, and of the environment only PATH.
pub(crate) fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null());
    command.env_clear().env(
        "PATH",
        std::env::var_os("PATH").unwrap_or_else(|| PATH.into()),
    );
    command
}

/// Starts a program, and returns it with the pipe that both its outputs go to. `turn` is kept by the
/// thread that waits for it, so that programs that cannot even be killed do not become more and
/// more.
pub(crate) async fn start(
    mut command: Command,
    turn: impl Send + 'static,
) -> io::Result<(Running, pipe::Receiver)> {
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
    /// Waits for the end of the program; nothing is lost where the wait is given up.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        match (&mut self.ended).await {
            Ok(status) => status,
            Err(_) => Err(io::Error::other("the thread that waits for it is gone")),
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
