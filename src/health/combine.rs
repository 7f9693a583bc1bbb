//! An endpoint's verdict out of its (check, address) pairs.
//!
//! | `checks_need` | up when | in doubt when |
//! |---|---|---|
//! | all | every pair is up | any pair is in doubt |
//! | any | one pair is up | any pair is in doubt |
//!
//! Without pairs an endpoint is up and settled.

use crate::model::Need;

/// Up or down, and how sure of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Up or down, after thresholds.
    pub up: bool,
    /// Settled; false is in doubt.
    pub settled: bool,
}

impl State {
    /// The state of an endpoint that is never probed: up, without doubt.
    pub const UNPROBED: State = State {
        up: true,
        settled: true,
    };

    /// The verdict over two parts of what an endpoint is judged by.
    pub fn and(self, other: State, need: Need) -> State {
        let up = match need {
            Need::All => self.up && other.up,
            Need::Any => self.up || other.up,
        };
        State {
            up,
            // Doubt about one part is doubt about the whole, under `any` too: it shortens a TTL,
            // and an error to that side is harmless.
            settled: self.settled && other.settled,
        }
    }
}

/// The verdict over all of an endpoint's pairs; none is [`State::UNPROBED`].
pub fn combine(need: Need, pairs: impl IntoIterator<Item = State>) -> State {
    pairs
        .into_iter()
        .reduce(|all, pair| all.and(pair, need))
        .unwrap_or(State::UNPROBED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UP: State = State {
        up: true,
        settled: true,
    };
    const DOWN: State = State {
        up: false,
        settled: true,
    };
    const WAVERING: State = State {
        up: true,
        settled: false,
    };

    #[test]
    fn need_decides_and_doubt_spreads() {
        assert_eq!(combine(Need::All, []), UP);
        assert_eq!(combine(Need::Any, []), UP);
        assert_eq!(combine(Need::All, [UP, DOWN]), DOWN);
        assert_eq!(combine(Need::Any, [UP, DOWN]), UP);
        assert_eq!(combine(Need::Any, [UP, WAVERING]), WAVERING);
        assert_eq!(
            combine(Need::All, [WAVERING, DOWN]),
            State {
                up: false,
                settled: false
            }
        );
    }

    fn state() -> impl Strategy<Value = State> {
        any::<(bool, bool)>().prop_map(|(up, settled)| State { up, settled })
    }

    fn need() -> impl Strategy<Value = Need> {
        prop_oneof![Just(Need::All), Just(Need::Any)]
    }

    proptest! {
        #[test]
        fn is_commutative_associative_idempotent(need in need(), a in state(), b in state(), c in state()) {
            prop_assert_eq!(a.and(b, need), b.and(a, need));
            prop_assert_eq!(a.and(b, need).and(c, need), a.and(b.and(c, need), need));
            prop_assert_eq!(a.and(a, need), a);
        }

        #[test]
        fn order_and_repetition_of_pairs_do_not_matter(
            need in need(),
            mut pairs in prop::collection::vec(state(), 0..8),
            turn in any::<prop::sample::Index>(),
        ) {
            let verdict = combine(need, pairs.clone());
            if !pairs.is_empty() {
                let turn = turn.index(pairs.len());
                pairs.rotate_left(turn);
                pairs.push(pairs[0]);
            }
            prop_assert_eq!(combine(need, pairs), verdict);
        }
    }
}
