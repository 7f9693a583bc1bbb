//! Messages to the service manager (sd_notify(3)): systemd's `Type=notify` and its watchdog.
//!
//! Every function does nothing where `NOTIFY_SOCKET` is not set, so outside of systemd. None of them waits: what a service manager
//! that is busy has no room for is sent before the next message. A message that cannot be delivered is logged and nothing else.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service is up; `status` is the line that `systemctl status` shows. Also ends a reload, whatever came of it.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
}

/// A reload has begun; [`ready`] must follow.
pub fn reloading(status: &str) {
    let status = line(status);
    let mut states = vec![NotifyState::Reloading, NotifyState::Status(&status)];
    // systemd from 253 on wants the time too, to tell this reload from the one before.
    states.extend(NotifyState::monotonic_usec_now());
    send(&states);
}

/// The service has begun to end.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&line(status))]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    send(&[NotifyState::Status(&line(status))]);
}

/// The service is well. To be said every [`watchdog_period`].
pub fn watchdog() {
    // One that has to wait says nothing: another follows.
    retry();
    if waiting().is_empty() {
        send(&[NotifyState::Watchdog]);
    }
}

/// Sends what the service manager had no room for.
pub fn retry() {
    deliver(&mut waiting());
}

/// Returns the pause between two calls of [`watchdog`]: half of what `WatchdogSec=` allows, as
/// sd_watchdog_enabled(3) advises. `None` where the service manager does not watch this process.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
        .map(|timeout| timeout / 2)
        .filter(|period| !period.is_zero())
}

/// The messages that the service manager has had no room for yet, oldest first.
static WAITING: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
/// The most messages that may wait; the oldest go first.
const MOST_WAITING: usize = 32;

fn send(states: &[NotifyState]) {
    let message = states.iter().map(|state| format!("{state}\n")).collect();
    let mut waiting = waiting();
    // The newest state is the one that counts.
    if waiting.len() == MOST_WAITING {
        waiting.pop_front();
    }
    waiting.push_back(message);
    deliver(&mut waiting);
}

fn waiting() -> MutexGuard<'static, VecDeque<String>> {
    // A queue of whole messages is sound even after a panic of its user.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends what waits, as far as there is room for it.
fn deliver(waiting: &mut VecDeque<String>) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").map(OsString::into_vec) else {
        return waiting.clear();
    };
    while let Some(message) = waiting.front() {
        match send_now(&path, message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::warn!(
                    "the service manager cannot be told {}: {error}",
                    message.lines().next().unwrap_or_default()
                );
            }
            Ok(()) => {}
        }
        waiting.pop_front();
    }
}

/// Sends one message to the socket at `path`, whose `@` stands for the abstract namespace; without waiting for room.
fn send_now(path: &[u8], message: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not stop this process.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// A message is lines of `KEY=value`, so a value must be one.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    /// Runs in a process of its own, since the environment is set before a process starts and not within.
    #[test]
    #[ignore = "run by the tests below, in a child process"]
    fn says_everything() {
        assert_eq!(
            watchdog_period().map(|period| period.as_millis()),
            std::env::var("EXPECTED")
                .ok()
                .map(|text| text.parse().unwrap())
        );
        ready("serving 3 zones\nREADY=0");
        reloading("reloading");
        status("3 of 4 regions up");
        watchdog();
        stopping("draining");
    }

    fn child() -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "--ignored",
            "server::notify::tests::says_everything",
        ]);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "EXPECTED"] {
            command.env_remove(name);
        }
        command
    }

    fn passed(mut command: Command) {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }

    #[test]
    fn the_service_manager_hears_every_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut command = child();
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "3000000")
            .env("EXPECTED", "1500");
        passed(command);
        let mut buffer = [0; 512];
        let mut next = || {
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(next(), "READY=1\nSTATUS=serving 3 zones READY=0\n");
        let reloading = next();
        let time = reloading
            .strip_prefix("RELOADING=1\nSTATUS=reloading\nMONOTONIC_USEC=")
            .unwrap();
        assert!(time.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(next(), "STATUS=3 of 4 regions up\n");
        assert_eq!(next(), "WATCHDOG=1\n");
        assert_eq!(next(), "STOPPING=1\nSTATUS=draining\n");
    }

    #[test]
    fn without_a_service_manager_nothing_is_said() {
        passed(child());
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_ours_and_a_dead_socket_does_no_harm() {
        let mut command = child();
        command
            .env("NOTIFY_SOCKET", "/nonexistent/notify")
            .env("WATCHDOG_USEC", "3000000")
            .env("WATCHDOG_PID", "1");
        passed(command);
    }
}
