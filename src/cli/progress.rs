//! Progress of what takes longer than a second, on standard error where that is a terminal.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::is_smart;

/// Work that takes less than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two pictures.
const STEP: Duration = Duration::from_millis(100);

/// A bar that shows how much of a known number of things is done.
pub(super) struct Bar {
    began: Instant,
    bar: ProgressBar,
    is_shown: bool,
}

impl Bar {
    /// A bar for `count` of `what`, not shown yet.
    pub(super) fn new(count: usize, what: &str) -> Bar {
        let hidden = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(count as u64), hidden);
        let style = ProgressStyle::with_template("[{bar:40}] {pos} of {len} {msg}, {eta} left");
        bar.set_style(
            style
                .expect("the template is well-formed")
                .progress_chars("##-"),
        );
        Bar {
            began: Instant::now(),
            bar: bar.with_message(what.to_owned()),
            is_shown: false,
        }
    }

    /// Shows that so many are `done`.
    pub(super) fn show(&mut self, done: usize) {
        if !self.is_shown && self.began.elapsed() >= PATIENCE && is_smart(&std::io::stderr()) {
            self.is_shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(done as u64);
    }

    /// Does what may print, without the bar in its way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        if self.is_shown && std::io::stdout().is_terminal() {
            self.bar.suspend(print)
        } else {
            print()
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A sign that something is being waited for whose length is not known. Dropped, it leaves the
/// terminal as it was.
pub(super) struct Waiting {
    /// Nothing is ever sent: the thread notices that it is dropped.
    until: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Begins to wait; after a second, a line says for `what`.
    pub(super) fn begin(what: &'static str) -> Waiting {
        if !is_smart(&std::io::stderr()) {
            return Waiting {
                until: None,
                thread: None,
            };
        }
        let (until, end) = channel();
        let thread = thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let spinner = ProgressBar::new_spinner().with_message(what);
                spinner.enable_steady_tick(STEP);
                // Ends with the other side.
                let _ = end.recv();
                spinner.finish_and_clear();
            }
        });
        Waiting {
            until: Some(until),
            thread: Some(thread),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.until.take());
        if let Some(thread) = self.thread.take() {
            // Whatever is printed next comes after the line is gone.
            let _ = thread.join();
        }
    }
}

/// Does `work`; where it takes longer than a second, a line says `what` meanwhile.
pub(super) fn while_waiting<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let _waiting = Waiting::begin(what);
    work()
}
