//! Who owns a unit.

use crate::dns::Ttl;
use crate::model::{Moment, Pool, RegionId, Service};

/// Who answers for a unit now, and in which epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who does.
    pub holder: Holder,
    /// The epoch of the owner, or of the last one.
    pub epoch: u64,
    /// The longest TTL that may be answered; `None` where nothing limits that of the service.
    pub max_ttl: Option<Ttl>,
}

/// Who answers for a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Its owner.
    Owner(RegionId),
    /// Nobody, between two owners.
    Fenced {
        /// When the fence ends; `None` before its beginning is certain, and while the disk is waited for.
        until: Option<Moment>,
        /// Who is to be the owner.
        next: RegionId,
    },
    /// Nobody: nothing is known about it until an operator says so.
    Unknown,
    /// Nobody: its owner, a region of this name, has no pool any more.
    Gone(String),
}

impl Holding {
    /// `owner` owns it from the beginning, as the files have it.
    pub fn of(owner: RegionId) -> Holding {
        Holding { holder: Holder::Owner(owner), epoch: 1, max_ttl: None }
    }

    /// The owner, unless there is none now.
    pub fn owner(&self) -> Option<RegionId> {
        match self.holder {
            Holder::Owner(region) => Some(region),
            _ => None,
        }
    }
}

/// Who takes a unit over when its owner is down: of the regions whose pool is up, the one with the lowest `priority`, then the
/// first by name. `except` is never it; `None` where nobody can be.
pub fn successor(service: &Service, is_up: &dyn Fn(&Pool) -> bool, except: RegionId) -> Option<RegionId> {
    let candidates = service.pools.iter().filter(|pool| pool.region != except && is_up(pool));
    // Regions are in the order of their names.
    candidates.min_by_key(|pool| (pool.priority, pool.region)).map(|pool| pool.region)
}
