//! `[services.*]` of a zone file: services, their pools and endpoints.

mod units;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::checks::Targets;
use super::document::{Item, Located, Table};
use super::kinds::{address, distinct, duration, integer, list, name_of, one_of, share};
use super::names::Names;
use super::zones::{Context, MAX_TTL, ZoneDefaults};
use crate::diag::Diagnostics;
use crate::dns::{Name, Ttl};
use crate::model::{
    CheckId, Endpoint, Entry, Families, Family, FamilyRule, MapId, MapSpec, Need, Pool, Prefix,
    RegionId, Resume, Route, Service, Share, Target, TargetId, Unit, Weight, ZoneId,
};
use crate::zone::Unread;
use units::UnitKeys;

/// Short enough that a client leaves a dead region soon, long enough that resolvers' caches work.
pub(super) const DEFAULT_TTL: u32 = 20;
/// What `ttl_min` is where the TTL is not shorter.
const DEFAULT_TTL_MIN: u32 = 5;
/// What `map` is where none is wanted although there is a default.
pub(super) const NO_MAP: &str = "none";
const DEFAULT_MIN_UP: Share = Share::HALF;
/// The most endpoints of a service, in all its pools: plans count them in 16 bits.
const MAX_ENDPOINTS: usize = 65_535;
/// The most addresses of a last resort.
const MAX_FALLBACK: usize = 1000;

/// The services of a zone, and the names of all that it defines, wrong ones too.
#[derive(Default)]
pub(super) struct Services {
    pub(super) list: Vec<Service>,
    pub(super) names: Vec<Name>,
    /// Of services that could not be read.
    pub(super) unread: Unread,
}

