//! The record of a unit: the document that outlives the process.

use std::collections::{BTreeMap, BTreeSet};

use super::{key, of_config};
use crate::config::Config;
use crate::dns::Ttl;

/// The recorded state of a unit. Regions are named, since their ids change with the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitRecord {
    /// A region owns it.
    Owned {
        /// The region's name.
        owner: String,
        /// The number of owners so far, with this one.
        epoch: u64,
        /// The longest TTL in force since it became the owner.
        ttl: Ttl,
    },
    /// No region owns it: it is between two owners.
    Fenced {
        /// The last owner's name; `None` before the first.
        last: Option<String>,
        /// The next owner's name.
        next: String,
        /// The epoch of the last owner; the next one's is one higher.
        epoch: u64,
        /// The longest TTL in force while the last owner was it.
        ttl: Ttl,
    },
}

/// Records by the owner names of the units, in lower case.
pub type UnitRecords = BTreeMap<String, UnitRecord>;

/// The highest epoch that a file or an operator may give: every JSON reader can tell it from its
/// neighbours.
pub const MAX_EPOCH: u64 = (1 << 53) - 1;

impl UnitRecord {
    /// The epoch of the owner, or of the last one.
    pub fn epoch(&self) -> u64 {
        match self {
            UnitRecord::Owned { epoch, .. } | UnitRecord::Fenced { epoch, .. } => *epoch,
        }
    }

    /// The owner's name; `None` while it is fenced.
    pub fn owner(&self) -> Option<&str> {
        match self {
            UnitRecord::Owned { owner, .. } => Some(owner),
            UnitRecord::Fenced { .. } => None,
        }
    }
}

/// Gives each unit without a record the owner that the files name, in epoch 1; for the first start
/// of a zone. Returns the names of those units.
pub fn begin_units(config: &Config, records: &mut UnitRecords) -> Vec<String> {
    let mut begun = Vec::new();
    for (_, service, unit) in of_config(config) {
        records.entry(key(service)).or_insert_with(|| {
            begun.push(service.name.to_string());
            UnitRecord::Owned {
                owner: config.region_name(unit.owner).to_owned(),
                // Without a fence: on the first start of a zone nobody has answered any owner
                // before.
                epoch: 1,
                ttl: service.ttl,
            }
        });
    }
    begun
}

/// The units of the files that have no record, and those of the records that the files do not have.
pub fn compare_units(config: &Config, records: &UnitRecords) -> (Vec<String>, Vec<String>) {
    let configured: BTreeSet<String> = of_config(config)
        .map(|(_, service, _)| key(service))
        .collect();
    let mut unknown = Vec::new();
    for (_, service, _) in of_config(config) {
        let name = key(service);
        if !records.contains_key(&name) {
            unknown.push(name);
        }
    }
    let mut foreign: Vec<String> = records.keys().cloned().collect();
    foreign.retain(|name| !configured.contains(name));
    (unknown, foreign)
}
