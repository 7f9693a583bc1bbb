//! Families of zones, services and their pools: the plans in force, and the answers given from them.

use std::fmt::Error;

use super::family::{Families, families};
use super::queries::sum;
use crate::answer::Counters;
use crate::control::Control;
use crate::dataset::Snapshot;
use crate::model::{Family, RegionId, ServiceId, ZoneId};
use crate::steer::{Plan, PoolPlan, Rung};

families! { "Zones, services and pools"
    RUNGS: Counter "meridian_service_answers" ["rung"]
        "Answers of services, by the rung of the ladder they came from", "8",
        "See [the ladder](answers.md#the-ladder); investigate anything other than `up`";
    ANSWERS: Counter "meridian_answers" ["service", "region", "rung"]
        "Answers of a service, by the region they sent clients to and the rung they came from", "services × (8 × regions of each + 1)",
        "The region is `fallback` for the `fallback` addresses. Exists only after the first such answer, which for most is the one of rung `up`, and survives reloads";
    ZONES: Counter "meridian_zone_responses" ["zone", "rcode"]
        "Answers from a zone, by response code", "4 × zones",
        "Only codes that were sent: NOERROR (referrals and absent types too), NXDOMAIN, YXDOMAIN, and REFUSED for zone transfers. What lies in no zone is in `meridian_responses_total` alone";
    SERVICE_RUNG: Gauge "meridian_service_rung" ["service", "family"]
        "Rung from which a service is answered, 0 is up", "services × families",
        "Numbers as in the ladder: 0 `up`, 1 `shed`, 2 `survivors`, 3 `some_survivors`, 4 `standby`, 5 `fallback`, 6 `as_if_up`, 7 `every`. Borders of maps are left aside: clients inside one may get a later rung";
    REGIONS_UP: Gauge "meridian_service_regions_up" ["service"]
        "Regions of a service that are up and in use, in any family", "services",
        "As the [pre-flight](overrides.md) counts them. Services with units have none: one region owns a unit";
    HEADROOM: Gauge "meridian_service_region_headroom" ["service"]
        "Regions up beyond the min_regions of a service, negative when there are too few", "services",
        "0: the next loss leaves fewer than `min_regions`. Absent for units";
    FAMILY_HEADROOM: Gauge "meridian_service_family_region_headroom" ["service", "family"]
        "Regions up in a family beyond the min_regions of a service", "services × families",
        "As `meridian_service_region_headroom`, with only the regions that are up and in use for this family: negative, too, where the files have fewer of them than `min_regions`";
    POOL_UP: Gauge "meridian_pool_up" ["service", "region", "family"]
        "1 while a pool is up in a family, drained or in use", "pools × families",
        "Up means `min_up` is reached. Absent for the regions that do not own a unit";
    POOL_RUNG: Gauge "meridian_pool_rung" ["service", "region", "family"]
        "Best rung that a pool stands on, 0 is up and in use", "pools × families",
        "Numbers as for `meridian_service_rung`; a pool that is drained, held or of weight 0 stands on 4";
    POOL_IN_DOUBT: Gauge "meridian_pool_in_doubt" ["service", "region"]
        "1 while an endpoint of a pool is in doubt or an override of it is announced", "pools", "";
    POOL_ENDPOINTS: Gauge "meridian_pool_endpoints" ["service", "region", "family"]
        "Endpoints of a pool in a family", "pools × families", "An endpoint by name counts in both";
    POOL_ENDPOINTS_UP: Gauge "meridian_pool_endpoints_up" ["service", "region", "family"]
        "Endpoints of a pool in a family that are up", "pools × families", "";
    POOL_ENDPOINTS_IN_DOUBT: Gauge "meridian_pool_endpoints_in_doubt" ["service", "region", "family"]
        "Endpoints of a pool in a family that are in doubt", "pools × families", "See [doubt](health.md#doubt)";
    SERIAL: Gauge "meridian_zone_serial" ["zone"]
        "Serial of a zone's SOA record", "zones",
        "Compare it between nodes: they should serve the same";
}

/// A service's name, its plan and the number of regions that it must keep; none for a unit.
struct Row<'s> {
    name: String,
    plan: &'s Plan,
    min_regions: Option<u32>,
}

/// Writes the families of this subject.
pub(super) fn write(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let workers: Vec<&Counters> = control.counters.iter().map(|own| &**own).collect();
    let by_rung = Rung::ALL.map(|rung| {
        let count = sum(&workers, |c| &c.rungs[rung as usize]);
        ([rung.as_label()], count)
    });
    out.counters(&RUNGS, by_rung)?;
    let snapshot = control.published.load();
    let config = &snapshot.dataset.config;
    let services = config.services.iter().zip(&snapshot.plans);
    let rows: Vec<Row<'_>> = services
        .map(|(service, plan)| Row {
            name: service.name.to_string(),
            plan,
            min_regions: service.unit.is_none().then_some(service.min_regions),
        })
        .collect();
    let region = |id: RegionId| config.region_name(id);
    answers(&snapshot, &rows, out)?;
    services_now(&rows, out)?;
    pools(&rows, region, out)?;
    zone_responses(&snapshot, out)?;
    let zones = config.zones.iter().enumerate();
    let serials: Vec<_> = zones
        .map(|(index, zone)| {
            let serial = snapshot.dataset.names.serial(ZoneId::from_index(index));
            (zone.origin.to_string(), serial)
        })
        .collect();
    out.gauges(
        &SERIAL,
        serials
            .iter()
            .map(|(zone, serial)| ([zone.as_str()], i64::from(*serial))),
    )
}

