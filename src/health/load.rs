//! Load that an endpoint reports.

use crate::model::Load;

/// The newest report's share of the average; a quarter lets a step show by half within three probes and by nine tenths
/// within nine, while one odd report in between moves it little.
pub const LOAD_SHARE: f64 = 0.25;
/// After so many passes in a row without a usable report the load is not known.
pub const LOAD_SILENCE: u32 = 10;

/// The load one target reports, averaged exponentially by [`LOAD_SHARE`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AverageLoad {
    average: Option<f64>,
    ignored: u64,
    silence: u32,
}

impl AverageLoad {
    /// Restores the load reported before a restart, unless it is none.
    pub(super) fn restored(load: Option<f64>) -> AverageLoad {
        AverageLoad {
            average: load.filter(|load| (0.0..=1.0).contains(load)),
            ..AverageLoad::default()
        }
    }

    /// The report of a pass that was to have one. Where there is none that can be used, what was
    /// reported before holds for a while.
    pub(super) fn report(&mut self, load: Option<Load>) {
        let Some(load) = load.map(Load::share) else {
            self.ignored += 1;
            self.silence = self.silence.saturating_add(1);
            if self.silence >= LOAD_SILENCE {
                self.average = None;
            }
            return;
        };
        self.silence = 0;
        self.average = Some(
            self.average
                .map_or(load, |average| average + LOAD_SHARE * (load - average)),
        );
    }

    /// The average, 0 idle … 1 full; `None` where none is known.
    pub fn average(&self) -> Option<f64> {
        self.average
    }

    /// Counts the passes without a usable report: none, a negative one, or no number.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reported(loads: &[f64]) -> AverageLoad {
        let mut average = AverageLoad::default();
        loads
            .iter()
            .for_each(|load| average.report(Load::new(*load)));
        average
    }

    #[test]
    fn a_step_shows_by_and_by() {
        let average = |loads: &[f64]| reported(loads).average().unwrap();
        assert!((0.5..0.6).contains(&average(&[0.0, 1.0, 1.0, 1.0])));
        assert!(average(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) > 0.9);
        assert_eq!(average(&[0.5]), 0.5);
    }

    #[test]
    fn what_cannot_be_used_is_counted_and_soon_believed() {
        let nonsense = [f64::NAN; LOAD_SILENCE as usize];
        let some = reported(&[&[0.5], &nonsense[1..]].concat());
        assert_eq!(
            (some.average(), some.ignored()),
            (Some(0.5), u64::from(LOAD_SILENCE) - 1)
        );
        let all = reported(&[&[0.5], &nonsense[..]].concat());
        assert_eq!(
            (all.average(), all.ignored()),
            (None, u64::from(LOAD_SILENCE))
        );
    }

    proptest! {
        #[test]
        fn stays_between_idle_and_full(loads in prop::collection::vec(prop_oneof![any::<f64>(), 0.0..=1.0], 0..100)) {
            let average = reported(&loads);
            prop_assert!(average.average().is_none_or(|load| (0.0..=1.0).contains(&load)));
            prop_assert_eq!(average.ignored(), loads.iter().filter(|load| load.is_nan() || **load < 0.0).count() as u64);
        }
    }
}