/// Reads `[services.*]`, in the order of their names.
pub(super) fn services(
    t: &Table<'_>,
    zone: &ZoneDefaults,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Services {
    let mut seen: HashMap<Name, String> = HashMap::new();
    let mut list = Vec::new();
    let mut unread = Unread::default();
    for (key, item) in t.items() {
        let name = service_name(key, &item, &zone.origin, out);
        unread.anywhere |= name.is_none();
        if let Some(other) = name.as_ref().and_then(|name| seen.get(name)) {
            let message = format!("\"{key}\" is the same name as \"{other}\"");
            out.error(
                "duplicate-service",
                item.key_at(),
                item.path.clone(),
                message,
            )
            .hint("keep one of the two");
            continue;
        }
        if let Some(name) = &name {
            seen.insert(name.clone(), key.to_owned());
        }
        let read = (Reader {
            zone,
            context: &mut *context,
        })
        .service(name.clone(), &item, out);
        if read.is_empty() {
            unread.names.extend(name);
        }
        for service in read {
            if let Some(unit) = service.unit.as_ref().filter(|unit| unit.rules.count > 1)
                && let Some(other) =
                    seen.insert(service.name.clone(), service.name.relative_to(&zone.origin))
            {
                let message = format!(
                    "unit {} of \"{key}\" has the same name as \"{other}\"",
                    unit.index
                );
                out.error(
                    "duplicate-service",
                    item.key_at(),
                    item.path.clone(),
                    message,
                )
                .hint("rename one of the two");
                break;
            }
            list.push(service);
        }
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let units = list.iter().filter(|service| service.unit.is_some());
    let epochs: Vec<(Name, &Service)> = units
        .filter_map(|unit| Some((Unit::epoch_name(&unit.name).ok()?, unit)))
        .collect();
    for (name, unit) in &epochs {
        if let Some(other) = seen.get(name) {
            let message = format!(
                "\"{other}\" is the name that says who owns the unit {}",
                unit.name.relative_to(&zone.origin)
            );
            out.error(
                "duplicate-service",
                unit.at.clone(),
                t.key_path(other),
                message,
            )
            .hint("rename that service");
        }
    }
    let names = seen
        .into_keys()
        .chain(epochs.into_iter().map(|(name, _)| name))
        .collect();
    Services {
        list,
        names,
        unread,
    }
}

/// Reports a `ttl_min` above the `ttl` it is to undercut.
pub(super) fn check_ttl_min(ttl_min: &Located<u32>, ttl: u32, path: &str, out: &mut Diagnostics) {
    if ttl_min.value > ttl {
        let message = format!("ttl_min = {} is above ttl = {ttl}", ttl_min.value);
        out.error("ttl-min-above-ttl", ttl_min.at.clone(), path, message)
            .hint("ttl_min is the shorter TTL of answers in doubt: lower it, or leave it out for min(ttl, 5)");
    }
}

fn service_name(key: &str, item: &Item<'_>, origin: &Name, out: &mut Diagnostics) -> Option<Name> {
    let name = match Name::from_text(key, Some(origin)) {
        Ok(name) => name,
        Err(problem) => {
            out.error(
                "bad-service-name",
                item.key_at(),
                item.path.clone(),
                format!("\"{key}\" is not a name: {problem}"),
            );
            return None;
        }
    };
    let octet = |b: &u8| b.is_ascii_alphanumeric() || b"-_*".contains(b);
    let plain = |(i, label): (usize, &[u8])| {
        label.iter().all(octet) && (!label.contains(&b'*') || (i == 0 && label == b"*"))
    };
    let inside = name.is_within(origin);
    if inside && name.labels().enumerate().all(plain) {
        warn_doubled(key, &name, item, origin, out);
        return Some(name);
    }
    let message = match inside {
        true => format!("\"{key}\" is not the name of a service"),
        false => format!("\"{key}\" is outside the zone {origin}"),
    };
    out.error(
        "bad-service-name",
        item.key_at(),
        item.path.clone(),
        message,
    )
    .hint(
        "write a name of this zone: \"www\", \"@\" for the zone itself, \"*.app\" for a wildcard",
    );
    None
}

/// `www.gtm.example` in the zone `gtm.example` is `www.gtm.example.gtm.example` without its dot.
fn warn_doubled(key: &str, name: &Name, item: &Item<'_>, origin: &Name, out: &mut Diagnostics) {
    let absolute = Name::from_text(&format!("{key}."), None)
        .ok()
        .filter(|_| !key.ends_with('.') && key != "@");
    if let Some(absolute) =
        absolute.filter(|absolute| absolute.is_within(origin) && *origin != Name::root())
    {
        let message = format!("\"{key}\" is relative to the zone, so the service is {name}");
        out.warning(
            "doubled-zone-name",
            item.key_at(),
            item.path.clone(),
            message,
        )
        .hint(format!(
            "write \"{}\", or \"{key}.\" with its final dot",
            absolute.relative_to(origin)
        ));
    }
}

struct Reader<'r, 'c> {
    zone: &'r ZoneDefaults,
    context: &'r mut Context<'c>,
}

/// What pools and endpoints inherit.
#[derive(Clone)]
struct Probing {
    checks: Vec<CheckId>,
    need: Need,
}

const NEEDS: &[(&str, Need)] = &[("all", Need::All), ("any", Need::Any)];
const ROUTES: &[(&str, Route)] = &[
    ("nearest", Route::Nearest),
    ("weighted", Route::Weighted),
    ("priority", Route::Priority),
    ("sticky", Route::Sticky),
    ("unit", Route::Unit),
];
/// More would make the standby the primary.
const TRICKLE: RangeInclusive<Share> = Share::ZERO..=Share::HALF;
const MIN_UP: RangeInclusive<Share> = Share::ZERO..=Share::ONE;
const RESUMES: &[(&str, Resume)] = &[("auto", Resume::Auto), ("manual", Resume::Manual)];
/// Shorter is no ramp, and longer is forgotten.
const RAMP: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const FAMILY_RULES: &[(&str, FamilyRule)] =
    &[("same", FamilyRule::Same), ("split", FamilyRule::Split)];

impl Reader<'_, '_> {
    /// Reads one `[services.NAME]`, which is a service a unit; a wrong name (`None`) was reported, the rest is read all the same.
    fn service(
        &mut self,
        name: Option<Name>,
        item: &Item<'_>,
        out: &mut Diagnostics,
    ) -> Vec<Service> {
        let Some((service, units)) = self.one(name, item, out) else {
            return Vec::new();
        };
        match units {
            Some(units) => units::expand(units, service, item, self.context, out),
            None => vec![service],
        }
    }

    fn one(
        &mut self,
        name: Option<Name>,
        item: &Item<'_>,
        out: &mut Diagnostics,
    ) -> Option<(Service, Option<UnitKeys>)> {
        let mut t = item.table(out)?;
        let hint = "write route = \"nearest\", \"weighted\", \"priority\", \"sticky\" or \"unit\"";
        let route = t.required(out, "route", hint, one_of(ROUTES));
        let map = self.map(&mut t, route, out);
        let ttl = t
            .optional(out, "ttl", integer(0..=MAX_TTL, "seconds"))
            .unwrap_or(self.zone.ttl);
        let own_ttl_min = t.located(out, "ttl_min", integer(0..=MAX_TTL, "seconds"));
        if let Some(ttl_min) = own_ttl_min.as_ref().filter(|_| t.sound()) {
            check_ttl_min(ttl_min, ttl, &t.key_path("ttl_min"), out);
        }
        let inherited = self.zone.ttl_min.unwrap_or(DEFAULT_TTL_MIN);
        let ttl_min = own_ttl_min.map_or(inherited, |t| t.value).min(ttl);
        let answers = t.optional(out, "answers", integer(1..=8, "")).unwrap_or(1);
        let own_family = t.located(out, "family", one_of(FAMILY_RULES));
        let min_up = t
            .optional(out, "min_up", share(MIN_UP))
            .unwrap_or(DEFAULT_MIN_UP);
        let ramp = t.located(out, "ramp", duration(RAMP));
        let resume = t
            .optional(out, "resume", one_of(RESUMES))
            .unwrap_or(Resume::Auto);
        let trickle = t.located(out, "trickle", share(TRICKLE));
        let min_regions = t
            .optional(out, "min_regions", integer(0..=4096, ""))
            .unwrap_or(1);
        let units = units::read(&mut t, route, self.context, out);
        let fallback = t.optional(out, "fallback", last_resort).unwrap_or_default();
        let probing = self.probing(
            &mut t,
            &Probing {
                checks: Vec::new(),
                need: Need::All,
            },
            out,
        );
        let hint = format!(
            "give it one: [{}.pools] with REGION = {{ endpoints = [\"192.0.2.1\"] }}",
            item.path
        );
        if t.item("pools").is_none() {
            out.error(
                "service-without-pools",
                t.at(),
                t.path.clone(),
                "the service has no pools",
            )
            .hint(&hint);
        }
        let pools = t.optional(out, "pools", |item, out| {
            self.pools(item, route, min_up, &probing, &hint, out)
        });
        let at = t.at();
        if !t.finish(out) {
            return None;
        }
        let (route, pools) = (route?, pools?);
        self.check_map(route, map, &pools, item, out);
        if route == Route::Sticky && pools.len() == 1 {
            let message = "a sticky service with one pool sends everybody there: there is nothing to stick to";
            out.warning(
                "sticky-with-one-pool",
                item.key_at(),
                item.path.clone(),
                message,
            )
            .hint("add pools, or write another route");
        }
        let steps = pools
            .iter()
            .any(|pool| pool.value.priority != pools[0].value.priority);
        if let Some(trickle) = trickle
            .as_ref()
            .filter(|trickle| trickle.value > Share::ZERO && !(route == Route::Priority && steps))
        {
            let message = match route {
                Route::Priority => {
                    "`trickle` does nothing: all pools have one priority, so there is no next"
                }
                _ => "`trickle` does nothing unless route = \"priority\"",
            };
            out.warning(
                "useless-key",
                trickle.at.clone(),
                format!("{}.trickle", item.path),
                message,
            )
            .hint("it is the share of the answers that goes to the next `priority`");
        }
        if let Some(ramp) = ramp.as_ref().filter(|_| !self.shares(route, map, &pools)) {
            let message =
                "`ramp` does nothing: no two pools of this service ever share clients by weight";
            out.warning("useless-key", ramp.at.clone(), format!("{}.ramp", item.path), message)
                .hint("regions share in route = \"weighted\", at an equal `priority`, in a metro, or by `within` of the map");
        }
        let names = pools.iter().any(|pool| pool.value.has_names());
        if let Some(family) = own_family
            .as_ref()
            .filter(|family| names && family.value == FamilyRule::Split)
        {
            let message = "`family = \"split\"` does nothing: a resolver uses a CNAME for every type, so A and AAAA go one way";
            out.warning("useless-key", family.at.clone(), format!("{}.family", item.path), message)
                .hint("remove it: a service with a name among its endpoints chooses the region whatever the type asked");
        }
        let family = own_family.map_or(FamilyRule::Same, |family| family.value);
        check_pools(&pools, family, route, item, out);
        let beside_addresses = names && pools.iter().any(|pool| !pool.value.has_names());
        let draws = self.shares(route, map, &pools)
            || trickle
                .as_ref()
                .is_some_and(|trickle| trickle.value > Share::ZERO)
            || pools
                .iter()
                .any(|pool| pool.value.has_names() && pool.value.endpoints.len() > 1);
        let service = Service {
            zone: ZoneId(0),
            name: name?,
            at,
            route,
            map: map.map(MapId::from_index),
            ttl: Ttl::from_secs(ttl).expect("in the range read"),
            ttl_min: Ttl::from_secs(ttl_min).expect("in the range read"),
            answers: answers as u8,
            family,
            ramp: ramp.map(|ramp| ramp.value),
            resume,
            pools: pools.into_iter().map(|pool| pool.value).collect(),
            fallback,
            trickle: trickle.map_or(Share::ZERO, |trickle| trickle.value),
            min_regions,
            unit: None,
            svcb: Vec::new(),
            names,
            by_client: route == Route::Sticky || (beside_addresses && draws),
        };
        Some((service, units))
    }

    /// The service's map, unless it says that it has none. A unit's clients all go to its owner, so it has none.
    fn map(&self, t: &mut Table<'_>, route: Option<Route>, out: &mut Diagnostics) -> Option<usize> {
        let own = t.located(out, "map", map_name(self.context.maps));
        match own {
            Some(own) if route == Some(Route::Unit) => {
                let message = "`map` does nothing with route = \"unit\": all clients go to the owner of the unit";
                out.warning("useless-key", own.at, t.key_path("map"), message)
                    .hint("remove it");
                None
            }
            _ if route == Some(Route::Unit) => None,
            own => own.map_or(self.zone.map, |own| own.value),
        }
    }

    /// Reads `checks` and `checks_need`, in place of those `above`.
    fn probing(&self, t: &mut Table<'_>, above: &Probing, out: &mut Diagnostics) -> Probing {
        let checks = t.optional(out, "checks", |item, out| {
            check_list(item, self.context.checks, out)
        });
        Probing {
            checks: checks.unwrap_or_else(|| above.checks.clone()),
            need: t
                .optional(out, "checks_need", one_of(NEEDS))
                .unwrap_or(above.need),
        }
    }

    fn pools(
        &mut self,
        item: &Item<'_>,
        route: Option<Route>,
        min_up: Share,
        probing: &Probing,
        hint: &str,
        out: &mut Diagnostics,
    ) -> Option<Vec<Located<Pool>>> {
        let t = item.table(out)?;
        let pools: Vec<_> = t
            .items()
            .map(|(name, item)| self.pool(name, &item, route, min_up, probing, out))
            .collect();
        if pools.is_empty() {
            out.error(
                "service-without-pools",
                item.key_at(),
                item.path.clone(),
                "the service has no pools",
            )
            .hint(hint);
            return None;
        }
        let mut pools = pools.into_iter().collect::<Option<Vec<Located<Pool>>>>()?;
        let count: usize = pools.iter().map(|pool| pool.value.endpoints.len()).sum();
        if count > MAX_ENDPOINTS {
            let message =
                format!("the service has {count} endpoints, and {MAX_ENDPOINTS} is the most");
            out.error("too-many", item.key_at(), item.path.clone(), message)
                .hint(
                    "hand out the addresses of load balancers, and let each stand for many servers",
                );
            return None;
        }
        pools.sort_by_key(|pool| pool.value.region);
        Some(pools)
    }

    fn pool(
        &mut self,
        name: &str,
        item: &Item<'_>,
        route: Option<Route>,
        min_up: Share,
        probing: &Probing,
        out: &mut Diagnostics,
    ) -> Option<Located<Pool>> {
        let regions = self.context.regions;
        let region = regions.find(name);
        if region.is_none() {
            out.error(
                regions.unknown_rule(),
                item.key_at(),
                item.path.clone(),
                format!("there is no region \"{name}\""),
            )
            .hint(regions.hint(name));
        }
        if let DeValue::Array(_) | DeValue::String(_) = item.value {
            let list = if item.value.is_array() {
                item.written()
            } else {
                format!("[{}]", item.written())
            };
            item.wrong_type(out, "a table")
                .hint(format!("write {name} = {{ endpoints = {list} }}"));
            return None;
        }
        let mut t = item.table(out)?;
        let weight = t.optional(out, "weight", weight).unwrap_or(Weight::ONE);
        let priority = t.located(out, "priority", integer(1..=1_000_000, ""));
        if let (Some(priority), Some(Route::Nearest | Route::Weighted | Route::Sticky)) =
            (&priority, route)
        {
            out.warning(
                "useless-key",
                priority.at.clone(),
                t.key_path("priority"),
                "`priority` does nothing unless route = \"priority\"",
            )
            .hint("remove it, or change the route of the service");
        }
        let min_up = t.optional(out, "min_up", share(MIN_UP)).unwrap_or(min_up);
        let probing = self.probing(&mut t, probing, out);
        let hint = "list its addresses: endpoints = [\"192.0.2.1\"]";
        let endpoints = t.required(out, "endpoints", hint, |item, out| {
            self.endpoints(item, &probing, out)
        });
        if !t.finish(out) {
            return None;
        }
        let priority = priority.map_or(1, |priority| priority.value);
        let pool = Pool {
            region: RegionId::from_index(region?),
            weight,
            priority,
            min_up,
            endpoints: endpoints?,
        };
        Some(Located {
            value: pool,
            at: item.key_at(),
        })
    }

    fn endpoints(
        &mut self,
        item: &Item<'_>,
        probing: &Probing,
        out: &mut Diagnostics,
    ) -> Option<Vec<Endpoint>> {
        let read = list(|item: &Item<'_>, out: &mut Diagnostics| {
            Some((self.endpoint(item, probing, out)?, item.span.clone()))
        })(item, out)?;
        if read.is_empty() {
            item.error(out, "pool-without-endpoints", "the pool has no endpoints")
                .hint("list its addresses, or remove the pool; weight = 0 makes it a standby");
            return None;
        }
        let mut sound = true;
        let mut seen = HashSet::with_capacity(read.len());
        for (i, (endpoint, span)) in read.iter().enumerate() {
            if !seen.insert(&endpoint.target) {
                sound = false;
                let message = format!("{} is in the pool twice", endpoint.target);
                out.error(
                    "duplicate-endpoint",
                    item.document.at(span.clone()),
                    format!("{}[{i}]", item.path),
                    message,
                )
                .hint("list it once; a larger `weight` gives it a larger share");
            }
        }
        let is_name = |target: &Target| matches!(target, Target::Name(_));
        let first = &read[0].0.target;
        let other = read
            .iter()
            .enumerate()
            .find(|(_, (endpoint, _))| is_name(&endpoint.target) != is_name(first));
        if let Some((i, (endpoint, span))) = other {
            sound = false;
            let (name, address) = if is_name(first) {
                (first, &endpoint.target)
            } else {
                (&endpoint.target, first)
            };
            let message = format!(
                "the pool has the name {name} beside the address {address}: a client is to get a CNAME or addresses"
            );
            out.error(
                "cname-endpoint-beside-addresses",
                item.document.at(span.clone()),
                format!("{}[{i}]", item.path),
                message,
            )
            .hint("give the name a region of its own; regions of one `metro` are equally near");
        }
        let endpoints: Vec<Endpoint> = read.into_iter().map(|(endpoint, _)| endpoint).collect();
        for family in Family::BOTH {
            let mut offered = endpoints
                .iter()
                .filter(|e| e.target.families().contains(family))
                .peekable();
            if offered.peek().is_some() && offered.all(|e| e.weight.get() == 0) {
                sound = false;
                let all = match family {
                    Family::V4 => "all IPv4 endpoints",
                    Family::V6 => "all IPv6 endpoints",
                };
                item.error(
                    out,
                    "all-weights-zero",
                    format!("{all} of the pool have weight 0, so none would ever be chosen"),
                )
                .hint(
                    "give at least one of them a weight; weight = 0 on the pool makes it a standby",
                );
                break;
            }
        }
        sound.then_some(endpoints)
    }

    fn endpoint(
        &mut self,
        item: &Item<'_>,
        probing: &Probing,
        out: &mut Diagnostics,
    ) -> Option<Endpoint> {
        let (target, weight, checks) = match item.value {
            DeValue::Table(_) => {
                let mut t = item.table(out)?;
                let address = t.located(out, "address", usable_address);
                let target = t.located(out, "target", target_name);
                let weight = t.optional(out, "weight", weight).unwrap_or(Weight::ONE);
                let checks = t.optional(out, "checks", |item, out| {
                    check_list(item, self.context.checks, out)
                });
                let checks = checks.unwrap_or_else(|| probing.checks.clone());
                if !t.finish(out) {
                    return None;
                }
                let target = match (address, target) {
                    (Some(address), None) => Target::Address(address.value),
                    (None, Some(target)) => Target::Name(target.value),
                    (Some(_), Some(target)) => {
                        out.error(
                            "address-and-target",
                            target.at,
                            item.path.clone(),
                            "the endpoint has both `address` and `target`",
                        )
                        .hint("keep one: an address is answered as A or AAAA, a target as CNAME");
                        return None;
                    }
                    (None, None) => {
                        item.error(
                            out,
                            "missing-key",
                            "the endpoint has neither `address` nor `target`",
                        )
                        .hint(
                            "write { address = \"192.0.2.1\" } or { target = \"lb.example.net.\" }",
                        );
                        return None;
                    }
                };
                (target, weight, checks)
            }
            _ => (
                plain_endpoint(item, out)?,
                Weight::ONE,
                probing.checks.clone(),
            ),
        };
        let probes = probes(&checks, &target, self.context.targets);
        Some(Endpoint {
            target,
            weight,
            probes,
            need: probing.need,
        })
    }

    /// True where some client's region is chosen by weight.
    fn shares(&self, route: Route, map: Option<usize>, pools: &[Located<Pool>]) -> bool {
        let some_two = |alike: &dyn Fn(&Pool, &Pool) -> bool| {
            pools
                .iter()
                .enumerate()
                .any(|(i, a)| pools[..i].iter().any(|b| alike(&a.value, &b.value)))
        };
        match route {
            Route::Unit => false,
            Route::Sticky if map.is_none() => some_two(&|_, _| true),
            Route::Weighted => some_two(&|_, _| true),
            Route::Priority => some_two(&|a, b| a.priority == b.priority),
            Route::Nearest | Route::Sticky => {
                let within = map
                    .and_then(|map| self.context.map_specs[map].as_ref())
                    .is_none_or(|map| map.within.is_some());
                let metro = |pool: &Pool| {
                    self.context.region_specs[pool.region.index()]
                        .as_ref()
                        .and_then(|region| region.metro.as_deref())
                };
                within || some_two(&|a, b| metro(a).is_some() && metro(a) == metro(b))
            }
        }
    }

    /// The rules between a service and its map.
    fn check_map(
        &self,
        route: Route,
        map: Option<usize>,
        pools: &[Located<Pool>],
        item: &Item<'_>,
        out: &mut Diagnostics,
    ) {
        let Some(map) = map else {
            if route == Route::Nearest {
                out.error(
                    "nearest-without-map",
                    item.key_at(),
                    item.path.clone(),
                    "route = \"nearest\" needs a map, and there is none",
                )
                .hint("write [maps.default] into meridian.toml, or name a map with `map`");
            }
            return;
        };
        let Some(spec) = &self.context.map_specs[map] else {
            return;
        };
        let names = pools.iter().any(|pool| pool.value.has_names());
        let families = |inside: &dyn Fn(RegionId) -> bool| {
            let pools = pools.iter().filter(|pool| inside(pool.value.region));
            let offered = |pool: &Located<Pool>| {
                if names {
                    Families { v4: true, v6: true }
                } else {
                    pool.value.families()
                }
            };
            pools.fold(Families::default(), |all, pool| all.union(offered(pool)))
        };
        let offered = families(&|_| true);
        let mut reported: Vec<&[RegionId]> = Vec::new();
        for (entry, only) in borders(spec) {
            let inside = families(&|region| only.contains(&region));
            if reported.contains(&only) || inside == offered {
                continue;
            }
            reported.push(only);
            // Only with family = "split" may a border hold pools and yet none of a family.
            let lacking = match (inside.v4, inside.v6) {
                (false, false) => "",
                (true, _) => "IPv6 ",
                (_, true) => "IPv4 ",
            };
            let names: Vec<_> = only
                .iter()
                .map(|region| self.context.regions.name(region.index()))
                .collect();
            let message = format!(
                "the service has no {lacking}pool inside the border maps.{}.{entry} (only {}): its clients would have no answer",
                spec.name,
                names.join(", ")
            );
            out.error(
                "no-pool-inside-border",
                item.key_at(),
                item.path.clone(),
                message,
            )
            .hint(
                "add a pool in one of these regions, or give the service a map without this border",
            );
        }
    }
}

/// Every border of a map, with the path of its entry.
fn borders(map: &MapSpec) -> impl Iterator<Item = (String, &[RegionId])> {
    fn only<'m>(
        source: &'static str,
        key: impl std::fmt::Display,
        entry: &'m Entry,
    ) -> Option<(String, &'m [RegionId])> {
        match entry {
            Entry::Only(regions) => Some((format!("{source}.{key}"), regions)),
            Entry::Prefer(_) => None,
        }
    }
    let quoted = |prefix: &Prefix| format!("\"{prefix}\"");
    let networks = map
        .networks
        .iter()
        .filter_map(move |(key, entry)| only("networks", quoted(key), entry));
    let asns = map
        .asns
        .iter()
        .filter_map(|(key, entry)| only("asns", key, entry));
    let subdivisions = map
        .subdivisions
        .iter()
        .filter_map(|(key, entry)| only("subdivisions", key, entry));
    let countries = map
        .countries
        .iter()
        .filter_map(|(key, entry)| only("countries", key, entry));
    let continents = map
        .continents
        .iter()
        .filter_map(|(key, entry)| only("continents", key, entry));
    networks
        .chain(asns)
        .chain(subdivisions)
        .chain(countries)
        .chain(continents)
}

