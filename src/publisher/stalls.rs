//! Stalls: times in which this process stood still, and so saw nothing.

use std::time::Duration;

use crate::health::{FailReason, NotJudged, Outcome, Seen};
use crate::model::Moment;

/// The time within which probes that were under way in a stall have told what they saw.
const LATE_PROBES: Duration = Duration::from_secs(1);
/// A timer that rings so late did not ring because nobody ran.
const LATE_TIMER: Duration = Duration::from_millis(250);
/// Stalls nearer to each other than this are no pauses, but overload.
const OVERLOAD: Duration = Duration::from_secs(10);

/// The last stall, and how far time has been looked at.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    last: Option<Stall>,
    /// The moment at which time was last looked at.
    looked: Moment,
}

#[derive(Debug, Clone, Copy)]
struct Stall {
    ended: Moment,
    /// Takeovers wait until then: by that time every endpoint has shown what it is.
    judged: Moment,
    /// True where probes that were under way are not judged. A process that is always late has to
    /// judge by what it has, so a stall shortly after another one excuses nothing.
    excuses: bool,
}

impl Stalls {
    /// Takes in a stall of the length `stall` that ended at `now`; within `window` of its end every
    /// endpoint is seen again.
    pub(super) fn add(&mut self, stall: Duration, window: Duration, now: Moment) {
        let excuses = self
            .last
            // The time since the last end includes this stall itself.
            .is_none_or(|last| now.since(last.ended) >= stall + OVERLOAD);
        self.last = Some(Stall {
            ended: now,
            judged: now + window,
            excuses,
        });
    }

    /// True while not every endpoint has been seen since the last stall: takeovers wait.
    pub(super) fn is_blind(&self, now: Moment) -> bool {
        self.last.is_some_and(|stall| now < stall.judged)
    }

    /// The outcome of a probe with this `timeout`, not judged where it ran out of time because this
    /// process stood still.
    pub(super) fn excuse(&self, outcome: Outcome, timeout: Duration) -> Outcome {
        let Some(stall) = self.last.filter(|stall| stall.excuses) else {
            return outcome;
        };
        let taken = outcome.phases.total();
        let is_timeout = matches!(outcome.seen, Seen::Fail(FailReason::Timeout(_)));
        // A timer that did not ring when it was to: what the endpoint did in time was not seen in
        // time.
        let is_late = taken >= timeout + LATE_TIMER;
        // A probe that began after the stall, or whose outcome comes long after it, had its time.
        let was_under_way =
            outcome.at - taken < stall.ended && outcome.at <= stall.ended + LATE_PROBES;
        if !(is_timeout && is_late && was_under_way) {
            return outcome;
        }
        Outcome {
            seen: Seen::NotJudged(NotJudged::Stalled),
            ..outcome
        }
    }

    /// Looks at time again. Returns the moment of the look before, and true where every endpoint
    /// has been seen since the last stall from now on.
    pub(super) fn look(&mut self, now: Moment) -> (Moment, bool) {
        let looked = std::mem::replace(&mut self.looked, now);
        let sees_again = self
            .last
            .is_some_and(|stall| looked < stall.judged && stall.judged <= now);
        (looked, sees_again)
    }

    /// The moment of the last look at time.
    pub(super) fn looked(&self) -> Moment {
        self.looked
    }

    /// The moment at which takeovers go on.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        // Once looked past, it is no deadline any more; it would be due for ever.
        let judged = self.last.map(|stall| stall.judged);
        judged.filter(|judged| *judged > self.looked)
    }
}
