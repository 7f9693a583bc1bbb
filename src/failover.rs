//! The longest time in which a client leaves a dead region, by the files alone.
//!
//! ```text
//! death ──interval──► a probe that hangs ──timeout──► first failure: answers carry ttl_min
//!                                     … fall − 1 more failures ──► detection: the region is out
//! within = max(first failure + ttl, detection + ttl_min)
//! ```
//! At the worst, a probe has passed just before the death, and each that follows hangs until its
//! timeout. The failures that follow the first come after `recheck`, or at the interval where that
//! is sooner. A unit has no second owner before its fence is over, which begins at the detection.

use std::fmt;
use std::time::Duration;

use crate::config::Config;
use crate::dns::Ttl;
use crate::model::{CheckSpec, Endpoint, Need, Pool, RegionId, Service, Takeover, Target};

/// Answer to the question when a client of one service leaves a dead region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failover {
    /// Within a time that the configuration bounds.
    Within(Bound),
    /// Without a bound, for this reason.
    Never(Never),
}

/// Bound of a service, from its slowest region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Time from the death to the first failure that counts, after which answers carry `ttl_min`.
    pub first_failure: Duration,
    /// Time from the death until the region is out of the answers; of a unit, until its fence begins.
    pub detection: Duration,
    /// Time from the death until no resolver that honours TTLs hands out the region any more; not
    /// rounded.
    pub within: Duration,
    /// The part that makes up most of it.
    pub decides: Part,
}

/// Part of a [`Bound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `ttl`, of an answer given right before the first failure.
    Ttl,
    /// `interval` of a check.
    Interval,
    /// `recheck` of a check.
    Recheck,
    /// `timeout` of a check.
    Timeout,
    /// `expires` of a `push` check.
    Expires,
    /// The fence of a unit.
    Fence,
}

/// Reason for which a client does not leave a dead region by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Never {
    /// The service has one region, and no `fallback`.
    NoOtherRegion,
    /// An endpoint has no check, and so is always up.
    Unchecked(RegionId, Target),
    /// The units have `takeover = "manual"`.
    Operator,
}

impl Part {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Ttl => "ttl",
            Part::Interval => "interval",
            Part::Recheck => "recheck",
            Part::Timeout => "timeout",
            Part::Expires => "expires",
            Part::Fence => "fence",
        }
    }
}

impl Never {
    /// Its name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Never::NoOtherRegion => "no_other_region",
            Never::Unchecked(..) => "no_check",
            Never::Operator => "operator",
        }
    }
}

impl Bound {
    /// [`Bound::within`], rounded up to tenths of a second.
    pub fn rounded(&self) -> Duration {
        round_up(self.within)
    }
}

impl fmt::Display for Failover {
    /// Writes a clause such as `a client leaves a dead region within 23s (the TTL decides)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failover::Within(bound) => {
                let part = match bound.decides {
                    Part::Ttl => "TTL",
                    other => other.as_str(),
                };
                let within = humantime::format_duration(bound.rounded());
                write!(
                    f,
                    "a client leaves a dead region within {within} (the {part} decides)"
                )
            }
            Failover::Never(never) => f.write_str(match never {
                Never::NoOtherRegion => "a client cannot leave a dead region, as there is no other",
                Never::Unchecked(..) => {
                    "a client never leaves a dead region, as an endpoint has no check"
                }
                Never::Operator => {
                    "a client stays in a dead region until an operator moves the unit"
                }
            }),
        }
    }
}

