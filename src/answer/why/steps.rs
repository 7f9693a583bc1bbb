//! The regions that a service considers for a client, and why each was taken or passed over: the
//! selection run once more, with a trace.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Explanation, Possible, Step, region_name};
use crate::answer::internet;
use crate::dataset::Snapshot;
use crate::dns::{Name, RrType};
use crate::model::{Family, RegionId, Route, ServiceId, WallTime};
use crate::steer::{
    Drain, Note, Plan, PoolConditions, PoolPlan, RAMP_STEPS, Ring, Rung, Selection, Trace, Verdict,
};
use crate::zone::rrs;

/// A region as the selection considered it.
#[derive(Clone, Copy)]
struct Considered {
    region: RegionId,
    verdict: Verdict,
    /// The probability of its being taken.
    chance: f64,
}

/// Every region considered, in order.
#[derive(Default)]
struct Trail(Vec<Considered>);

impl Trace for Trail {
    fn considered(&mut self, region: RegionId, verdict: Verdict, chance: f64) {
        self.0.push(Considered {
            region,
            verdict,
            chance,
        });
    }
}

/// Adds to `explanation` how `service` chose a region for its client, from the same `seed` as the
/// answer, and all that it could have chosen.
pub(super) fn trace(
    explanation: &mut Explanation,
    snapshot: &Snapshot,
    service: ServiceId,
    seed: u64,
    wall: WallTime,
) {
    let (dataset, plan) = (&snapshot.dataset, &snapshot.plans[service.index()]);
    let (rtype, client) = (explanation.rtype, explanation.client);
    let (map, mut rng) = (dataset.map_of(plan), fastrand::Rng::with_seed(seed));
    let mut trail = Trail::default();
    let steered = internet::steer(plan, map, rtype, client, None, &mut rng, &mut trail);
    let Some((selection, _)) = steered else {
        return;
    };
    let view = View {
        plan,
        family: Family::of(rtype).unwrap_or(Family::V4),
        selection,
        wall,
    };
    explanation.region = selection.region.map(|region| region_name(dataset, region));
    explanation.rung = Some(selection.rung);
    for considered in &trail.0 {
        let (verdict, detail) = view.describe(considered);
        explanation.steps.push(Step {
            region: region_name(dataset, considered.region),
            verdict,
            detail,
            said: view.overrides(considered.region),
        });
    }
    explanation.possible = if plan.by_client {
        // No chance decides: the client has one region and one endpoint.
        Possible {
            regions: selection.region.into_iter().collect(),
            targets: explanation.answers.clone(),
        }
    } else {
        // Addresses are of their own type alone.
        let names_only = plan.names && Family::of(rtype).is_none();
        view.possible(&trail, names_only && !selection.is_name())
    };
    let border = plan
        .map
        .and_then(|map| dataset.maps[map.index()].border(client).0);
    for pool in &plan.pools {
        let considered = trail
            .0
            .iter()
            .any(|considered| considered.region == pool.region);
        if !considered && border.is_some_and(|border| !border.contains(pool.region)) {
            explanation.steps.push(Step {
                region: region_name(dataset, pool.region),
                verdict: "outside the border",
                detail: "never used for this client".to_owned(),
                said: String::new(),
            });
        }
    }
}

/// One selection, as its regions are described.
struct View<'p> {
    plan: &'p Plan,
    family: Family,
    selection: Selection<'p>,
    wall: WallTime,
}

