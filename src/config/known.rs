//! The names that a configuration gives, to complete what an operator begins to type.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Config;
use crate::model::{Service, Target, place_names};

/// A kind of name that commands take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// A region.
    Region,
    /// Regions together: a region, a metro, or a label as `KEY:VALUE`.
    Place,
    /// A place or an endpoint.
    Part,
    /// Everything that an override may apply to: a part, a service, `SERVICE/REGION` or
    /// `SERVICE/ENDPOINT`.
    Scope,
    /// A service; one with units once, and its units as well after their first letter.
    Service,
    /// A unit of a service.
    Unit,
    /// A check.
    Check,
    /// An endpoint: an address, or a target name with its final dot.
    Endpoint,
}

impl NameKind {
    /// Its word in requests to a server.
    pub fn word(self) -> &'static str {
        match self {
            NameKind::Region => "region",
            NameKind::Place => "place",
            NameKind::Part => "part",
            NameKind::Scope => "scope",
            NameKind::Service => "service",
            NameKind::Unit => "unit",
            NameKind::Check => "check",
            NameKind::Endpoint => "endpoint",
        }
    }
}

/// The names of this kind that begin with `beginning`, regions before services before endpoints.
/// Names of services stand without their final dot. Endpoints, pools and single units are many, so
/// none is listed before something of it is typed.
pub fn names_beginning(config: &Config, kind: NameKind, beginning: &str) -> Vec<String> {
    let mut names = match kind {
        NameKind::Region => regions(config),
        NameKind::Place => place_names(&config.regions),
        NameKind::Part => {
            let mut names = place_names(&config.regions);
            names.extend(endpoints_begun(config, beginning));
            names
        }
        NameKind::Scope => scopes(config, beginning),
        NameKind::Service => services(config, beginning),
        NameKind::Unit => units(config).into_iter().collect(),
        NameKind::Check => config.checks.iter().map(|c| c.name.clone()).collect(),
        NameKind::Endpoint => endpoints(&config.services).into_iter().collect(),
    };
    names.retain(|name| name.starts_with(beginning));
    names
}

fn regions(config: &Config) -> Vec<String> {
    config.regions.iter().map(|r| r.name.clone()).collect()
}

fn scopes(config: &Config, beginning: &str) -> Vec<String> {
    if let Some((service, _)) = beginning.split_once('/') {
        return parts_of(config, service);
    }
    let mut names = place_names(&config.regions);
    names.extend(services(config, beginning));
    names.extend(endpoints_begun(config, beginning));
    names
}

/// The pools and endpoints of the service that goes by `name`, each as `SERVICE/PART`.
fn parts_of(config: &Config, name: &str) -> Vec<String> {
    let mut parts = BTreeSet::new();
    for service in config.services.iter().filter(|own| own.goes_by(name)) {
        for pool in &service.pools {
            parts.insert(config.region_name(pool.region).to_owned());
        }
        parts.extend(endpoints([service]));
    }
    parts.iter().map(|part| format!("{name}/{part}")).collect()
}

fn services(config: &Config, beginning: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    for service in &config.services {
        let name = match &service.unit {
            Some(unit) => &unit.rules.service,
            None => &service.name,
        };
        names.insert(name.to_string().trim_end_matches('.').to_owned());
    }
    if !beginning.is_empty() {
        names.extend(units(config));
    }
    names.into_iter().collect()
}

fn units(config: &Config) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for service in config.services.iter().filter(|own| own.unit.is_some()) {
        names.insert(service.name.to_string().trim_end_matches('.').to_owned());
    }
    names
}

fn endpoints_begun(config: &Config, beginning: &str) -> BTreeSet<String> {
    if beginning.is_empty() {
        return BTreeSet::new();
    }
    endpoints(&config.services)
}

fn endpoints<'s>(services: impl IntoIterator<Item = &'s Service>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for pool in services.into_iter().flat_map(|service| &service.pools) {
        for endpoint in &pool.endpoints {
            names.insert(match &endpoint.target {
                Target::Address(address) => address.to_string(),
                Target::Name(name) => name.to_string(),
            });
        }
    }
    names
}
