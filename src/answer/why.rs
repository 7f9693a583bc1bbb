//! Why a client gets the answer it gets, from the code that gives it: the query is put to
//! [`respond`], and the selection is run once more from the same seed with a trace.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{Query, Response, TCP_BUFFER, Transport, Worker, internet, respond};
use crate::dataset::{Dataset, Snapshot};
use crate::dns::{HEADER, Name, Prefix, RrType, Section};
use crate::geo::{Location, Source};
use crate::model::{Family, RegionId, Route, ServiceId, WallTime};
use crate::steer::{
    Drain, Note, OwnerState, Plan, PoolConditions, PoolPlan, RAMP_STEPS, Ring, Rung, Selection,
    Trace, UnitState, Verdict, until,
};
use crate::zone::{Lookup, present, read_name, rrs};

/// Why one client gets what it gets for one name and type.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The name asked.
    pub name: Name,
    /// The type asked.
    pub rtype: RrType,
    /// The client's prefix.
    pub client: Prefix,
    /// The source of the map that gave the order.
    pub located_by: Source,
    /// The client's location, as far as it is known.
    pub location: Location,
    /// The AS the client is in.
    pub asn: Option<u32>,
    /// The client's region order, flattened; names.
    pub order: Vec<String>,
    /// ECS scope prefix length.
    pub scope: u8,
    /// The region the answer comes from; `None` for static records and the fallback.
    pub region: Option<String>,
    /// The rung of the ladder the answer comes from; `None` for static records.
    pub rung: Option<Rung>,
    /// Addresses, targets, or other rdata in presentation format.
    pub answers: Vec<String>,
    /// TTL of the answers, or of the negative answer; seconds.
    pub ttl: u32,
    /// Response code.
    pub rcode: String,
    /// Every region considered, in order.
    pub steps: Vec<Step>,
    /// The owner of the unit, where the service is one: in words, and as numbers.
    pub unit: Option<UnitReport>,
    /// The answers that the draws could have given this client.
    pub possible: Possible,
}

/// The ownership of a unit.
#[derive(Debug, Clone)]
pub struct UnitReport {
    /// The epoch of the owner, or of the last one.
    pub epoch: u64,
    /// The owner, unless there is none now.
    pub owner: Option<String>,
    /// The next owner, during a fence.
    pub next: Option<String>,
    /// When the fence ends, in RFC 3339, once that is known.
    pub fenced_until: Option<String>,
    /// All that in one sentence.
    pub sentence: String,
}

/// All that a client can get; more than one of each only where chance decides.
#[derive(Debug, Clone, Default)]
pub struct Possible {
    /// Regions.
    pub regions: Vec<RegionId>,
    /// Addresses and target names.
    pub targets: Vec<String>,
}

/// One region considered.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub region: String,
    /// The decision: `taken`, `not drawn`, `no pool`, or the state for which the region was passed
    /// over.
    pub verdict: &'static str,
    /// The numbers behind it.
    pub detail: String,
    /// The operators' words about it: who, until when and why. Empty, or goes on where `detail` ends.
    pub said: String,
}

/// Explains what `client` gets for `name`. Without `rtype`, the address family that the service has
/// (IPv4 where it has both). `seed` starts the draws by weight.
pub fn explain(
    snapshot: &Snapshot,
    name: &Name,
    rtype: Option<RrType>,
    client: Prefix,
    seed: u64,
    wall: WallTime,
) -> Explanation {
    let dataset = &snapshot.dataset;
    let service = dataset.service_at(name);
    let families = service.map(|service| dataset.config.services[service.index()].families());
    let only_v6 = families.is_some_and(|f| f.v6 && !f.v4);
    let epoch_of = dataset.unit_of_epoch(name);
    let rtype = rtype.unwrap_or(match (epoch_of, only_v6) {
        (Some(_), _) => RrType::TXT,
        (None, true) => RrType::AAAA,
        (None, false) => RrType::A,
    });
    let mut explanation = Explanation {
        name: name.clone(),
        rtype,
        client,
        located_by: Source::None,
        location: Location::default(),
        asn: None,
        order: Vec::new(),
        scope: 0,
        region: None,
        rung: None,
        answers: Vec::new(),
        ttl: 0,
        rcode: String::new(),
        steps: Vec::new(),
        unit: service
            .or(epoch_of)
            .and_then(|unit| UnitReport::of(snapshot, unit, wall)),
        possible: Possible::default(),
    };
    explanation.ask(snapshot, seed);
    let steered = matches!(
        dataset.names.lookup(name.to_lowercase().as_wire(), rtype),
        Some((_, Lookup::Service(_)))
    );
    if let Some(service) = service.filter(|_| steered) {
        explanation.locate(dataset, service);
        explanation.trace(snapshot, service, seed, wall);
    }
    explanation
}

