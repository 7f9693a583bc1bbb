//! The scopes of overrides, and the names by which operators mean them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Override;
use crate::config::Config;
use crate::diag::suggestion;
use crate::model::{Endpoint, Pool, Region, RegionId, Service, regions_named};

/// The part of the configuration that an override covers; narrower scopes come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An address or target name, of one service or wherever it is.
    Endpoint {
        /// The owner name of a service; `None` is every one.
        service: Option<String>,
        /// The address, or the target with its final dot.
        target: String,
    },
    /// A service's endpoints in one region.
    Pool {
        /// The service's owner name.
        service: String,
        /// The region's name.
        region: String,
    },
    /// Everything of one service.
    Service(String),
    /// A region.
    Region(String),
    /// The regions of a metro.
    Metro(String),
    /// The regions with a label: key and value.
    Label(String, String),
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoScope {
    /// Nothing has that name.
    Unknown {
        /// The text.
        text: String,
        /// The end of the sentence: a region whose name is close, or nothing.
        suggestion: String,
    },
    /// The service has no such part.
    NotOfService {
        /// Owner name of the service.
        service: String,
        /// The part's text.
        part: String,
    },
}

/// The overrides that an operator means: one by its number, or all of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The operator's text. It also means overrides whose scope is displayed so: names in a scope
    /// may be gone from the configuration.
    text: String,
    number: Option<u64>,
    scope: Option<Scope>,
}

impl Selector {
    /// Resolves `text`: a number, with `#` or without, or the text of a scope ([`Scope::find`]).
    pub fn find(config: &Config, text: &str) -> Selector {
        Selector {
            text: text.to_owned(),
            number: text.trim_start_matches('#').parse().ok(),
            // A text that names nothing here is no error yet: it may be the scope of an override
            // whose names have left the files.
            scope: Scope::find(config, text).ok(),
        }
    }

