//! One `[services.NAME]`: its keys, and the service that they make.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::inherited::{Probing, min_up, probing};
use super::pools::{ServicePools, last_resort, pools};
use super::rules::Rules;
use super::units::{self, UnitKeys};
use super::{DEFAULT_TTL_MIN, check_ttl_min, map_name};
use crate::config::context::{Context, ZoneDefaults};
use crate::config::document::{Item, Located, Table};
use crate::config::kinds::{duration, integer, one_of, share};
use crate::config::zones::MAX_TTL;
use crate::diag::{At, Diagnostics};
use crate::dns::{Name, Ttl};
use crate::model::{FamilyRule, MapId, Need, Pool, Resume, Route, Service, Share, ZoneId};

const DEFAULT_MIN_UP: Share = Share::HALF;
const ROUTES: &[(&str, Route)] = &[
    ("nearest", Route::Nearest),
    ("weighted", Route::Weighted),
    ("priority", Route::Priority),
    ("sticky", Route::Sticky),
    ("unit", Route::Unit),
];
/// More would make the standby the primary.
const TRICKLE: RangeInclusive<Share> = Share::ZERO..=Share::HALF;
const RESUMES: &[(&str, Resume)] = &[("auto", Resume::Auto), ("manual", Resume::Manual)];
/// Shorter is no ramp, and longer is forgotten.
const RAMP: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const FAMILY_RULES: &[(&str, FamilyRule)] =
    &[("same", FamilyRule::Same), ("split", FamilyRule::Split)];

