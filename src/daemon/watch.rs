//! Whoever watches the control loop and the threads that answer: a thread of its own, which waits for none of them.
//!
//! It says that the loop is late, and feeds systemd's watchdog for as long as the loop goes round and no thread is stuck.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::control::{Liveness, TURN};
use crate::model::Moment;
use crate::server::{Stalls, notify};

/// A loop or thread that is late by so much is said to be.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// The longest time that a thread that answers may take for one round: a healthy one takes a fifth
/// of a second at most.
const STUCK: Duration = Duration::from_secs(5);

/// Starts the thread; it lives as long as the process.
pub(super) fn start(liveness: Arc<Liveness>, clock: Clock, threads: Stalls) -> std::io::Result<()> {
    let watch = Watch {
        liveness,
        clock,
        threads,
        stuck: Vec::new(),
        looked: clock.now(),
        fed: clock.now(),
        woken: clock.now(),
        late: Duration::ZERO,
    };
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || watch.run())?;
    Ok(())
}

struct Watch {
    liveness: Arc<Liveness>,
    clock: Clock,
    threads: Stalls,
    /// The threads found stuck at the last look.
    stuck: Vec<String>,
    looked: Moment,
    fed: Moment,
    woken: Moment,
    /// The lateness of the loop when it was last logged; zero while it is not late.
    late: Duration,
}

impl Watch {
    fn run(mut self) {
        let feed = notify::watchdog_period();
        // systemd asks to be fed at half its period; a short one must not be missed between two
        // looks.
        let pause = feed.map_or(TURN, |period| period.min(TURN));
        loop {
            thread::sleep(pause);
            let now = self.clock.now();
            let away = now.since(self.woken).saturating_sub(pause);
            self.woken = now;
            if away >= LATE {
                // Nobody ran, so nobody is to blame; all get their time anew.
                tracing::warn!(
                    "process paused for {} ms: it was stopped, suspended or migrated, or had no processor",
                    away.as_millis()
                );
                self.looked = now;
                self.threads.stalled();
                continue;
            }
            notify::retry();
            self.look_at_loop(now);
            if now.since(self.looked) >= STUCK {
                self.looked = now;
                self.stuck = self.threads.stalled();
                if !self.stuck.is_empty() {
                    tracing::error!(
                        "query threads stuck: {}; systemd's watchdog is not fed until they go on",
                        self.stuck.join(", ")
                    );
                }
            }
            // Half a pause early rather than late: a look that comes just too soon would skip a
            // feed.
            let Some(period) = feed.filter(|period| now.since(self.fed) + pause / 2 >= *period)
            else {
                continue;
            };
            // Not feeding is the whole remedy: systemd then kills and restarts the process.
            if self.stuck.is_empty() && self.liveness.late(now) < period.max(LATE) {
                self.fed = now;
                notify::watchdog();
            }
        }
    }

    /// Says that the loop is late when it begins, each time that has doubled, and when it is over.
    fn look_at_loop(&mut self, now: Moment) {
        let late = self.liveness.late(now);
        // Doubling bounds the lines of a long stall to a handful.
        if late >= LATE && late >= self.late * 2 {
            if self.late.is_zero() {
                self.liveness.count_stall();
            }
            self.late = late;
            tracing::warn!(
                "control loop late by {} ms: queries are still answered, but answers follow no change of health, overrides or files",
                late.as_millis()
            );
        } else if late < LATE && !self.late.is_zero() {
            self.late = Duration::ZERO;
            tracing::info!("control loop on time again: answers follow every change");
        }
    }
}
