//! The owner of a unit, in words and as numbers.

use super::{UnitReport, region_name};
use crate::dataset::Snapshot;
use crate::model::{ServiceId, WallTime};
use crate::steer::OwnerState;

impl UnitReport {
    /// The report of `unit`; `None` where it is none.
    pub(super) fn of(snapshot: &Snapshot, unit: ServiceId, wall: WallTime) -> Option<UnitReport> {
        let dataset = &snapshot.dataset;
        let state = snapshot.plans[unit.index()].unit_state()?;
        let epoch = state.epoch;
        let mut report = UnitReport {
            epoch,
            owner: None,
            next: None,
            fenced_until: None,
            sentence: String::new(),
        };
        report.sentence = match &state.owner {
            OwnerState::Owner(region) => {
                let owner = region_name(dataset, *region);
                let sentence = format!("owned by {owner} in epoch {epoch}");
                report.owner = Some(owner);
                sentence
            }
            OwnerState::Fenced { until, next } => {
                let next = region_name(dataset, *next);
                report.fenced_until = until.map(|until| wall.show(until).to_string());
                let end = match &report.fenced_until {
                    Some(until) => format!("until {until}"),
                    None => "with no end known yet".to_owned(),
                };
                let sentence = format!("fenced {end}; then {next} owns it in epoch {}", epoch + 1);
                report.next = Some(next);
                sentence
            }
            OwnerState::Unknown => {
                "fenced: no owner is recorded; run `meridian unit init`".to_owned()
            }
            OwnerState::Gone(region) => format!(
                "fenced: {region}, its owner in epoch {epoch}, no longer has a pool; run \
                 `meridian unit move`"
            ),
        };
        Some(report)
    }
}
