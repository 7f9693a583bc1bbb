//! Families of what operators decide: overrides, drills, ACME challenges, held pools and the owners
//! of units.

use std::fmt::Error;

use super::family::{Families, families};
use crate::control::{Control, DrillDesk};
use crate::drills::Verdict;
use crate::model::WallTime;
use crate::publisher::View;
use crate::recovery::{Phase, PoolRecord};
use crate::steer::OwnerState;
use crate::units::UnitView;

families! { "Overrides, drills, challenges, recovery and units"
    OVERRIDES: Gauge "meridian_overrides" ["state"]
        "Overrides in force, and announced for later", "2", "`in_force` and `announced`";
    OVERRIDE: Gauge "meridian_override" ["number", "action", "scope", "name"]
        "1 while an operator's override is in force", "overrides in force",
        "`action`: `drain`, `up`, `down` or `weight`; `scope`: `region`, `metro`, `label`, `service`, `pool` or `endpoint`; `name`: as `meridian overrides` has it, without the scope. See [overrides](overrides.md)";
    NEXT_END: Gauge "meridian_next_override_end_timestamp_seconds" []
        "Time at which the next override ends", "1", "Absent when none has an end";
    LOST: Gauge "meridian_overrides_lost" []
        "1 while overrides are lost and no operator has accepted that", "1",
        "See [lost overrides](overrides.md#when-overrides-are-lost)";
    CHALLENGES: Gauge "meridian_acme_challenges" []
        "ACME challenges in force", "1", "See [ACME challenges](acme.md)";
    DRILL_RUNNING: Gauge "meridian_drill_running" []
        "1 while a drill runs", "1", "See [drills](drills.md)";
    DRILLS: Counter "meridian_drills" ["verdict"]
        "Drills that have ended, or did not begin", "4",
        "`completed`, `stopped`, `aborted` and `refused`";
    HELD: Gauge "meridian_pool_held" ["service", "region"]
        "1 while a pool is held until an operator resumes it", "pools", "Exists only then";
    OWNER: Gauge "meridian_unit_owner" ["unit", "region"]
        "1 for the region that owns a unit", "units",
        "Absent while [no region owns it](units.md)";
    EPOCH: Gauge "meridian_unit_epoch" ["unit", "service"]
        "Epoch of a unit's owner, or of its last one", "units", "";
    FENCED: Gauge "meridian_unit_fenced" ["unit", "service"]
        "1 while nobody owns a unit", "units", "";
    FROZEN: Gauge "meridian_units_frozen" []
        "1 while no unit can change hands", "1", "";
}

/// Writes the families of this subject.
pub(super) fn write(
    control: &Control,
    view: &View,
    wall: WallTime,
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    overrides(view, wall, out)?;
    // There are a thousand at most.
    out.gauge(&CHALLENGES, view.challenges.len() as i64)?;
    drills(&control.drills, out)?;
    let held = view.recovery().filter(|pool| is_held(pool));
    out.gauges(
        &HELD,
        held.map(|pool| ([pool.service.as_str(), pool.region.as_str()], 1_i64)),
    )?;
    units(view, out)
}

fn overrides(view: &View, wall: WallTime, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let all = &view.overrides.list.0;
    let in_force: Vec<_> = all.iter().filter(|own| own.holds(view.at)).collect();
    let announced = all.iter().filter(|own| own.starts > view.at).count();
    // There are far fewer overrides than 2^63.
    out.gauges(
        &OVERRIDES,
        [
            (["in_force"], in_force.len() as i64),
            (["announced"], announced as i64),
        ],
    )?;
    let rows: Vec<_> = in_force
        .iter()
        .map(|own| (own.id.to_string(), own.action, &own.scope, own.scope.name()))
        .collect();
    let rows = rows.iter().map(|(number, action, scope, name)| {
        let labels = [
            number.as_str(),
            action.as_label(),
            scope.as_label(),
            name.as_str(),
        ];
        (labels, 1_i64)
    });
    out.gauges(&OVERRIDE, rows)?;
    // The end of one that is returning by its ramp is over.
    let ends = all.iter().filter_map(|own| own.until);
    let next = ends.filter(|until| *until > view.at).min();
    out.gauges(&NEXT_END, next.map(|end| ([], wall.unix_seconds(end))))?;
    out.flag(&LOST, view.overrides.lost.is_some())
}

fn drills(drills: &DrillDesk, out: &mut Families<'_, '_>) -> Result<(), Error> {
    out.flag(&DRILL_RUNNING, drills.is_running())?;
    let ends = Verdict::ALL.into_iter();
    let ends = ends.filter(|verdict| *verdict != Verdict::Running);
    out.counters(
        &DRILLS,
        ends.map(|verdict| ([verdict.as_label()], drills.count(verdict))),
    )
}

/// True where an operator is waited for, in either family.
fn is_held(pool: &PoolRecord) -> bool {
    let mut families = pool.families.iter();
    families.any(|own| !own.down && matches!(own.phase, Phase::Held))
}

fn units(view: &View, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let owned = |unit: &UnitView| matches!(unit.unit_state.owner, OwnerState::Owner(_));
    let labels = |unit: &'_ UnitView| [unit.unit.clone(), unit.service.clone()];
    let owners = view.units().filter(|unit| owned(unit)).filter_map(|unit| {
        let region = unit.region.as_deref()?;
        Some(([unit.unit.as_str(), region], 1_i64))
    });
    out.gauges(&OWNER, owners)?;
    let names: Vec<_> = view.units().map(labels).collect();
    let rows = || {
        let units = view.units().zip(&names);
        units.map(|(unit, [name, service])| ([name.as_str(), service.as_str()], unit))
    };
    // Epochs stay below 2^53, so a float holds each exactly.
    let epochs = rows().map(|(labels, unit)| (labels, unit.unit_state.epoch as f64));
    out.gauges(&EPOCH, epochs)?;
    let fenced = rows().map(|(labels, unit)| (labels, i64::from(!owned(unit))));
    out.gauges(&FENCED, fenced)?;
    out.flag(&FROZEN, view.frozen.is_some())
}
