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
        Holding {
            holder: Holder::Owner(owner),
            epoch: 1,
            max_ttl: None,
        }
    }

    /// The owner, unless there is none now.
    pub fn owner(&self) -> Option<RegionId> {
        match self.holder {
            Holder::Owner(region) => Some(region),
            _ => None,
        }
    }
}

/// The pools of a unit with their places, in the order in which they take it over: by `priority`, then by the region's name.
pub fn succession(service: &Service) -> impl Iterator<Item = (usize, &Pool)> {
    let mut pools: Vec<(usize, &Pool)> = service.pools.iter().enumerate().collect();
    // Regions are in the order of their names.
    pools.sort_by_key(|(_, pool)| (pool.priority, pool.region));
    pools.into_iter()
}

/// Who takes a unit over when its owner is down: the first of those whose pool is up, but never `except`.
pub fn successor(
    service: &Service,
    is_up: &dyn Fn(&Pool) -> bool,
    except: RegionId,
) -> Option<RegionId> {
    let found = succession(service).find(|(_, pool)| pool.region != except && is_up(pool));
    found.map(|(_, pool)| pool.region)
}