impl Explanation {
    /// The object that `why --json` prints; its keys are a contract.
    pub fn json(&self) -> serde_json::Value {
        let location = &self.location;
        let mut object = serde_json::json!({
            "name": self.name.to_string(),
            "type": self.rtype.to_string(),
            "client": self.client.to_string(),
            "located_by": self.located_by.as_str(),
            "location": {
                "continent": location.continent.map(|code| code.to_string()),
                "country": location.country.map(|code| code.to_string()),
                "subdivision": location.subdivision.map(|code| code.to_string()),
                "latitude": location.coordinates.map(|c| c.latitude),
                "longitude": location.coordinates.map(|c| c.longitude),
                "asn": self.asn,
            },
            "order": self.order,
            "scope": self.scope,
            "region": self.region,
            "answers": self.answers,
            "ttl": self.ttl,
            "rcode": self.rcode,
            "steps": self.steps.iter().map(|step| serde_json::json!({
                "region": step.region,
                "verdict": step.verdict,
                "detail": format!("{}{}", step.detail, step.said),
            })).collect::<Vec<_>>(),
        });
        if let Some(unit) = &self.unit {
            object["unit"] = serde_json::json!({
                "epoch": unit.epoch,
                "owner": unit.owner,
                "next": unit.next,
                "fenced_until": unit.fenced_until,
            });
        }
        object
    }

    /// The same for people.
    pub fn lines(&self) -> Vec<String> {
        self.told(|step| format!("{}{}", step.detail, step.said))
    }

    /// The same for whoever is not to know what operators said.
    pub fn lines_without_operators(&self) -> Vec<String> {
        self.told(|step| step.detail.clone())
    }

    fn told(&self, detail: impl Fn(&Step) -> String) -> Vec<String> {
        let mut lines = vec![format!(
            "{} {} for {}: {}",
            self.name,
            self.rtype,
            self.client,
            self.outcome()
        )];
        lines.extend(
            self.unit
                .iter()
                .map(|unit| format!("unit: {}", unit.sentence)),
        );
        if self.rung.is_some() {
            lines.push(format!(
                "located by {}{}, scope /{}",
                self.located_by.as_str(),
                self.place(),
                self.scope
            ));
        }
        if !self.order.is_empty() {
            lines.push(format!("order: {}", self.order.join(", ")));
        }
        lines.extend(self.steps.iter().map(|step| match detail(step).as_str() {
            "" => format!("{}: {}", step.region, step.verdict),
            detail => format!("{}: {}, {detail}", step.region, step.verdict),
        }));
        lines
    }

    fn outcome(&self) -> String {
        let answers = match (self.answers.is_empty(), self.rcode.as_str()) {
            (false, _) => self.answers.join(" "),
            (true, "NOERROR") => "no records of that type".to_owned(),
            (true, _) => "no answer".to_owned(),
        };
        let from = match (&self.region, self.rung) {
            (Some(region), Some(rung)) if rung.is_degraded() => {
                format!(" from {region} ({})", rung.as_str())
            }
            (Some(region), _) => format!(" from {region}"),
            (None, Some(_)) if self.unit.as_ref().is_some_and(|unit| unit.owner.is_none()) => {
                " from fence_answer".to_owned()
            }
            (None, Some(_)) => " from the fallback".to_owned(),
            (None, None) => String::new(),
        };
        format!("{} {answers}{from}, TTL {}", self.rcode, self.ttl)
    }

    fn place(&self) -> String {
        let location = &self.location;
        let codes = [
            location.continent.map(|c| c.to_string()),
            location.country.map(|c| c.to_string()),
        ];
        let parts = codes.into_iter().chain([
            location.subdivision.map(|s| s.to_string()),
            location
                .coordinates
                .map(|c| format!("{:.2},{:.2}", c.latitude, c.longitude)),
            self.asn.map(|asn| format!("AS{asn}")),
        ]);
        let known: Vec<String> = parts.flatten().collect();
        if known.is_empty() {
            " (place unknown)".to_owned()
        } else {
            format!(" ({})", known.join(" "))
        }
    }