impl Failover {
    /// Computes the time for `service` of `config`: that of its slowest region.
    pub fn of(config: &Config, service: &Service) -> Failover {
        let has_other =
            service.pools.len() > 1 || (service.unit.is_none() && !service.fallback.is_empty());
        if !has_other {
            return Failover::Never(Never::NoOtherRegion);
        }
        let unit = service.unit.as_ref();
        if unit.is_some_and(|unit| unit.rules.takeover == Takeover::Manual) {
            return Failover::Never(Never::Operator);
        }
        let mut slowest: Option<Bound> = None;
        for pool in &service.pools {
            match pool_detection(config, pool) {
                Err(never) => return Failover::Never(never),
                Ok(detection) => {
                    let bound = bound(service, &detection);
                    if slowest.as_ref().is_none_or(|s| s.within < bound.within) {
                        slowest = Some(bound);
                    }
                }
            }
        }
        slowest.map_or(Failover::Never(Never::NoOtherRegion), Failover::Within)
    }

    /// The service's bound; `None` where it has none.
    pub fn bound(&self) -> Option<&Bound> {
        match self {
            Failover::Within(bound) => Some(bound),
            Failover::Never(_) => None,
        }
    }

    /// The sum behind the bound of `service`, or the way to give it one.
    pub fn hint(&self, config: &Config, service: &Service) -> String {
        let show = |time| humantime::format_duration(round_up(time));
        match self {
            Failover::Never(Never::Unchecked(region, target)) => format!(
                "{target} in {} has no check: give it one, or remove it",
                config.region_name(*region)
            ),
            Failover::Never(Never::NoOtherRegion) => {
                "give the service a pool in a second region, or a `fallback`".to_owned()
            }
            Failover::Never(Never::Operator) => {
                "with takeover = \"auto\", health moves a unit".to_owned()
            }
            Failover::Within(bound) => match &service.unit {
                Some(unit) => format!(
                    "the owner is down after {} at most; the fence takes `ttl` {}s + `grace` {}, and \
                     caches keep its answers for `ttl_min` {}s",
                    show(bound.detection),
                    service.ttl.secs(),
                    humantime::format_duration(unit.rules.grace),
                    service.ttl_min.secs()
                ),
                None => format!(
                    "it is the larger of {} to the first failed probe + `ttl` {}s, and {} until the \
                     region is down + `ttl_min` {}s",
                    show(bound.first_failure),
                    service.ttl.secs(),
                    show(bound.detection),
                    service.ttl_min.secs()
                ),
            },
        }
    }

    /// The object that `verify --json` and `why --json` print; its keys are a contract. Times are in
    /// seconds, rounded up to tenths.
    pub fn json(&self) -> serde_json::Value {
        let seconds = |time: Duration| round_up(time).as_millis() as f64 / 1000.0;
        match self {
            Failover::Within(bound) => serde_json::json!({
                "seconds": seconds(bound.within),
                "decides": bound.decides.as_str(),
                "first_failure": seconds(bound.first_failure),
                "detection": seconds(bound.detection),
            }),
            Failover::Never(never) => serde_json::json!({
                "seconds": null,
                "decides": never.as_str(),
                "first_failure": null,
                "detection": null,
            }),
        }
    }
}

/// Services of `config`, each with its time; the units of one service count as one.
pub fn failovers(config: &Config) -> impl Iterator<Item = (&Service, Failover)> {
    let services = config.services.iter();
    let first = services.filter(|own| own.unit.as_ref().is_none_or(|unit| unit.index == 0));
    first.map(|service| (service, Failover::of(config, service)))
}

/// A clause about the slowest service of `config`, for the log; `None` where no service has a bound.
pub fn summary(config: &Config) -> Option<String> {
    let (mut slowest, mut without) = (None, 0);
    for (_, failover) in failovers(config) {
        match failover.bound() {
            Some(bound) => slowest = slowest.max(Some(bound.rounded())),
            None => without += 1,
        }
    }
    let within = humantime::format_duration(slowest?);
    let rest = match without {
        0 => String::new(),
        1 => " (1 service has no bound)".to_owned(),
        more => format!(" ({more} services have no bound)"),
    };
    Some(format!(
        "a client leaves a dead region within {within}{rest}"
    ))
}

