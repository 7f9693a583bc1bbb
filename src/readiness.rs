//! Readiness: whether this node should get queries, whether it should announce its addresses, and why
//! not.
//!
//! The two are different questions. A node that judges itself unfit is *not ready*, and a load
//! balancer that has others sends queries to those. But all nodes may be unfit at once, for one reason,
//! and an anycast service whose nodes all withdraw at once is down: a node *announces* for as long as
//! it can answer at all.

use std::fmt;
use std::time::Duration;

/// A control loop that is late by so much follows nothing any more.
pub const LOOP_UNFIT: Duration = Duration::from_secs(10);

/// The facts that readiness follows from, beside the lateness of the control loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// True until the first query is answered.
    pub is_starting: bool,
    /// True while copies of the last good files are served in place of broken ones.
    pub serves_last_good: bool,
    /// True while overrides are lost and no operator has accepted that.
    pub lost_overrides: bool,
    /// True during the first round of probes after the start.
    pub is_first_round: bool,
    /// True while this node's own network is assumed down.
    pub is_isolated: bool,
}

/// The reason why a node should get no queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// The control loop has been late for so long.
    LoopHangs(Duration),
    /// No query is answered yet.
    Starting,
    /// The files are broken.
    LastGoodFiles,
    /// This node may hand out what an operator drained.
    OverridesLost,
    /// Health is not known yet.
    FirstRound,
    /// No endpoint anywhere passes.
    Isolated,
}

/// Decides whether a node is ready whose control loop is `late` by so much.
pub fn ready(conditions: &Conditions, late: Duration) -> Result<(), NotReady> {
    // A loop that hangs says nothing about the rest: what it told last may be long untrue.
    if late >= LOOP_UNFIT {
        return Err(NotReady::LoopHangs(late));
    }
    // The gravest first: one reason is shown, and repairing it may clear those below.
    let rules = [
        (conditions.is_starting, NotReady::Starting),
        (conditions.serves_last_good, NotReady::LastGoodFiles),
        (conditions.lost_overrides, NotReady::OverridesLost),
        (conditions.is_first_round, NotReady::FirstRound),
        (conditions.is_isolated, NotReady::Isolated),
    ];
    match rules.into_iter().find(|(applies, _)| *applies) {
        Some((_, why)) => Err(why),
        None => Ok(()),
    }
}

/// The reason why a node should not announce its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnnounced {
    /// The process has begun to end.
    Stopping,
    /// The control loop stands still.
    LoopStill,
    /// A thread that answers queries stands still.
    ThreadStill,
}

/// Decides whether a node can answer whose control loop is `late` by so much.
pub fn announced(
    is_stopping: bool,
    late: Duration,
    is_thread_still: bool,
) -> Result<(), NotAnnounced> {
    // First: a node that ends must leave the routing before its sockets close.
    if is_stopping {
        Err(NotAnnounced::Stopping)
    } else if late >= LOOP_UNFIT {
        Err(NotAnnounced::LoopStill)
    } else if is_thread_still {
        Err(NotAnnounced::ThreadStill)
    } else {
        Ok(())
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::LoopHangs(late) => write!(
                f,
                "control loop stalled for {} s: answers follow no change of health, overrides or files",
                late.as_secs()
            ),
            NotReady::Starting => f.write_str("starting"),
            NotReady::LastGoodFiles => {
                f.write_str("configuration broken: serving the last good files until the files are fixed and reloaded")
            }
            NotReady::OverridesLost => f.write_str(
                "overrides lost: `meridian overrides` lists those in force, and \
                 `meridian overrides --accept-loss` accepts the loss",
            ),
            NotReady::FirstRound => {
                f.write_str("first round of probes in progress: health is not known yet")
            }
            NotReady::Isolated => f.write_str("node isolated: every probe fails, so this node's own network is assumed down"),
        }
    }
}

impl fmt::Display for NotAnnounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotAnnounced::Stopping => "stopping",
            NotAnnounced::LoopStill => "control loop stalled",
            NotAnnounced::ThreadStill => "a query thread is stuck",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_nothing_speaks_against_it_and_names_the_gravest_reason_else() {
        let now = Duration::ZERO;
        let mut conditions = Conditions::default();
        assert_eq!(ready(&conditions, now), Ok(()));
        assert_eq!(ready(&conditions, Duration::from_millis(9_999)), Ok(()));
        conditions.is_isolated = true;
        assert_eq!(ready(&conditions, now), Err(NotReady::Isolated));
        conditions.is_first_round = true;
        assert_eq!(ready(&conditions, now), Err(NotReady::FirstRound));
        conditions.lost_overrides = true;
        assert_eq!(ready(&conditions, now), Err(NotReady::OverridesLost));
        conditions.serves_last_good = true;
        assert_eq!(ready(&conditions, now), Err(NotReady::LastGoodFiles));
        let hangs = ready(&conditions, LOOP_UNFIT).unwrap_err();
        assert_eq!(hangs, NotReady::LoopHangs(LOOP_UNFIT));
        assert!(hangs.to_string().contains("control loop stalled for 10 s"));
    }

    #[test]
    fn a_node_announces_for_as_long_as_it_can_answer() {
        let announced =
            |stopping, late, still| announced(stopping, Duration::from_secs(late), still);
        assert_eq!(announced(false, 9, false), Ok(()));
        assert_eq!(announced(false, 0, true), Err(NotAnnounced::ThreadStill));
        assert_eq!(announced(false, 10, true), Err(NotAnnounced::LoopStill));
        assert_eq!(announced(true, 10, true), Err(NotAnnounced::Stopping));
    }
}
