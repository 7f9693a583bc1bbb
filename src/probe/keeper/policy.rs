//! Rules by which a connection is opened, opened again, and opened no more. Pure: time is an
//! argument.

use std::time::Duration;

use tokio::time::Instant;

use super::End;
use crate::health::{Seen, Watch};

/// The pause before a connection that did not last is opened again, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that lived as long is worth what it costs: the next one follows without a pause.
const LASTING: Duration = Duration::from_secs(10);
/// A connection that lived no longer was closed because it was idle, or as soon as it was opened.
const BRIEF: Duration = Duration::from_secs(1);
/// Brief connections in a row after which no more is opened.
const MOST_BRIEF: u32 = 5;

/// The state of one target's watch, and what came before.
#[derive(Debug, Default)]
pub(in crate::probe) struct Policy {
    watch: Watch,
    /// A connection is open, or being opened.
    busy: bool,
    /// The last pause, and the end of it.
    pause: Duration,
    until: Option<Instant>,
    /// Brief connections in a row.
    brief: u32,
    /// Probes that failed in a row.
    fails: u32,
}

impl Policy {
    /// The state, as it is shown.
    pub(in crate::probe) fn watch(&self) -> Watch {
        self.watch
    }

    /// A probe of a target that goes down after `fall` failures saw `seen`. True where a connection
    /// is to be opened, which [`Policy::ended`] must follow sooner or later.
    pub(in crate::probe) fn probed(&mut self, seen: Seen, fall: u32, now: Instant) -> bool {
        match seen {
            Seen::NotJudged(_) => return false,
            Seen::Fail(_) => {
                self.fails = self.fails.saturating_add(1);
                return false;
            }
            Seen::Pass => {}
        }
        // It was down and is another process now, perhaps with another configuration.
        if std::mem::take(&mut self.fails) >= fall {
            self.retry();
        }
        if self.busy || self.watch == Watch::GivenUp {
            return false;
        }
        // Only here, since the probe that the last loss brought about might have failed.
        if self.brief >= MOST_BRIEF {
            self.watch = Watch::GivenUp;
            return false;
        }
        self.busy = self.until.is_none_or(|until| now >= until);
        self.busy
    }

    /// The connection is open.
    pub(in crate::probe) fn opened(&mut self) {
        self.watch = Watch::Held;
    }

    /// The connection that was opened has ended after `lived`, or was not to be had.
    pub(in crate::probe) fn ended(&mut self, end: End, lived: Duration, now: Instant) {
        self.busy = false;
        self.watch = match end {
            End::Lost => Watch::Lost,
            End::Talkative => Watch::GivenUp,
            End::NoDescriptor => Watch::NoDescriptor,
        };
        if end != End::Lost {
            return;
        }
        self.brief = if lived < BRIEF { self.brief + 1 } else { 0 };
        self.pause = if lived < LASTING {
            (2 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE)
        } else {
            Duration::ZERO
        };
        self.until = Some(now + self.pause);
    }

    /// Forgets what speaks against a connection.
    pub(in crate::probe) fn retry(&mut self) {
        (self.pause, self.until, self.brief) = (Duration::ZERO, None, 0);
        if self.watch == Watch::GivenUp {
            self.watch = Watch::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::FailReason;

    const FALL: u32 = 2;
    const FAIL: Seen = Seen::Fail(FailReason::ConnectRefused);

    /// A policy, and a clock that moves by hand.
    struct Bench {
        policy: Policy,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            Bench {
                policy: Policy::default(),
                now: Instant::now(),
            }
        }

        fn after(&mut self, seconds: f64) -> &mut Bench {
            self.now += Duration::from_secs_f64(seconds);
            self
        }

        fn passes(&mut self) -> bool {
            self.policy.probed(Seen::Pass, FALL, self.now)
        }

        fn fails(&mut self) {
            assert!(!self.policy.probed(FAIL, FALL, self.now));
        }

        /// The connection opens and is closed after so many seconds.
        fn lives(&mut self, seconds: f64) {
            self.policy.opened();
            self.after(seconds);
            let lived = Duration::from_secs_f64(seconds);
            self.policy.ended(End::Lost, lived, self.now);
        }

        /// Counts the seconds until a probe that passes opens a connection; 100 where none does.
        fn pause(&mut self) -> u32 {
            let mut seconds = 0;
            while seconds < 100 && !self.passes() {
                self.after(1.0);
                seconds += 1;
            }
            seconds
        }
    }

    #[test]
    fn only_a_pass_opens_a_connection_and_only_one() {
        let mut bench = Bench::new();
        bench.fails();
        assert!(bench.passes());
        assert!(!bench.passes(), "it is being opened");
        bench.policy.opened();
        assert!(!bench.after(100.0).passes(), "it is held");
        assert_eq!(bench.policy.watch(), Watch::Held);
    }

    #[test]
    fn pauses_double_until_a_connection_lasts() {
        let mut bench = Bench::new();
        assert_eq!(bench.pause(), 0);
        let mut pauses = Vec::new();
        for lived in [2.0, 9.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 11.0, 2.0] {
            bench.lives(lived);
            pauses.push(bench.pause());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 0, 1]);
    }

    #[test]
    fn five_brief_connections_in_a_row_are_the_last_while_probes_pass() {
        let mut bench = Bench::new();
        for lived in [0.0, 0.5, 0.5, 0.9, 1.1, 0.1, 0.1, 0.1, 0.1, 0.1] {
            assert!(bench.pause() < 100);
            bench.lives(lived);
            assert_eq!(bench.policy.watch(), Watch::Lost, "nothing passed since");
        }
        bench.fails();
        assert_eq!(bench.policy.watch(), Watch::Lost);
        assert_eq!(bench.pause(), 100);
        assert_eq!(bench.policy.watch(), Watch::GivenUp);
    }

    #[test]
    fn what_comes_back_from_down_or_has_new_files_is_tried_again() {
        let mut bench = Bench::new();
        let give_up = |bench: &mut Bench| {
            assert!(bench.passes());
            bench.policy.opened();
            bench
                .policy
                .ended(End::Talkative, Duration::ZERO, bench.now);
            assert!(!bench.after(100.0).passes());
            assert_eq!(bench.policy.watch(), Watch::GivenUp);
        };
        give_up(&mut bench);
        bench.fails();
        assert!(!bench.passes(), "one failure takes nothing down");
        bench.fails();
        bench.fails();
        give_up(&mut bench);
        bench.policy.retry();
        assert_eq!(bench.policy.watch(), Watch::None);
        give_up(&mut bench);
    }

    #[test]
    fn a_descriptor_is_looked_for_at_every_pass() {
        let mut bench = Bench::new();
        assert!(bench.passes());
        bench
            .policy
            .ended(End::NoDescriptor, Duration::ZERO, bench.now);
        assert_eq!(bench.policy.watch(), Watch::NoDescriptor);
        assert!(bench.passes());
        bench.lives(3.0);
        assert!(!bench.passes());
    }
}