/// Reads one `[services.NAME]`, which is a service a unit. A wrong name (`None`) has been reported;
/// the rest is read all the same, so that all of it is reported in one run.
pub(super) fn service(
    name: Option<Name>,
    item: &Item<'_>,
    zone: &ZoneDefaults,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Vec<Service> {
    let Some(mut keys) = Keys::read(item, zone, context, out) else {
        return Vec::new();
    };
    let units = keys.units.take();
    let Some(service) = keys.into_service(name, item, context, out) else {
        return Vec::new();
    };
    match units {
        Some(units) => units::expand(units, service, item, context, out),
        None => vec![service],
    }
}

/// The keys of a service, each of them good; the rules between them are still to be checked.
struct Keys {
    at: At,
    route: Route,
    map: Option<usize>,
    ttl: u32,
    ttl_min: u32,
    answers: u32,
    family: Option<Located<FamilyRule>>,
    ramp: Option<Located<Duration>>,
    resume: Resume,
    trickle: Option<Located<Share>>,
    min_regions: u32,
    fallback: Vec<IpAddr>,
    units: Option<UnitKeys>,
    /// At least one, in the order of their regions.
    pools: Vec<Located<Pool>>,
}

impl Keys {
    fn read(
        item: &Item<'_>,
        zone: &ZoneDefaults,
        context: &mut Context<'_>,
        out: &mut Diagnostics,
    ) -> Option<Keys> {
        let mut t = item.table(out)?;
        let hint = "write route = \"nearest\", \"weighted\", \"priority\", \"sticky\" or \"unit\"";
        let route = t.required(out, "route", hint, one_of(ROUTES));
        let map = map(&mut t, route, zone, context, out);
        let (ttl, ttl_min) = ttls(&mut t, zone, out);
        let answers = t.optional(out, "answers", integer(1..=8, ""));
        let family = t.located(out, "family", one_of(FAMILY_RULES));
        let min_up = min_up(&mut t, DEFAULT_MIN_UP, out);
        let ramp = t.located(out, "ramp", duration(RAMP));
        let resume = t.optional(out, "resume", one_of(RESUMES));
        let trickle = t.located(out, "trickle", share(TRICKLE));
        let min_regions = t.optional(out, "min_regions", integer(0..=4096, ""));
        let units = units::read(&mut t, route, context, out);
        let fallback = t.optional(out, "fallback", last_resort);
        // Without `checks` an endpoint is always up.
        let unchecked = Probing {
            checks: Vec::new(),
            need: Need::All,
        };
        let inherited = ServicePools {
            route,
            min_up,
            probing: probing(&mut t, &unchecked, context, out),
        };
        let pools = pools(&mut t, item, &inherited, context, out);
        let at = t.at();
        if !t.finish(out) {
            return None;
        }
        Some(Keys {
            at,
            route: route?,
            map,
            ttl,
            ttl_min,
            answers: answers.unwrap_or(1),
            family,
            ramp,
            resume: resume.unwrap_or(Resume::Auto),
            trickle,
            min_regions: min_regions.unwrap_or(1),
            fallback: fallback.unwrap_or_default(),
            units,
            pools: pools?,
        })
    }

    /// The service, after the rules between its keys. A broken rule is reported, and the service is
    /// made all the same: the rules of the zone then find what is wrong beside it.
    fn into_service(
        self,
        name: Option<Name>,
        item: &Item<'_>,
        context: &Context<'_>,
        out: &mut Diagnostics,
    ) -> Option<Service> {
        let rules = Rules {
            route: self.route,
            map: self.map,
            pools: &self.pools,
            item,
            context,
        };
        rules.check_map(out);
        rules.warn_lone_sticky(out);
        rules.warn_useless_trickle(self.trickle.as_ref(), out);
        rules.warn_useless_ramp(self.ramp.as_ref(), out);
        rules.warn_useless_split(self.family.as_ref(), out);
        let family = value_or(self.family, FamilyRule::Same);
        rules.check_pools(family, out);
        let trickle = value_or(self.trickle, Share::ZERO);
        let names = rules.have_names();
        let by_client = rules.choose_by_client(trickle);
        // A vector of its own size: collected in place it would keep the room of the larger items, and of
        // those that were expected, for as long as the files are served.
        let mut pools = Vec::with_capacity(self.pools.len());
        pools.extend(self.pools.into_iter().map(|pool| pool.value));
        Some(Service {
            zone: ZoneId(0),
            name: name?,
            at: self.at,
            route: self.route,
            map: self.map.map(MapId::from_index),
            ttl: Ttl::from_secs(self.ttl).expect("in the range read"),
            ttl_min: Ttl::from_secs(self.ttl_min).expect("in the range read"),
            answers: u8::try_from(self.answers).expect("in the range read"),
            family,
            ramp: self.ramp.map(|ramp| ramp.value),
            resume: self.resume,
            pools,
            fallback: self.fallback,
            trickle,
            min_regions: self.min_regions,
            unit: None,
            svcb: Vec::new(),
            names,
            by_client,
        })
    }
}

fn value_or<T>(located: Option<Located<T>>, default: T) -> T {
    located.map_or(default, |located| located.value)
}

/// The service's map, unless it says that it has none. A unit's clients all go to its owner, so it
/// has none.
fn map(
    t: &mut Table<'_>,
    route: Option<Route>,
    zone: &ZoneDefaults,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<usize> {
    let own = t.located(out, "map", map_name(context.maps));
    if route != Some(Route::Unit) {
        return value_or(own, zone.map);
    }
    if let Some(own) = own {
        let message =
            "`map` does nothing with route = \"unit\": all clients go to the owner of the unit";
        out.warning("useless-key", own.at, t.key_path("map"), message)
            .hint("remove it");
    }
    None
}

/// `ttl` and `ttl_min` in seconds, with what the zone has in place of what is not written.
fn ttls(t: &mut Table<'_>, zone: &ZoneDefaults, out: &mut Diagnostics) -> (u32, u32) {
    let ttl = t.optional(out, "ttl", integer(0..=MAX_TTL, "seconds"));
    let ttl = ttl.unwrap_or(zone.ttl);
    let own = t.located(out, "ttl_min", integer(0..=MAX_TTL, "seconds"));
    if let Some(own) = &own
        && t.sound()
    {
        check_ttl_min(own, ttl, &t.key_path("ttl_min"), out);
    }
    let inherited = zone.ttl_min.unwrap_or(DEFAULT_TTL_MIN);
    (ttl, value_or(own, inherited).min(ttl))
}