    /// True for an override that is meant.
    pub fn selects(&self, own: &Override) -> bool {
        self.number == Some(own.id)
            || self.scope.as_ref() == Some(&own.scope)
            || own.scope.to_string() == self.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Scope {
    /// Its kind, as a metric's label.
    pub fn as_label(&self) -> &'static str {
        match self {
            Scope::Endpoint { .. } => "endpoint",
            Scope::Pool { .. } => "pool",
            Scope::Service(_) => "service",
            Scope::Region(_) => "region",
            Scope::Metro(_) => "metro",
            Scope::Label(..) => "label",
        }
    }

    /// The text by which an operator means it, without its kind: `KEY:VALUE` of a label,
    /// `SERVICE/REGION` of a pool, `SERVICE/ENDPOINT` of an endpoint of one service.
    pub fn name(&self) -> String {
        match self {
            Scope::Endpoint {
                service: None,
                target,
            } => target.clone(),
            Scope::Endpoint {
                service: Some(service),
                target: part,
            }
            | Scope::Pool {
                service,
                region: part,
            } => format!("{service}/{part}"),
            Scope::Service(name) | Scope::Region(name) | Scope::Metro(name) => name.clone(),
            Scope::Label(key, value) => format!("{key}:{value}"),
        }
    }

    /// Resolves an operator's `text`: a region, a metro, a label as `KEY:VALUE`, a service by its
    /// owner name, a pool as `SERVICE/REGION`, an endpoint by its address or target, or
    /// `SERVICE/ENDPOINT`. `metro:NAME` is a metro even where a region has its name.
    ///
    /// # Errors
    /// [`NoScope`] where nothing has that name.
    pub fn find(config: &Config, text: &str) -> Result<Scope, NoScope> {
        // Regions come first: an operator in a hurry drains places. Their names have no dot, and
        // service names do.
        if let Some(scope) = Scope::of_regions(config, text) {
            return Ok(scope);
        }
        if let Some(service) = service_name(config, text) {
            return Ok(Scope::Service(service));
        }
        if let Some(target) = target_of(config, None, text) {
            return Ok(Scope::Endpoint {
                service: None,
                target,
            });
        }
        if let Some((name, part)) = text.split_once('/')
            && let Some(service) = service_name(config, name)
        {
            return Scope::inside(config, service, name, part);
        }
        let names = config.regions.iter().map(|region| region.name.as_str());
        Err(NoScope::Unknown {
            text: text.to_owned(),
            suggestion: suggestion(text, names),
        })
    }

    /// The regions, metro or label of that name.
    fn of_regions(config: &Config, text: &str) -> Option<Scope> {
        let regions = config.regions.iter().enumerate();
        let regions = regions.map(|(index, region)| (RegionId::from_index(index), region));
        if regions_named(regions, text).is_empty() {
            return None;
        }
        if config.regions.iter().any(|region| region.name == text) {
            return Some(Scope::Region(text.to_owned()));
        }
        Some(match text.split_once(':') {
            Some(("metro", metro)) => Scope::Metro(metro.to_owned()),
            Some((key, value)) => Scope::Label(key.to_owned(), value.to_owned()),
            None => Scope::Metro(text.to_owned()),
        })
    }

    /// The pool or endpoint `part` of `service`, which goes by `name` too.
    fn inside(config: &Config, service: String, name: &str, part: &str) -> Result<Scope, NoScope> {
        let mut pools = services_named(config, name).flat_map(|own| &own.pools);
        if pools.any(|pool| config.region_name(pool.region) == part) {
            return Ok(Scope::Pool {
                service,
                region: part.to_owned(),
            });
        }
        match target_of(config, Some(name), part) {
            Some(target) => Ok(Scope::Endpoint {
                service: Some(service),
                target,
            }),
            None => Err(NoScope::NotOfService {
                service,
                part: part.to_owned(),
            }),
        }
    }

    /// The longest TTL of the services of which it covers something: the time for which caches may
    /// keep an answer of theirs.
    pub fn longest_ttl(&self, config: &Config) -> Duration {
        let mut longest = 0;
        for service in &config.services {
            if self.touches(&config.regions, service) {
                longest = longest.max(service.ttl.secs());
            }
        }
        Duration::from_secs(longest.into())
    }

    /// True when it covers something of `service`.
    pub fn touches(&self, regions: &[Region], service: &Service) -> bool {
        let mut pools = service.pools.iter();
        pools.any(|pool| self.touches_pool(regions, service, pool))
    }

    /// True when it covers the pool or an endpoint of it.
    pub(super) fn touches_pool(&self, regions: &[Region], service: &Service, pool: &Pool) -> bool {
        let mut endpoints = pool.endpoints.iter();
        self.has_pool(regions, service, pool)
            || endpoints.any(|endpoint| self.has_endpoint(service, endpoint))
    }

    /// True when it covers the whole pool.
    pub(super) fn has_pool(&self, regions: &[Region], service: &Service, pool: &Pool) -> bool {
        let region = &regions[pool.region.index()];
        match self {
            // Even where the pool has no other: a drained endpoint is a standby inside its pool,
            // and the pool stays in use.
            Scope::Endpoint { .. } => false,
            Scope::Pool {
                service: name,
                region: of,
            } => *of == region.name && service.goes_by(name),
            Scope::Service(name) => service.goes_by(name),
            Scope::Region(name) => *name == region.name,
            Scope::Metro(name) => region.metro.as_ref() == Some(name),
            Scope::Label(key, value) => region.labels.get(key) == Some(value),
        }
    }

    /// True when it is that endpoint.
    pub(super) fn has_endpoint(&self, service: &Service, endpoint: &Endpoint) -> bool {
        match self {
            Scope::Endpoint {
                service: name,
                target,
            } => {
                name.as_ref().is_none_or(|name| service.goes_by(name))
                    && endpoint.target.is_written(target)
            }
            _ => false,
        }
    }

    /// The rank of its kind: of two overrides on one axis the one with the higher rank counts.
    pub(super) fn narrowness(&self) -> u8 {
        match self {
            Scope::Endpoint {
                service: Some(_), ..
            } => 6,
            Scope::Endpoint { service: None, .. } => 5,
            Scope::Pool { .. } => 4,
            Scope::Service(_) => 3,
            Scope::Region(_) => 2,
            Scope::Metro(_) => 1,
            Scope::Label(..) => 0,
        }
    }
}

/// The services that go by `name`: one, or all the units of one.
fn services_named<'c>(config: &'c Config, name: &str) -> impl Iterator<Item = &'c Service> {
    config
        .services
        .iter()
        .filter(move |service| service.goes_by(name))
}

/// The owner name by which `name` is written out: of a service, or of the service with units.
fn service_name(config: &Config, name: &str) -> Option<String> {
    let service = services_named(config, name).next()?;
    if service.name.is_written(name) {
        return Some(service.name.to_string());
    }
    service
        .unit
        .as_ref()
        .map(|unit| unit.rules.service.to_string())
}

/// The written form of the endpoint that goes by `text`, of the services that go by `service` or of all.
fn target_of(config: &Config, service: Option<&str>, text: &str) -> Option<String> {
    for own in &config.services {
        if service.is_some_and(|name| !own.goes_by(name)) {
            continue;
        }
        let mut endpoints = own.pools.iter().flat_map(|pool| &pool.endpoints);
        if let Some(endpoint) = endpoints.find(|endpoint| endpoint.target.is_written(text)) {
            return Some(endpoint.target.to_string());
        }
    }
    None
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Endpoint {
                service: None,
                target,
            } => write!(f, "endpoint {target}"),
            Scope::Endpoint {
                service: Some(service),
                target,
            } => write!(f, "endpoint {target} of {service}"),
            Scope::Pool { service, region } => write!(f, "pool {service}/{region}"),
            Scope::Service(service) => write!(f, "service {service}"),
            Scope::Region(region) => write!(f, "region {region}"),
            Scope::Metro(metro) => write!(f, "metro {metro}"),
            Scope::Label(key, value) => write!(f, "label {key}:{value}"),
        }
    }
}

impl fmt::Display for NoScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoScope::Unknown { text, suggestion } => write!(
                f,
                "there is no region, metro, label, service or endpoint {text}{suggestion}"
            ),
            NoScope::NotOfService { service, part } => {
                write!(f, "service {service} has no pool and no endpoint {part}")
            }
        }
    }
}

impl std::error::Error for NoScope {}
