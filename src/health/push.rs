//! Reports of endpoints about themselves: what `push` checks go by.
//!
//! Each report is an outcome. Silence for `expires` is one too, a failure, and another for each
//! further `expires`. Time runs from [`Pushes::begin`]: until the first `expires` from then is over
//! nothing is known, and so nothing changes: an endpoint that was down stays so, others are up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::carry::Carry;
use super::outcome::{Evidence, Outcome, Seen};
use super::reason::{FailReason, PushFault};
use crate::model::{CheckKind, CheckSpec, Load, Moment, ProbeTarget, TargetId};

/// An endpoint's report about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// It is well.
    pub pass: bool,
    /// The load that it reports, if any.
    pub load: Option<Load>,
    /// A note of the endpoint; the first 200 bytes are kept.
    pub note: String,
}

/// After a stall, what waited in sockets has been read within so long.
pub const READING: Duration = Duration::from_secs(1);

/// The targets of `push` checks, and by when each must be heard of.
#[derive(Debug, Clone, Default)]
pub struct Pushes {
    /// By [`TargetId`]; `None` for what is probed.
    entries: Vec<Option<Entry>>,
    due: BTreeSet<(Moment, TargetId)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    expires: Duration,
    /// Next moment at which its silence counts; `None` until time runs.
    due: Option<Moment>,
}

impl Pushes {
    /// Of these targets, those whose check is `push`; their time does not run yet.
    pub fn new(checks: &[CheckSpec], targets: &[ProbeTarget]) -> Pushes {
        let mut entries = Vec::with_capacity(targets.len());
        for target in targets {
            entries.push(match &checks[target.check.index()].kind {
                CheckKind::Push(push) => Some(Entry {
                    expires: push.expires,
                    due: None,
                }),
                _ => None,
            });
        }
        Pushes {
            entries,
            due: BTreeSet::new(),
        }
    }

    /// Takes over by when the targets of the previous configuration must be heard of, one of `carry`
    /// per target of this one; where the check was changed, time begins anew.
    pub fn carry_over(&mut self, old: &Pushes, carry: &[Carry]) {
        for (index, carry) in carry.iter().enumerate() {
            let Carry::Same(from) = carry else { continue };
            let due = old
                .entries
                .get(from.index())
                .copied()
                .flatten()
                .and_then(|entry| entry.due);
            if let Some(due) = due {
                self.set_due(TargetId::from_index(index), due);
            }
        }
    }

    /// Time runs from now on, for those whose time does not run yet.
    pub fn begin(&mut self, now: Moment) {
        for index in 0..self.entries.len() {
            if let Some(Entry { expires, due: None }) = self.entries[index] {
                self.set_due(TargetId::from_index(index), now + expires);
            }
        }
    }

    /// The outcome that a report is; `None` where `target` is probed, or is none.
    pub fn report(&mut self, target: TargetId, report: Report, now: Moment) -> Option<Outcome> {
        let expires = self.entries.get(target.index()).copied().flatten()?.expires;
        // A report of failure is a sign of life too: it counts as the failure that it is, and
        // silence is measured from it.
        self.set_due(target, now + expires);
        let seen = if report.pass {
            Seen::Pass
        } else {
            Seen::Fail(FailReason::Push(PushFault::Reported))
        };
        let evidence = if report.pass {
            None
        } else {
            Evidence::of(report.note.trim_ascii_end().as_bytes())
        };
        Some(Outcome {
            evidence,
            load: report.load,
            ..Outcome::new(now, seen)
        })
    }

    /// The targets whose time is over, each with the failure that its silence is.
    pub fn overdue(&mut self, now: Moment) -> Vec<(TargetId, Outcome)> {
        let mut silent = Vec::new();
        while let Some((due, target)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            // Silence fails once every `expires`, as a probe would once every interval.
            silent.push((
                target,
                Outcome::new(now, Seen::Fail(FailReason::Push(PushFault::Silent))),
            ));
            let expires = self.entries[target.index()].map_or(Duration::MAX, |entry| entry.expires);
            // Turns that were missed, since the machine slept, are not made up for.
            self.set_due(
                target,
                if due + expires > now {
                    due + expires
                } else {
                    now + expires
                },
            );
        }
        silent
    }