/// The rules between the pools of a service.
fn check_pools(
    pools: &[Located<Pool>],
    family: FamilyRule,
    route: Route,
    item: &Item<'_>,
    out: &mut Diagnostics,
) {
    if pools.iter().all(|pool| pool.value.weight.get() == 0) {
        out.error(
            "all-weights-zero",
            item.key_at(),
            format!("{}.pools", item.path),
            "all pools have weight 0, so all are standbys of nothing",
        )
        .hint("give at least one pool a weight above 0");
    }
    let offers = |families: Families| match (families.v4, families.v6) {
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4 only",
        _ => "IPv6 only",
    };
    let first = &pools[0];
    // A unit has one region for all of its clients.
    let names = pools.iter().any(|pool| pool.value.has_names());
    let alike = !names && (family == FamilyRule::Same || route == Route::Unit);
    for pool in pools[1..]
        .iter()
        .filter(|pool| alike && pool.value.families() != first.value.families())
    {
        let message = format!(
            "the pool offers {}, but the pool at {} offers {}",
            offers(pool.value.families()),
            first.at,
            offers(first.value.families())
        );
        out.error("different-families", pool.at.clone(), format!("{}.pools", item.path), message).hint(match route {
            Route::Unit => "give every pool the same address families: any of them may own a unit",
            _ => "give every pool the same address families, or set family = \"split\" to let them fail apart",
        });
    }
}