impl View<'_> {
    /// The verdict on a region, and the numbers behind it.
    fn describe(&self, considered: &Considered) -> (&'static str, String) {
        let Some(pool) = self.plan.pool(considered.region) else {
            return ("no pool", String::new());
        };
        let state = self.state(pool);
        let detail = self.numbers(pool, considered.chance);
        match considered.verdict {
            Verdict::Taken if matches!(state, DRAINED | HELD) => {
                ("taken", format!("{state}: {detail}"))
            }
            Verdict::Taken if self.plan.route == Route::Unit => {
                ("taken", format!("owner: {detail}"))
            }
            Verdict::Taken => (
                "taken",
                format!("{}: {detail}", self.selection.rung.as_str()),
            ),
            Verdict::NotDrawn => ("not drawn", format!("{}: {detail}", self.drawn_elsewhere())),
            Verdict::PassedOver => (state, detail),
            Verdict::NoPool => ("no pool", String::new()),
        }
    }

    /// The reason why a region that could be taken was not.
    fn drawn_elsewhere(&self) -> &'static str {
        if self.plan.by_client {
            "eligible; this client hashes to another region"
        } else if self.plan.is_trickling() {
            "eligible; the draw for the trickle chose another region"
        } else {
            "eligible; the draw by weight chose another region"
        }
    }

    /// The state of a pool, in one or two words.
    fn state(&self, pool: &PoolPlan) -> &'static str {
        let rung = usable_rung(pool, self.family);
        let conditions = self.plan.note(pool.region).map(|note| &note.conditions);
        let unit = self.plan.unit_state();
        if unit.is_some_and(|unit| unit.owner() != Some(pool.region)) {
            "not the owner"
        } else if conditions.is_some_and(|conditions| drain(conditions, rung).is_some()) {
            DRAINED
        } else if rung == Some(Rung::Standby)
            && conditions.is_some_and(|conditions| conditions.held[self.family.index()])
        {
            HELD
        } else {
            rung.map_or("down", Rung::as_str)
        }
    }

    /// The numbers of a pool that is taken with probability `chance`.
    fn numbers(&self, pool: &PoolPlan, chance: f64) -> String {
        let plan = self.plan;
        let note = plan.note(pool.region).cloned().unwrap_or(Note {
            weight: pool.weight,
            conditions: PoolConditions::default(),
        });
        let mut numbers = format!("{} of {} endpoints up", pool.up, pool.endpoints);
        if pool.doubt {
            numbers += ", in doubt";
        }
        if plan.route == Route::Priority {
            numbers += &format!(", priority {}", pool.priority);
        }
        if plan.route != Route::Unit {
            numbers += &format!(", weight {}", note.weight);
        }
        let share = note.conditions.share;
        if share != RAMP_STEPS {
            numbers += &format!(", ramping up: {} % of it", share * 100 / RAMP_STEPS);
        }
        if let Some(until) = note.conditions.flapping_until {
            numbers += &format!(", flapping until {}", self.wall.show(until));
        }
        if chance > 0.0 && chance < 1.0 {
            let of = if plan.by_client { "clients" } else { "answers" };
            numbers += &format!(", {} % of the {of}", (chance * 1000.0).round() / 10.0);
        }
        numbers
    }

    /// The operators' overrides of a region, as [`Step::said`] has them.
    fn overrides(&self, region: RegionId) -> String {
        let mut text = String::new();
        let (Some(pool), Some(note)) = (self.plan.pool(region), self.plan.note(region)) else {
            return text;
        };
        if let Some(drain) = drain(&note.conditions, usable_rung(pool, self.family)) {
            text += &format!(", {}", drain.sentence(self.wall));
        }
        for applied in &note.conditions.overrides {
            text += &format!(", {}", applied.sentence(self.wall));
        }
        text
    }

    /// All that the draws could have given the client; no targets where the type has `none`.
    fn possible(&self, trail: &Trail, none: bool) -> Possible {
        let mut possible = Possible::default();
        let mut rings = Vec::new();
        if self.selection.region.is_none() {
            rings.push(self.plan.fallback(self.family));
        }
        for considered in &trail.0 {
            if let (Verdict::Taken | Verdict::NotDrawn, Some(pool)) =
                (considered.verdict, self.plan.pool(considered.region))
            {
                possible.regions.push(considered.region);
                rings.push(self.plan.ring(pool, self.family, self.selection.rung));
            }
        }
        if !none {
            for ring in rings {
                possible.targets.extend(targets(self.plan, ring));
            }
        }
        possible
    }
}

/// State of a pool that an operator has drained.
const DRAINED: &str = "drained";
/// State of a pool that is up again and waits for an operator.
const HELD: &str = "held: manual resume";

/// The rung on which a pool is of use, unless it is taken in spite of its state.
fn usable_rung(pool: &PoolPlan, family: Family) -> Option<Rung> {
    Rung::best(pool.rungs[family.index()]).filter(|rung| *rung < Rung::AsIfUp)
}

/// The drain that decides about a pool on that rung.
fn drain(conditions: &PoolConditions, rung: Option<Rung>) -> Option<&Drain> {
    let drained = conditions.drained.as_deref();
    drained.filter(|_| rung.is_none_or(|rung| rung == Rung::Standby))
}

/// Every address or target name of a ring.
fn targets(plan: &Plan, ring: Ring) -> Vec<String> {
    (0..usize::from(ring.len))
        .filter_map(|slot| target(plan.answer(ring, slot)))
        .collect()
}

/// The address or target name of the first of these RRs.
fn target(block: &[u8]) -> Option<String> {
    let (_, rdata) = rrs(block).next()?;
    Some(match RrType(u16::from_be_bytes([block[2], block[3]])) {
        RrType::A => Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?).to_string(),
        RrType::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?).to_string(),
        _ => Name::from_wire(rdata)?.to_string(),
    })
}