    /// Puts the query to the server and reads its answer.
    fn ask(&mut self, snapshot: &Snapshot, seed: u64) {
        let message = query_message(&self.name, self.rtype, self.client);
        let query = Query::synthetic(&message, self.client.address(), Transport::Tcp);
        let mut out = vec![0; TCP_BUFFER];
        let Response::Send(length) = respond(snapshot, &mut Worker::new(seed), &query, &mut out)
        else {
            return;
        };
        let message = &out[..length];
        let mut ttls = Vec::new();
        let mut extended = 0;
        for record in Received::all(message) {
            match record.section {
                Section::Answer => self.answers.push(present(
                    record.rtype,
                    message,
                    record.rdata.start,
                    record.rdata.len(),
                )),
                Section::Authority => {}
                // The upper octet of its TTL is that of the response code (RFC 6891 §6.1.3).
                Section::Additional if record.rtype == RrType::OPT => {
                    extended = (record.ttl >> 24) as u16;
                    // Octet 4 of the option's data is the scope; the option is the last thing in our answers.
                    let address = usize::from(self.client.length().div_ceil(8));
                    self.scope = length.checked_sub(address + 1).map_or(0, |at| message[at]);
                    continue;
                }
                Section::Additional => continue,
            }
            ttls.push(record.ttl);
        }
        self.rcode = crate::dns::Rcode(extended << 4 | u16::from(message[3] & 15)).to_string();
        self.ttl = ttls.into_iter().min().unwrap_or(0);
    }

    fn locate(&mut self, dataset: &Dataset, service: ServiceId) {
        let Some(map) = dataset.config.services[service.index()].map else {
            return;
        };
        let (spec, map) = (
            &dataset.config.maps[map.index()],
            &dataset.maps[map.index()],
        );
        let explained = map.explain(
            spec,
            &dataset.config.regions,
            &dataset.locations,
            self.client,
        );
        self.location = explained.location;
        self.asn = explained.asn;
        // The other routes look at a map's borders only: without one the place decides nothing.
        let by_order = matches!(
            dataset.config.services[service.index()].route,
            Route::Nearest | Route::Sticky
        );
        if !by_order && map.border(self.client).0.is_none() {
            return;
        }
        self.located_by = explained.located_by;
        self.order = map
            .order(map.lookup(self.client).order)
            .steps
            .iter()
            .flatten()
            .map(|r| region_name(dataset, *r))
            .collect();
    }

    fn trace(&mut self, snapshot: &Snapshot, service: ServiceId, seed: u64, wall: WallTime) {
        let mut considered = Considered(Vec::new());
        let mut rng = fastrand::Rng::with_seed(seed);
        let (dataset, plan) = (&snapshot.dataset, &snapshot.plans[service.index()]);
        let steered = internet::steer(
            plan,
            dataset.map_of(plan),
            self.rtype,
            self.client,
            None,
            &mut rng,
            &mut considered,
        );
        let family = Family::of(self.rtype).unwrap_or(Family::V4);
        let Some((selection, _)) = steered else {
            return;
        };
        // Addresses are of their own type alone.
        let names_only = plan.names && Family::of(self.rtype).is_none();
        let targets = |ring| {
            if names_only && !selection.is_name() {
                Vec::new()
            } else {
                targets(plan, ring)
            }
        };
        self.region = selection.region.map(|region| region_name(dataset, region));
        self.rung = Some(selection.rung);
        if selection.region.is_none() {
            self.possible.targets = targets(plan.fallback(family));
        }
        for (region, verdict, chance) in &considered.0 {
            if let (Verdict::Taken | Verdict::NotDrawn, Some(pool)) = (verdict, plan.pool(*region))
            {
                self.possible.regions.push(*region);
                self.possible
                    .targets
                    .extend(targets(plan.ring(pool, family, selection.rung)));
            }
            let (verdict, detail) =
                describe(plan, family, &selection, *region, (*verdict, *chance), wall);
            let said = said(plan, family, *region, wall);
            self.steps.push(Step {
                region: region_name(dataset, *region),
                verdict,
                detail,
                said,
            });
        }
        // No chance decides: the client has one region and one endpoint.
        if plan.by_client {
            self.possible = Possible {
                regions: selection.region.into_iter().collect(),
                targets: self.answers.clone(),
            };
        }
        let border = plan
            .map
            .and_then(|map| dataset.maps[map.index()].border(self.client).0);
        for pool in plan
            .pools
            .iter()
            .filter(|pool| border.is_some_and(|border| !border.contains(pool.region)))
        {
            if considered
                .0
                .iter()
                .all(|(region, ..)| *region != pool.region)
            {
                let detail = "never used for this client".to_owned();
                self.steps.push(Step {
                    region: region_name(dataset, pool.region),
                    verdict: "outside the border",
                    detail,
                    said: String::new(),
                });
            }
        }
    }
}

