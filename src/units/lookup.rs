//! Lookup of the units and regions that operators name: the state machine goes by ids.
//!
//! Ids hold for one configuration. So the lookup is done where the event is made, with the
//! configuration that will handle it, and nowhere earlier.

use std::fmt;

use super::{key, of_config};
use crate::config::Config;
use crate::model::{RegionId, ServiceId};

/// A name that an operator gave and the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// There is no unit of this name.
    Unit(String),
    /// The name is that of a service with several units.
    SeveralUnits {
        /// The service.
        service: String,
        /// The number of its units.
        count: u32,
        /// The first of them.
        first: String,
    },
    /// There is neither a unit of this name nor a service that has units.
    UnitOrService(String),
    /// There is no region of this name.
    Region(String),
}

/// Finds the unit of an owner name, in any case, with or without its last dot.
pub fn find_unit(config: &Config, name: &str) -> Result<ServiceId, NotFound> {
    let wanted = normalized(name);
    let mut of_service = None;
    for (id, service, unit) in of_config(config) {
        if key(service) == wanted {
            // The unit's own name wins: with `units = 1` it is that of the service, too.
            return Ok(id);
        }
        if of_service.is_none() && unit.rules.service.to_lowercase().to_string() == wanted {
            of_service = Some((service, unit));
        }
    }
    Err(match of_service {
        Some((first, unit)) => NotFound::SeveralUnits {
            service: unit.rules.service.to_string(),
            count: unit.rules.count,
            first: first.name.to_string(),
        },
        None => NotFound::Unit(wanted),
    })
}

/// Finds a unit by its owner name, or all units of a service by the service's. Returns one at least.
pub fn find_units(config: &Config, name: &str) -> Result<Vec<ServiceId>, NotFound> {
    let wanted = normalized(name);
    let mut found = Vec::new();
    for (id, service, unit) in of_config(config) {
        if key(service) == wanted || unit.rules.service.to_lowercase().to_string() == wanted {
            found.push(id);
        }
    }
    if found.is_empty() {
        return Err(NotFound::UnitOrService(wanted));
    }
    Ok(found)
}

/// Finds the region of a name.
pub fn find_region(config: &Config, name: &str) -> Result<RegionId, NotFound> {
    let found = config.regions.iter().position(|own| own.name == name);
    found
        .map(RegionId::from_index)
        .ok_or_else(|| NotFound::Region(name.to_owned()))
}

fn normalized(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::Unit(name) => write!(f, "there is no unit {name}"),
            NotFound::SeveralUnits {
                service,
                count,
                first,
            } => write!(
                f,
                "the service {service} has {count} units: name one of them, as {first}"
            ),
            NotFound::UnitOrService(name) => write!(
                f,
                "there is no unit {name}, and no service of that name with route = \"unit\""
            ),
            NotFound::Region(name) => write!(f, "there is no region {name}"),
        }
    }
}

impl std::error::Error for NotFound {}
