//! Services, their pools and endpoints.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MapId, Prefix, RegionId, Share, TargetId, ZoneId};
use crate::diag::At;
use crate::dns::{Name, NameError, RrType, Ttl};

/// A weight, 0 … 1 000 000; 0 is standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

impl From<Weight> for u32 {
    fn from(weight: Weight) -> u32 {
        weight.0
    }
}

impl TryFrom<u32> for Weight {
    type Error = WeightTooLarge;

    fn try_from(weight: u32) -> Result<Weight, WeightTooLarge> {
        Weight::new(weight).ok_or(WeightTooLarge(weight))
    }
}

/// A number above [`Weight::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightTooLarge(pub u32);

impl fmt::Display for WeightTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is above {}", self.0, Weight::MAX)
    }
}

impl std::error::Error for WeightTooLarge {}

impl Weight {
    /// The largest weight.
    pub const MAX: u32 = 1_000_000;
    /// The weight of what has none written.
    pub const ONE: Weight = Weight(1);
    /// The weight of a standby.
    pub const ZERO: Weight = Weight(0);

    /// `None` above [`Weight::MAX`].
    pub const fn new(weight: u32) -> Option<Weight> {
        if weight > Weight::MAX {
            None
        } else {
            Some(Weight(weight))
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// One `[services.NAME]`: a steered owner name in a zone.
#[derive(Debug, Clone)]
pub struct Service {
    /// The zone it is in.
    pub zone: ZoneId,
    /// Its owner name, absolute; may be a wildcard or the apex.
    pub name: Name,
    /// Its place in the zone file.
    pub at: At,
    /// Rule by which a region is chosen.
    pub route: Route,
    /// The map, where the route uses one.
    pub map: Option<MapId>,
    /// TTL while everything consulted is settled.
    pub ttl: Ttl,
    /// TTL in doubt, and on the lower steps of the ladder.
    pub ttl_min: Ttl,
    /// Endpoints in an answer, 1 … 8.
    pub answers: u8,
    /// Rule for a region's families: whether they move together.
    pub family: FamilyRule,
    /// Time in which the weight of a pool that returns grows; `None` is at once.
    pub ramp: Option<Duration>,
    /// Rule by which a pool that is up again is used again.
    pub resume: Resume,
    /// At most one per region, in the order of their regions; never empty.
    pub pools: Vec<Pool>,
    /// Addresses of a last resort outside every region.
    pub fallback: Vec<IpAddr>,
    /// Share of the answers that go to the next priority, 0 … 0.5.
    pub trickle: Share,
    /// Regions that a drain must leave up; at least 0.
    pub min_regions: u32,
    /// The unit that it is, where the route is [`Route::Unit`].
    pub unit: Option<Unit>,
    /// The HTTPS and SVCB records of its name that follow the steering.
    pub svcb: Vec<SvcbSet>,
    /// Some endpoint is a CNAME target. A resolver uses a CNAME that it has for every type; so the region is chosen whatever the
    /// type asked, and a client gets the CNAME for all of them, or addresses.
    pub names: bool,
    /// True where the client's hash decides, the same for every type asked, instead of a draw for each answer: with `sticky`, and where names and addresses share
    /// by weight.
    pub by_client: bool,
}

/// The HTTPS or SVCB records of a service name, as the zone has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SvcbSet {
    /// HTTPS or SVCB.
    pub rtype: RrType,
    /// At least one, of which one or more are steered.
    pub rdatas: Vec<Box<[u8]>>,
}

impl SvcbSet {
    /// The types of such records.
    pub const TYPES: [RrType; 2] = [RrType::HTTPS, RrType::SVCB];
    /// By family, the SvcParamKey of its address hints: `ipv4hint` and `ipv6hint`.
    pub const HINTS: [u16; 2] = [4, 6];

    /// True of a record in ServiceMode whose target is its own name (RFC 9460 §2.5.2): its hints are the service's addresses.
    pub fn is_steered(rdata: &[u8]) -> bool {
        matches!(rdata, [p0, p1, 0, ..] if (*p0, *p1) != (0, 0))
    }

    /// The SvcParams of a steered record: key and value.
    pub fn params(rdata: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = &rdata[3..];
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<4>()?;
            let (key, length) = (
                u16::from_be_bytes([head[0], head[1]]),
                u16::from_be_bytes([head[2], head[3]]),
            );
            let value;
            (value, rest) = after.split_at_checked(length.into())?;
            Some((key, value))
        })
    }

