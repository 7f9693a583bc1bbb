//! Explanations of answers, from the code that gives them: the query is put to
//! [`respond`], and the selection is run once more from the same seed with a trace.

mod message;
mod steps;
mod unit;

use super::{Query, Response, TCP_BUFFER, Transport, Worker, respond};
use crate::dataset::{Dataset, Snapshot};
use crate::dns::{Name, Prefix, Rcode, RrType, Section};
use crate::failover::Failover;
use crate::geo::{Location, Source};
use crate::model::{RegionId, Route, ServiceId, WallTime};
use crate::steer::Rung;
use crate::zone::{Lookup, present};

use message::Received;
pub use message::query_message;

/// Explanation of the answer that one client gets for one name and type.
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
    /// Time in which a client leaves a dead region of the service; `None` for static records.
    pub failover: Option<Failover>,
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
    /// End of the fence, in RFC 3339, once it is known.
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
        failover: None,
        possible: Possible::default(),
    };
    explanation.ask(snapshot, seed);
    let wire = name.to_lowercase();
    let found = dataset.names.lookup(wire.as_wire(), rtype);
    let is_challenged = |found| {
        let challenges = snapshot.challenges.as_ref();
        challenges.is_some_and(|own| own.over(wire.as_wire(), rtype, found).is_some())
    };
    let steered = matches!(
        &found,
        Some((_, found @ Lookup::Service(_))) if !is_challenged(found)
    );
    if let Some(service) = service.filter(|_| steered) {
        let config = &dataset.config;
        let failover = Failover::of(config, &config.services[service.index()]);
        explanation.failover = Some(failover);
        explanation.locate(dataset, service);
        steps::trace(&mut explanation, snapshot, service, seed, wall);
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
        if let Some(failover) = &self.failover {
            object["failover"] = failover.json();
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
        self.rcode = Rcode(extended << 4 | u16::from(message[3] & 15)).to_string();
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
}

fn region_name(dataset: &Dataset, region: RegionId) -> String {
    dataset.config.region_name(region).to_owned()
}