    /// This process stood still for the time of `stall`, until `now`: whoever reported meanwhile waits to be read, so that silence
    /// counts later by as much, and not within [`READING`].
    pub fn stalled(&mut self, stall: Duration, now: Moment) {
        for (due, target) in std::mem::take(&mut self.due) {
            let due = (due + stall).max(now + READING);
            if let Some(entry) = &mut self.entries[target.index()] {
                entry.due = Some(due);
            }
            self.due.insert((due, target));
        }
    }

    /// Next moment at which [`Pushes::overdue`] has something to report, unless a report comes
    /// before.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    fn set_due(&mut self, target: TargetId, due: Moment) {
        let Some(entry) = self
            .entries
            .get_mut(target.index())
            .and_then(Option::as_mut)
        else {
            return;
        };
        if let Some(before) = entry.due.replace(due) {
            self.due.remove(&(before, target));
        }
        self.due.insert((due, target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckId, PushSpec, Target};

    const EXPIRES: Duration = Duration::from_secs(10);
    const SILENT: Seen = Seen::Fail(FailReason::Push(PushFault::Silent));

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    /// One target that is probed, and one that reports itself.
    fn pushes() -> Pushes {
        let check = |kind| CheckSpec {
            name: "test".into(),
            kind,
            address: None,
            port: 0,
            interval: EXPIRES,
            timeout: Duration::ZERO,
            fall: 1,
            rise: 1,
            forgive: 5,
            fall_refused: 3,
            recheck: Duration::from_millis(500),
            recheck_up: false,
            watch: false,
            flap: None,
        };
        let checks = [
            check(CheckKind::Tcp(Default::default())),
            check(CheckKind::Push(PushSpec { expires: EXPIRES })),
        ];
        let target = |id| ProbeTarget {
            check: CheckId(id),
            target: Target::Address([192, 0, 2, 1].into()),
        };
        Pushes::new(&checks, &[target(0), target(1)])
    }

    fn report(pass: bool) -> Report {
        Report {
            pass,
            load: Load::new(0.5),
            note: "disk full\n".to_owned(),
        }
    }

    /// Lists the targets that are silent at each second up to `until`.
    fn silences(pushes: &mut Pushes, until: u64) -> Vec<u64> {
        (0..=until)
            .filter(|second| !pushes.overdue(at(*second)).is_empty())
            .collect()
    }

    #[test]
    fn silence_counts_from_the_first_expires_on_and_once_for_each() {
        let mut pushes = pushes();
        assert_eq!(
            (silences(&mut pushes, 100), pushes.next_deadline()),
            (Vec::new(), None),
            "time does not run yet"
        );
        pushes.begin(at(5));
        assert_eq!(pushes.next_deadline(), Some(at(15)));
        assert_eq!(silences(&mut pushes, 40), [15, 25, 35]);
        pushes.begin(at(40));
        assert_eq!(
            pushes.next_deadline(),
            Some(at(45)),
            "time that runs is not begun again"
        );
        assert_eq!(
            pushes.overdue(at(999)),
            [(TargetId(1), Outcome::new(at(999), SILENT))],
            "what was missed counts once"
        );
        assert_eq!(pushes.next_deadline(), Some(at(1009)));
    }

    #[test]
    fn a_report_is_an_outcome_and_holds_for_expires() {
        let mut pushes = pushes();
        pushes.begin(at(0));
        let pass = pushes.report(TargetId(1), report(true), at(9)).unwrap();
        assert_eq!(
            (pass.seen, pass.load, pass.evidence),
            (Seen::Pass, Load::new(0.5), None)
        );
        let fail = pushes.report(TargetId(1), report(false), at(18)).unwrap();
        assert_eq!(fail.seen, Seen::Fail(FailReason::Push(PushFault::Reported)));
        assert_eq!(fail.evidence, Evidence::of(b"disk full"));
        assert_eq!(silences(&mut pushes, 30), [28]);
        assert_eq!(
            pushes.report(TargetId(0), report(true), at(30)),
            None,
            "it is probed"
        );
        assert_eq!(pushes.report(TargetId(9), report(true), at(30)), None);
    }

    #[test]
    fn a_reload_keeps_what_is_due() {
        let (mut old, mut new) = (pushes(), pushes());
        old.begin(at(0));
        new.carry_over(&old, &[Carry::New, Carry::Same(TargetId(1))]);
        new.begin(at(7));
        assert_eq!(new.next_deadline(), Some(at(10)));
        let mut changed = pushes();
        changed.carry_over(&old, &[Carry::New, Carry::Changed(TargetId(1))]);
        changed.begin(at(7));
        assert_eq!(changed.next_deadline(), Some(at(17)));
    }
}