    /// The families of whose addresses a steered record has hints.
    pub fn hinted(rdata: &[u8]) -> impl Iterator<Item = Family> {
        SvcbSet::params(rdata).filter_map(|(key, _)| {
            Family::BOTH
                .into_iter()
                .find(|family| SvcbSet::HINTS[family.index()] == key)
        })
    }
}

/// One unit of a service: a shard that exactly one region owns at a time. Each is a [`Service`] of its own,
/// with the pools of the service it is part of.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its number, from 0.
    pub index: u32,
    /// Its owner where no state says otherwise.
    pub owner: RegionId,
    /// Rules that all units of the service have in common.
    pub rules: Arc<UnitRules>,
}

/// Rules that the units of one service have in common.
#[derive(Debug, Clone)]
pub struct UnitRules {
    /// The owner name of the service; of a single unit it is the unit's name too.
    pub service: Name,
    /// Number of units.
    pub count: u32,
    /// Rule by which a unit whose owner is down moves.
    pub takeover: Takeover,
    /// By pool and endpoint: what must be up, besides the endpoint's checks, for its region to become an owner.
    pub ready: Vec<Vec<Vec<TargetId>>>,
    /// Time that a fence lasts beyond the longest TTL that was answered.
    pub grace: Duration,
    /// Addresses answered during a fence; none where it is empty.
    pub fence_answer: Vec<IpAddr>,
}

impl Unit {
    /// Its owner name: zero-padded below that of the service, or the service's own where that has one unit.
    pub fn name(&self) -> Result<Name, NameError> {
        if self.rules.count == 1 {
            return Ok(self.rules.service.clone());
        }
        let width = (self.rules.count - 1).to_string().len();
        Name::from_text(
            &format!("{:0width$}", self.index),
            Some(&self.rules.service),
        )
    }

    /// The name of the TXT record that says who owns the unit of that name.
    pub fn epoch_name(name: &Name) -> Result<Name, NameError> {
        Name::from_text("_epoch", Some(name))
    }
}

/// Rule by which a unit whose owner is down gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// An operator.
    Manual,
    /// Health: the next region that is up and ready.
    Auto,
}

impl Service {
    /// True when an operator's `text` names it: its owner name, or for a unit that of the service
    /// that it is a unit of.
    pub fn goes_by(&self, text: &str) -> bool {
        let whole = self.unit.as_ref().map(|unit| &unit.rules.service);
        self.name.is_written(text) || whole.is_some_and(|whole| whole.is_written(text))
    }

    /// The families any pool offers: types outside it are NODATA, whatever the health.
    pub fn families(&self) -> Families {
        self.pools
            .iter()
            .fold(Families::default(), |all, pool| all.union(pool.families()))
    }

    /// True when families can go different ways: see [`FamilyRule`]. One that hands out names has nothing to part.
    pub fn is_split(&self) -> bool {
        self.family == FamilyRule::Split && !self.names
    }
}

/// Rule by which a region is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// The client's region order, step by step.
    Nearest,
    /// Every available pool by weight.
    Weighted,
    /// Lowest priority number first, equal ones by weight.
    Priority,
    /// By weighted rendezvous hashing of the client's prefix.
    Sticky,
    /// The region that owns the unit.
    Unit,
}

/// Rule by which a pool that was down and is up again is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Health does.
    Auto,
    /// An operator does; until then it is a standby.
    Manual,
}

/// Rule for a region's address families: whether they move together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyRule {
    /// A region is available when it is up in every family it offers.
    Same,
    /// Families are independent.
    Split,
}

/// A service's endpoints in one region.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The region.
    pub region: RegionId,
    /// Its share among pools that are equally good.
    pub weight: Weight,
    /// For `route = "priority"`: 1 is tried first. For `"unit"`: 1 takes over first.
    pub priority: u32,
    /// Share of the pool's endpoint weight that must be up, 0 … 1.
    pub min_up: Share,
    /// Never empty.
    pub endpoints: Vec<Endpoint>,
}

impl Pool {
    /// The families its endpoints offer; a CNAME target counts for both.
    pub fn families(&self) -> Families {
        self.endpoints
            .iter()
            .fold(Families::default(), |all, e| all.union(e.target.families()))
    }