/// The name of a map, or `none`.
pub(super) fn map_name<'a>(
    maps: &'a Names,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<Option<usize>> + 'a {
    let read = name_of(maps);
    move |item, out| {
        if item.value.as_str() == Some(NO_MAP) {
            Some(None)
        } else {
            read(item, out).map(Some)
        }
    }
}

fn check_list(item: &Item<'_>, names: &Names, out: &mut Diagnostics) -> Option<Vec<CheckId>> {
    let read = name_of(names);
    distinct(
        |item, out| read(item, out).map(CheckId::from_index),
        "check",
    )(item, out)
}

fn probes(checks: &[CheckId], target: &Target, targets: &mut Targets) -> Vec<TargetId> {
    checks
        .iter()
        .map(|check| targets.id(*check, target))
        .collect()
}

fn weight(item: &Item<'_>, out: &mut Diagnostics) -> Option<Weight> {
    integer(0..=Weight::MAX, "")(item, out).and_then(Weight::new)
}

/// The addresses of a last resort.
fn last_resort(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<IpAddr>> {
    let addresses = distinct(usable_address, "address")(item, out)?;
    if addresses.len() > MAX_FALLBACK {
        item.error(
            out,
            "too-many",
            format!(
                "there are {} addresses, and {MAX_FALLBACK} is the most",
                addresses.len()
            ),
        );
        return None;
    }
    Some(addresses)
}

/// An address that can be answered: not `0.0.0.0`, `::`, or of a group.
fn usable_address(item: &Item<'_>, out: &mut Diagnostics) -> Option<IpAddr> {
    let address = address(item, out)?;
    check_usable(address, item, out)
}

fn check_usable(address: IpAddr, item: &Item<'_>, out: &mut Diagnostics) -> Option<IpAddr> {
    if address.is_unspecified() || address.is_multicast() {
        item.error(
            out,
            "bad-address",
            format!("{address} is not the address of one host"),
        );
        return None;
    }
    Some(address)
}

/// A plain string: an address, or a name that ends in a dot.
fn plain_endpoint(item: &Item<'_>, out: &mut Diagnostics) -> Option<Target> {
    let Some(text) = item.value.as_str() else {
        item.wrong_type(
            out,
            "an address, a name ending in a dot, or { address = … }",
        );
        return None;
    };
    if let Ok(address) = text.parse() {
        return check_usable(address, item, out).map(Target::Address);
    }
    let looks_like_name =
        text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains([':', '/', ' ']);
    if looks_like_name {
        target_name(item, out).map(Target::Name)
    } else {
        address(item, out).map(Target::Address)
    }
}

/// The target of a CNAME, absolute.
fn target_name(item: &Item<'_>, out: &mut Diagnostics) -> Option<Name> {
    let text = item.string(out, "a name ending in a dot")?;
    if text.parse::<IpAddr>().is_ok() {
        item.error(
            out,
            "bad-target",
            format!("\"{text}\" is an address, not a name"),
        )
        .hint(format!("write address = \"{text}\""));
        return None;
    }
    match Name::from_text(text, None) {
        // Programs of checks are given the target: it holds nothing that a shell would act on.
        Ok(name)
            if !name
                .labels()
                .flatten()
                .all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet)) =>
        {
            item.error(
                out,
                "bad-target",
                format!("\"{text}\" is not the name of a host"),
            )
            .hint("a host's name has letters, digits, `-` and `_`")
        }
        Ok(name) if name.labels().next().is_some() => return Some(name),
        Ok(_) => item.error(out, "bad-target", "the root is no target"),
        Err(crate::dns::NameError::Relative) => item
            .error(
                out,
                "relative-target",
                format!("\"{text}\" is neither an address nor a name ending in a dot"),
            )
            .hint(format!("write \"{text}.\" for the host of that full name")),
        Err(problem) => item.error(out, "bad-target", format!("\"{text}\": {problem}")),
    };
    None
}