/// Pools that were never handed out have no line: there may be hundreds of thousands.
fn answers(snapshot: &Snapshot, rows: &[Row<'_>], out: &mut Families<'_, '_>) -> Result<(), Error> {
    let config = &snapshot.dataset.config;
    let counts = rows.iter().enumerate().flat_map(|(index, row)| {
        let answers = snapshot.answers_by_rung(ServiceId::from_index(index));
        answers.map(|(region, rung, count)| {
            let region = region.map_or("fallback", |region| config.region_name(region));
            ([row.name.as_str(), region, rung.as_label()], count)
        })
    });
    out.counters(&ANSWERS, counts)
}

fn zone_responses(snapshot: &Snapshot, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let zones = snapshot.dataset.config.zones.iter().enumerate();
    let rows: Vec<_> = zones
        .flat_map(|(index, zone)| {
            let counts = snapshot.answers_from(ZoneId::from_index(index));
            counts.map(|(rcode, count)| (zone.origin.to_string(), rcode.to_string(), count))
        })
        .collect();
    let rows = rows.iter();
    out.counters(
        &ZONES,
        rows.map(|(zone, rcode, count)| ([zone.as_str(), rcode.as_str()], *count)),
    )
}

fn services_now(rows: &[Row<'_>], out: &mut Families<'_, '_>) -> Result<(), Error> {
    let rungs = rows.iter().flat_map(|row| {
        let families = Family::BOTH.into_iter();
        families.filter_map(|family| {
            let rung = row.plan.rung(family)?;
            Some(([row.name.as_str(), family.as_label()], number(rung)))
        })
    });
    out.gauges(&SERVICE_RUNG, rungs)?;
    let with_minimum = rows
        .iter()
        .filter_map(|row| Some((row, i64::from(row.min_regions?))));
    let up = with_minimum
        .clone()
        .map(|(row, _)| ([row.name.as_str()], regions_up(row.plan)));
    out.gauges(&REGIONS_UP, up)?;
    let headroom =
        with_minimum.map(|(row, least)| ([row.name.as_str()], regions_up(row.plan) - least));
    out.gauges(&HEADROOM, headroom)?;
    let by_family = rows.iter().flat_map(|row| {
        let least = row.min_regions.map(i64::from);
        let offered = Family::BOTH.into_iter();
        let offered = offered.filter(|family| row.plan.families.contains(*family));
        offered.filter_map(move |family| {
            let up = regions_up_in(row.plan, &[family]);
            Some(([row.name.as_str(), family.as_label()], up - least?))
        })
    });
    out.gauges(&FAMILY_HEADROOM, by_family)
}

/// The regions that are up and in use, in one family or both.
fn regions_up(plan: &Plan) -> i64 {
    regions_up_in(plan, &Family::BOTH)
}

/// The regions that are up and in use in any of these families.
fn regions_up_in(plan: &Plan, families: &[Family]) -> i64 {
    let is_up = |pool: &PoolPlan, family: Family| pool.rungs[family.index()] & Rung::Up.bit() != 0;
    let in_use = |pool: &&PoolPlan| families.iter().any(|family| is_up(pool, *family));
    // A service has fewer than 65 536 pools.
    plan.pools.iter().filter(in_use).count() as i64
}

fn pools<'r>(
    rows: &'r [Row<'_>],
    region: impl Fn(RegionId) -> &'r str + Copy,
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    let all = || {
        rows.iter().flat_map(move |row| {
            let pools = row.plan.pools.iter();
            pools.map(move |pool| (row.name.as_str(), region(pool.region), pool))
        })
    };
    let rungs = || {
        all().flat_map(|(service, region, pool)| {
            Family::BOTH.into_iter().filter_map(move |family| {
                // A family that the pool lacks has no rung, nor has a pool that does not own its
                // unit.
                let rung = Rung::best(pool.rungs[family.index()])?;
                Some(([service, region, family.as_label()], rung))
            })
        })
    };
    let is_up = |rung| matches!(rung, Rung::Up | Rung::Shed | Rung::Standby);
    out.gauges(
        &POOL_UP,
        rungs().map(|(labels, rung)| (labels, i64::from(is_up(rung)))),
    )?;
    out.gauges(
        &POOL_RUNG,
        rungs().map(|(labels, rung)| (labels, number(rung))),
    )?;
    let doubt = all().map(|(service, region, pool)| ([service, region], i64::from(pool.doubt)));
    out.gauges(&POOL_IN_DOUBT, doubt)?;
    endpoints(rows, region, out)
}

/// The endpoints of every pool, of the families that it has.
fn endpoints<'r>(
    rows: &'r [Row<'_>],
    region: impl Fn(RegionId) -> &'r str + Copy,
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    let all = || {
        rows.iter().flat_map(move |row| {
            let pools = row.plan.pools.iter().enumerate();
            pools.flat_map(move |(index, pool)| {
                let of_family = Family::BOTH.map(|family| {
                    let labels = [row.name.as_str(), region(pool.region), family.as_label()];
                    (labels, row.plan.census(index, family))
                });
                of_family.into_iter().filter(|(_, own)| own.endpoints > 0)
            })
        })
    };
    let total = all().map(|(labels, own)| (labels, i64::from(own.endpoints)));
    out.gauges(&POOL_ENDPOINTS, total)?;
    let up = all().map(|(labels, own)| (labels, i64::from(own.up)));
    out.gauges(&POOL_ENDPOINTS_UP, up)?;
    let in_doubt = all().map(|(labels, own)| (labels, i64::from(own.in_doubt)));
    out.gauges(&POOL_ENDPOINTS_IN_DOUBT, in_doubt)
}

/// The number of a rung.
fn number(rung: Rung) -> i64 {
    i64::from(rung as u8)
}
