//! The ownership of a unit, as a plan has it.

use crate::dns::Ttl;
use crate::model::{Moment, Pool, RegionId, Service};

/// The state of a unit in the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// Its owner, or the reason why it has none.
    pub owner: OwnerState,
    /// The epoch of the owner, or of the last one.
    pub epoch: u64,
    /// The longest TTL that may be answered; `None` where nothing limits that of the service.
    pub max_ttl: Option<Ttl>,
}

/// The owner of a unit in the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerState {
    /// This region.
    Owner(RegionId),
    /// None, between two owners.
    Fenced {
        /// The end of the fence; `None` before its beginning is certain, and while the disk is
        /// waited for.
        until: Option<Moment>,
        /// The next owner.
        next: RegionId,
    },
    /// None: it has no record until an operator begins one.
    Unknown,
    /// None: its owner, a region of this name, has no pool any more.
    Gone(String),
}

impl UnitState {
    /// The state of a unit that the files give to `owner`, in epoch 1.
    pub fn of(owner: RegionId) -> UnitState {
        UnitState {
            owner: OwnerState::Owner(owner),
            // Epoch 0 stands for the time before any owner.
            epoch: 1,
            max_ttl: None,
        }
    }

    /// The owner, unless there is none now.
    pub fn owner(&self) -> Option<RegionId> {
        match self.owner {
            OwnerState::Owner(region) => Some(region),
            _ => None,
        }
    }
}

/// The pools of a unit with their places, in the order in which they take it over: by `priority`,
/// then by the region's name.
pub fn succession(service: &Service) -> impl Iterator<Item = (usize, &Pool)> {
    let mut pools: Vec<(usize, &Pool)> = service.pools.iter().enumerate().collect();
    // Regions are in the order of their names.
    pools.sort_by_key(|(_, pool)| (pool.priority, pool.region));
    pools.into_iter()
}

/// The region that takes a unit over when its owner is down: the first whose pool is up, but never
/// `except`.
pub fn successor(
    service: &Service,
    is_up: &dyn Fn(&Pool) -> bool,
    except: RegionId,
) -> Option<RegionId> {
    let found = succession(service).find(|(_, pool)| pool.region != except && is_up(pool));
    found.map(|(_, pool)| pool.region)
}
