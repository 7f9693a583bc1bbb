//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, and no other ends the process by accident.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the loop follows.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// The wish that a signal expresses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// The files are to be read again.
    Reload,
    /// The process is to end.
    Stop,
}

impl Signals {
    /// Catches SIGHUP, and every signal that would end the process although nobody means that by it;
    /// to be called within the runtime. SIGTERM and SIGINT still end the process: it has nothing to
    /// lose before it answers, and reading the files may take long.
    pub(super) fn catch_hangup() -> io::Result<Signal> {
        outlive_others()?;
        signal(SignalKind::hangup())
    }

    /// Catches SIGTERM and SIGINT too.
    pub(super) fn catch(hangup: Signal) -> io::Result<Signals> {
        Ok(Signals {
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next wish.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.terminate.recv() => Wish::Stop,
            // The same as SIGTERM: Ctrl-C in a terminal drains too.
            _ = self.interrupt.recv() => Wish::Stop,
        }
    }
}

/// Catches the other signals whose default action ends a process, and does nothing on them.
fn outlive_others() -> io::Result<()> {
    let mut kinds = vec![
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
        SignalKind::io(),
    ];
    let unnamed = [
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGPWR,
        libc::SIGXFSZ,
        libc::SIGSTKFLT,
    ];
    kinds.extend(unnamed.map(SignalKind::from_raw));
    kinds.extend((libc::SIGRTMIN()..=libc::SIGRTMAX()).map(SignalKind::from_raw));
    for kind in kinds {
        // Caught rather than ignored: programs of `exec` checks would inherit that. The standard
        // library ignores SIGPIPE.
        drop(signal(kind)?);
    }
    Ok(())
}