    /// True when it hands out names: all of its endpoints are, or none.
    pub fn has_names(&self) -> bool {
        self.endpoints
            .iter()
            .any(|endpoint| matches!(endpoint.target, Target::Name(_)))
    }
}

/// One address or target name in a pool.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The data that is handed out.
    pub target: Target,
    /// Its share inside the pool.
    pub weight: Weight,
    /// The (check, address) pairs it is judged by; empty is always up.
    pub probes: Vec<TargetId>,
    /// The rule for how many of them must be up.
    pub need: Need,
}

/// Rule for how many of an endpoint's checks must be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every one.
    All,
    /// One is enough.
    Any,
}

/// Data that an endpoint hands out: an address, or an alias for a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An A or AAAA record.
    Address(IpAddr),
    /// A CNAME record.
    Name(Name),
}

impl Target {
    /// The families it offers; a CNAME target counts for both.
    pub fn families(&self) -> Families {
        match self {
            Target::Address(IpAddr::V4(_)) => Families {
                v4: true,
                v6: false,
            },
            Target::Address(IpAddr::V6(_)) => Families {
                v4: false,
                v6: true,
            },
            Target::Name(_) => Families { v4: true, v6: true },
        }
    }
}

impl Target {
    /// True when an operator's `text` is this endpoint: the address, however it is written, or the
    /// name with its final dot. Without the dot a name could be a region's.
    pub fn is_written(&self, text: &str) -> bool {
        match self {
            // Compared as addresses, since an IPv6 address has many spellings.
            Target::Address(address) => text.parse() == Ok(*address),
            Target::Name(name) => name.to_string().eq_ignore_ascii_case(text),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Address(address) => address.fmt(f),
            Target::Name(name) => name.fmt(f),
        }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// Its name as a metric's label.
    pub fn as_label(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }

    /// 0 for IPv4, 1 for IPv6.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The family a query type asks for.
    pub fn of(rtype: RrType) -> Option<Family> {
        match rtype {
            RrType::A => Some(Family::V4),
            RrType::AAAA => Some(Family::V6),
            _ => None,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A set of address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4 is in it.
    pub v4: bool,
    /// IPv6 is in it.
    pub v6: bool,
}

impl Families {
    /// Families in either.
    pub fn union(self, other: Families) -> Families {
        Families {
            v4: self.v4 || other.v4,
            v6: self.v6 || other.v6,
        }
    }

    /// True when `family` is in it.
    pub fn contains(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// One `[[tests]]` of a zone file: what a client is to get, or how soon a dead region is left, or
/// both.
#[derive(Debug, Clone)]
pub struct RoutingTest {
    /// The name asked, absolute.
    pub name: Name,
    /// The answer that a client is to get.
    pub answer: Option<AnswerTest>,
    /// The bound that the service is to keep.
    pub failover: Option<FailoverTest>,
}

/// The part of a [`RoutingTest`] about an answer.
#[derive(Debug, Clone)]
pub struct AnswerTest {
    /// The place of the test in the zone file.
    pub at: At,
    /// The client's prefix.
    pub client: Prefix,
    /// The type asked; A where none is written and the service has IPv4, else AAAA.
    pub rtype: Option<RrType>,
    /// Parts that are taken as down.
    pub down: Part,
    /// Regions taken as drained.
    pub drained: Vec<RegionId>,
    /// The region, or the address or target that is to be among the answers.
    pub expect: Expect,
}

/// The part of a [`RoutingTest`] about the time in which a client leaves a dead region.
#[derive(Debug, Clone)]
pub struct FailoverTest {
    /// The place of the time in the zone file.
    pub at: At,
    /// The longest time that is accepted.
    pub within: Duration,
}

/// A part of everything that runs: whole regions, and single endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Regions with all their endpoints.
    pub regions: Vec<RegionId>,
    /// Endpoints by what they hand out, in whatever pools they are.
    pub endpoints: Vec<Target>,
}

impl Part {
    /// True when `endpoint` of a pool in `region` is in it.
    pub fn contains(&self, region: RegionId, endpoint: &Endpoint) -> bool {
        self.regions.contains(&region) || self.endpoints.contains(&endpoint.target)
    }
}

/// Expectation of an [`AnswerTest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The answer comes from this region.
    Region(RegionId),
    /// This address or target is among the answers.
    Target(Target),
    /// No records of that type.
    NoData,
}