/// Times from a death until it shows.
#[derive(Debug, Clone, Copy)]
struct Detection {
    first: Duration,
    down: Duration,
    /// The part that makes up most of `down`.
    decides: Part,
}

fn bound(service: &Service, detection: &Detection) -> Bound {
    let seconds = |ttl: Ttl| Duration::from_secs(ttl.secs().into());
    let (ttl, ttl_min) = (seconds(service.ttl), seconds(service.ttl_min));
    let Detection {
        first,
        down,
        mut decides,
    } = *detection;
    let within = match &service.unit {
        Some(unit) => {
            let fence = ttl + unit.rules.grace;
            if fence >= down {
                decides = Part::Fence;
            }
            down + fence + ttl_min
        }
        None => {
            if first + ttl >= down + ttl_min {
                decides = Part::Ttl;
            }
            (first + ttl).max(down + ttl_min)
        }
    };
    Bound {
        first_failure: first,
        detection: down,
        within,
        decides,
    }
}

/// The pool is out once its last endpoint is down: survivors would come before a standby.
fn pool_detection(config: &Config, pool: &Pool) -> Result<Detection, Never> {
    let mut endpoints = Vec::with_capacity(pool.endpoints.len());
    for endpoint in &pool.endpoints {
        let detection = endpoint_detection(config, endpoint);
        endpoints
            .push(detection.ok_or_else(|| Never::Unchecked(pool.region, endpoint.target.clone()))?);
    }
    slowest(endpoints).ok_or(Never::NoOtherRegion)
}

/// `None` for an endpoint without checks.
fn endpoint_detection(config: &Config, endpoint: &Endpoint) -> Option<Detection> {
    let mut checks = Vec::with_capacity(endpoint.probes.len());
    for probe in &endpoint.probes {
        let target = &config.targets[probe.index()];
        checks.push(check_detection(&config.checks[target.check.index()]));
    }
    match endpoint.need {
        Need::Any => slowest(checks),
        Need::All => {
            let down = *checks.iter().min_by_key(|check| check.down)?;
            // Every check stays in doubt until it has fallen, so the first that fails shortens the
            // TTL for good.
            let first = checks.iter().map(|check| check.first).min()?;
            Some(Detection { first, ..down })
        }
    }
}

/// The last of `all` to be down decides, and its own first failure: doubt about another may be over
/// by then.
fn slowest(all: Vec<Detection>) -> Option<Detection> {
    all.into_iter()
        .max_by_key(|one| (one.down, std::cmp::Reverse(one.first)))
}

fn check_detection(check: &CheckSpec) -> Detection {
    let CheckSpec {
        interval,
        timeout,
        recheck,
        fall,
        ..
    } = *check;
    if check.kind.is_push() {
        // Silence fails once every `expires`, from the last report on.
        return Detection {
            first: interval,
            down: interval * fall,
            decides: Part::Expires,
        };
    }
    let rechecked = interval + timeout + (recheck + timeout) * (fall - 1);
    let ordinary = interval * fall + timeout;
    let parts = if rechecked < ordinary {
        [
            (interval, Part::Interval),
            (recheck * (fall - 1), Part::Recheck),
            (timeout * fall, Part::Timeout),
        ]
    } else {
        [
            (interval * fall, Part::Interval),
            (Duration::ZERO, Part::Recheck),
            (timeout, Part::Timeout),
        ]
    };
    // The first of equal ones.
    let largest = parts.into_iter().rev().max_by_key(|(time, _)| *time);
    Detection {
        first: interval + timeout,
        down: rechecked.min(ordinary),
        decides: largest.map_or(Part::Interval, |(_, part)| part),
    }
}

fn round_up(time: Duration) -> Duration {
    const TENTH: u64 = 100_000_000;
    let tenths = time.as_nanos().div_ceil(TENTH.into());
    // Configured times are days at most.
    Duration::from_nanos(TENTH).saturating_mul(u32::try_from(tenths).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