/// A record of an answer.
struct Received {
    section: Section,
    rtype: RrType,
    ttl: u32,
    /// Where its rdata is.
    rdata: Range<usize>,
}

impl Received {
    /// The records of `message`, an answer of ours with one question.
    fn all(message: &[u8]) -> Vec<Received> {
        let half = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
        let mut records = Vec::new();
        let mut at = read_name(message, HEADER).map_or(message.len(), |(_, after)| after + 4);
        for (count, section) in [
            (6, Section::Answer),
            (8, Section::Authority),
            (10, Section::Additional),
        ] {
            for _ in 0..half(count).unwrap_or(0) {
                let mut read = || {
                    let (_, fixed) = read_name(message, at)?;
                    let ttl = u32::from_be_bytes(*message.get(fixed + 4..)?.first_chunk()?);
                    let start = fixed + 10;
                    at = start + usize::from(half(fixed + 8)?);
                    Some(Received {
                        section,
                        rtype: RrType(half(fixed)?),
                        ttl,
                        rdata: start..at,
                    })
                };
                records.extend(read());
            }
        }
        records
    }
}

impl UnitReport {
    fn of(snapshot: &Snapshot, unit: ServiceId, wall: WallTime) -> Option<UnitReport> {
        let dataset = &snapshot.dataset;
        let UnitState {
            owner: state,
            epoch,
            ..
        } = snapshot.plans[unit.index()].unit_state()?;
        let name = |region: RegionId| region_name(dataset, region);
        let (mut next, mut fenced_until) = (None, None);
        let sentence = match state {
            OwnerState::Owner(region) => format!("owned by {} in epoch {epoch}", name(*region)),
            OwnerState::Fenced {
                until,
                next: region,
            } => {
                (next, fenced_until) = (
                    Some(name(*region)),
                    until.map(|until| wall.show(until).to_string()),
                );
                let until = fenced_until.as_ref().map_or_else(
                    || "and its end is not certain yet".to_owned(),
                    |until| format!("until {until}"),
                );
                format!(
                    "fenced {until}; then {} owns it in epoch {}",
                    name(*region),
                    epoch + 1
                )
            }
            OwnerState::Unknown => {
                "fenced: no state says who owns it; `meridian unit init` does".to_owned()
            }
            OwnerState::Gone(region) => format!(
                "fenced: its owner {region}, in epoch {epoch}, has no pool any more; `meridian unit move` gives it another"
            ),
        };
        let owner = match state {
            OwnerState::Owner(region) => Some(name(*region)),
            _ => None,
        };
        Some(UnitReport {
            epoch: *epoch,
            owner,
            next,
            fenced_until,
            sentence,
        })
    }
}

struct Considered(Vec<(RegionId, Verdict, f64)>);

impl Trace for Considered {
    fn considered(&mut self, region: RegionId, verdict: Verdict, chance: f64) {
        self.0.push((region, verdict, chance));
    }
}

