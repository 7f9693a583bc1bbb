//! How loaded an endpoint says it is.

/// The newest report's share of the smoothed load; a quarter lets a step show by half within three probes and by nine
/// tenths within nine, while one odd report in between moves it little.
pub const LOAD_SHARE: f64 = 0.25;

/// The load one target reports, 0 idle … 1 full, smoothed exponentially by [`LOAD_SHARE`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    smoothed: Option<f64>,
    ignored: u64,
}

impl Load {
    /// What was reported before a restart, unless it is no load.
    pub(super) fn restored(load: Option<f64>) -> Load {
        Load { smoothed: load.filter(|load| is_load(*load)), ignored: 0 }
    }

    /// A passing probe's report. What is no number from 0 to 1 is ignored and counted; without a report the endpoint
    /// has stopped reporting, and what it reported before is forgotten.
    pub(super) fn report(&mut self, reported: Option<f64>) {
        match (reported, self.smoothed) {
            (Some(load), _) if !is_load(load) => self.ignored += 1,
            (Some(load), Some(smoothed)) => self.smoothed = Some(smoothed + LOAD_SHARE * (load - smoothed)),
            (first_or_none, _) => self.smoothed = first_or_none,
        }
    }

    /// The smoothed load, 0 … 1; `None` where none is reported.
    pub fn smoothed(&self) -> Option<f64> {
        self.smoothed
    }

    /// How many reports were no load.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }
}

fn is_load(load: f64) -> bool {
    (0.0..=1.0).contains(&load)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_step_shows_by_and_by() {
        let mut load = Load::default();
        load.report(Some(0.0));
        (0..3).for_each(|_| load.report(Some(1.0)));
        assert!((0.5..0.6).contains(&load.smoothed().unwrap()), "{load:?}");
        (0..6).for_each(|_| load.report(Some(1.0)));
        assert!(load.smoothed().unwrap() > 0.9, "{load:?}");
        load.report(None);
        assert_eq!(load.smoothed(), None);
    }

    proptest! {
        #[test]
        fn stays_between_idle_and_full(reports in prop::collection::vec(prop_oneof![any::<f64>(), 0.0..=1.0], 0..100)) {
            let mut load = Load::default();
            let wrong = reports.iter().filter(|report| !(**report >= 0.0 && **report <= 1.0)).count();
            for report in reports {
                load.report(Some(report));
                prop_assert!(load.smoothed().is_none_or(|load| (0.0..=1.0).contains(&load)));
            }
            prop_assert_eq!(load.ignored(), wrong as u64);
        }
    }
}
