//! The thread that makes frames of samples, and has them written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::message::{Sender, frame};
use super::output::Output;
use super::sampler::Drain;
use crate::clock::Clock;
use crate::dataset::Published;

/// The shortest sleep between two looks at the rings.
const SHORTEST: Duration = Duration::from_millis(2);
/// The longest one, which follows where nothing comes.
const LONGEST: Duration = Duration::from_millis(50);

/// The thread's state.
pub(super) struct Writer {
    pub(super) drains: Vec<Drain>,
    pub(super) output: Output,
    pub(super) sender: Sender,
    pub(super) published: Arc<Published>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Writer {
    /// Writes until told to stop, and then what is left.
    pub(super) fn run(mut self) {
        let mut frames = Vec::new();
        let mut sleep = SHORTEST;
        loop {
            // Read first: samples that come after it are of queries that came after the end.
            let is_last = self.stop.load(Ordering::Relaxed);
            let count = self.turn(&mut frames);
            if is_last {
                break;
            }
            sleep = match count {
                0 => (sleep * 2).min(LONGEST),
                _ => SHORTEST,
            };
            std::thread::park_timeout(sleep);
        }
        self.output.finish();
    }

    /// Takes what is in the rings, and returns how many samples that were.
    fn turn(&mut self, frames: &mut Vec<u8>) -> u64 {
        frames.clear();
        let mut count = 0;
        if !self.output.is_open() {
            for drain in &mut self.drains {
                count += drain.take(|_| {});
            }
            self.output.lose(count);
            return count;
        }
        let wall = Clock.wall();
        {
            // Let go before the write, which may take long: who replaces a snapshot waits until
            // nobody has it.
            let snapshot = self.published.load();
            let names = &snapshot.dataset.names;
            for drain in &mut self.drains {
                count += drain.take(|sample| {
                    let frame = frame(sample, &self.sender, names, wall);
                    // A sample has a few thousand octets.
                    frames.extend((frame.len() as u32).to_be_bytes());
                    frames.extend(frame);
                });
            }
        }
        if count > 0 {
            self.output.write(frames, count);
        }
        count
    }
}