fn describe(
    plan: &Plan,
    family: Family,
    selection: &Selection<'_>,
    region: RegionId,
    (verdict, chance): (Verdict, f64),
    wall: WallTime,
) -> (&'static str, String) {
    let Some(pool) = plan.pool(region) else {
        return ("no pool", String::new());
    };
    let doubt = if pool.doubt { ", in doubt" } else { "" };
    let rung = usable_rung(pool, family);
    let note = plan.note(region).cloned().unwrap_or(Note {
        weight: pool.weight,
        conditions: PoolConditions::default(),
    });
    let held = rung == Some(Rung::Standby) && note.conditions.held[family.index()];
    let drained = drain(&note.conditions, rung).is_some();
    let state = match rung {
        _ if plan
            .unit_state()
            .is_some_and(|unit_state| unit_state.owner() != Some(region)) =>
        {
            "not the owner"
        }
        _ if drained => "drained",
        _ if held => "held: manual resume",
        rung => rung.map_or("down", Rung::as_str),
    };
    let mut detail = format!("{} of {} endpoints up{doubt}", pool.up, pool.endpoints);
    if plan.route == Route::Priority {
        detail += &format!(", priority {}", pool.priority);
    }
    if plan.route != Route::Unit {
        detail += &format!(", weight {}", note.weight);
    }
    if note.conditions.share != RAMP_STEPS {
        detail += &format!(", at {} % of it", note.conditions.share * 100 / RAMP_STEPS);
    }
    if let Some(until) = note.conditions.flapping_until {
        detail += &format!(", flapping until {}", wall.show(until));
    }
    if chance > 0.0 && chance < 1.0 {
        let of = if plan.by_client { "clients" } else { "answers" };
        detail += &format!(", {} % of the {of}", (chance * 1000.0).round() / 10.0);
    }
    match verdict {
        Verdict::Taken if held || state == "drained" => ("taken", format!("{state}: {detail}")),
        Verdict::Taken if plan.route == Route::Unit => ("taken", format!("owner: {detail}")),
        Verdict::Taken => ("taken", format!("{}: {detail}", selection.rung.as_str())),
        Verdict::NotDrawn if plan.by_client => (
            "not drawn",
            format!("as good, the client's lot is another's: {detail}"),
        ),
        Verdict::NotDrawn if plan.is_trickling() => (
            "not drawn",
            format!("the draw for the trickle went elsewhere: {detail}"),
        ),
        Verdict::NotDrawn => (
            "not drawn",
            format!("as good, the draw by weight went elsewhere: {detail}"),
        ),
        Verdict::PassedOver => (state, detail),
        Verdict::NoPool => ("no pool", String::new()),
    }
}

/// The rung on which a pool is of use, unless it is taken in spite of its state.
fn usable_rung(pool: &PoolPlan, family: Family) -> Option<Rung> {
    Rung::best(pool.rungs[family.index()]).filter(|rung| *rung < Rung::AsIfUp)
}

/// The drain that decides about a pool on that rung.
fn drain(conditions: &PoolConditions, rung: Option<Rung>) -> Option<&Drain> {
    conditions
        .drained
        .as_deref()
        .filter(|_| rung.is_none_or(|rung| rung == Rung::Standby))
}

/// The operators' words about a region, as [`Step::said`] has them.
fn said(plan: &Plan, family: Family, region: RegionId, wall: WallTime) -> String {
    let mut said = String::new();
    let (Some(pool), Some(Note { conditions, .. })) = (plan.pool(region), plan.note(region)) else {
        return said;
    };
    if let Some(drain) = drain(conditions, usable_rung(pool, family)) {
        let until = until(drain.until, wall);
        let reason = if drain.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", drain.reason)
        };
        said += &format!(", {} drained by {} {until}{reason}", drain.what, drain.by);
    }
    for word in &conditions.overrides {
        said += &format!(", {}", word.sentence(wall));
    }
    said
}

/// Every address or target name of a ring.
fn targets(plan: &Plan, ring: Ring) -> Vec<String> {
    let target = |slot| {
        let rr = plan.answer(ring, slot);
        let (_, rdata) = rrs(rr).next()?;
        Some(match RrType(u16::from_be_bytes([rr[2], rr[3]])) {
            RrType::A => Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?).to_string(),
            RrType::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?).to_string(),
            _ => Name::from_wire(rdata)?.to_string(),
        })
    };
    (0..usize::from(ring.len)).filter_map(target).collect()
}

fn region_name(dataset: &Dataset, region: RegionId) -> String {
    dataset.config.region_name(region).to_owned()
}

/// A query for `name` and `rtype` with `client` in a Client Subnet option.
pub fn query_message(name: &Name, rtype: RrType, client: Prefix) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(name.as_wire());
    message.extend_from_slice(&rtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let octets = match client.address() {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let family = if client.address().is_ipv4() { 1 } else { 2 };
    let address = &octets[..usize::from(client.length().div_ceil(8))];
    let length = 4 + client.length().div_ceil(8);
    message.extend_from_slice(&[
        0,
        0,
        41,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
        0,
        length + 4,
        0,
        8,
        0,
        length,
        0,
        family,
        client.length(),
        0,
    ]);
    message.extend_from_slice(address);
    message
}
