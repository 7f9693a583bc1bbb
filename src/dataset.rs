//! The data that answers are made of: a [`Dataset`] compiled from the files, and the [`Snapshot`] of
//! it that is published.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::acme::ChallengeTable;
use crate::config::{Config, ZoneSpec};
use crate::dns::{Name, Rcode, RrType};
use crate::failover;
use crate::geo::{GeoMap, Locations};
use crate::metrics::PoolCounters;
use crate::model::{MapId, MapSpec, RegionId, Route, ServiceId, Unit, ZoneId};
use crate::steer::{Plan, Rung};
use crate::zone::{Lookup, NameTable, ZoneInput};

/// Everything compiled from the files; immutable.
#[derive(Debug)]
pub struct Dataset {
    /// The configuration from the files; its zones' records are in `names` and no longer here.
    pub config: Arc<Config>,
    /// Every owner name.
    pub names: Arc<NameTable>,
    /// By [`MapId`].
    pub maps: Vec<Arc<GeoMap>>,
    /// By [`ServiceId`]: the map whose order decides, where the route is `nearest` or `sticky`. It is in the plan too, which is further away.
    pub nearest: Vec<Option<MapId>>,
    /// A clause about the slowest service's failover, for the log; `None` where none has a bound.
    pub failover: Option<Arc<str>>,
    /// The files are broken, and this is made of the last good ones.
    pub last_good: bool,
    /// The locations of addresses, from which the maps were compiled.
    pub locations: Arc<Locations>,
}

impl Dataset {
    /// Compiles what the files say.
    pub fn compile(config: Config, locations: Arc<Locations>) -> Dataset {
        Dataset::compile_after(None, config, locations)
    }

    /// The same; a map that is in `before` already, made of the same, is shared with it.
    pub fn compile_after(
        before: Option<&Dataset>,
        mut config: Config,
        locations: Arc<Locations>,
    ) -> Dataset {
        // Of a service with several units each is one, and the service's own name is none.
        let services = |zone: &ZoneSpec| zone.services.clone().map(ServiceId::from_index);
        let epoch = |id: ServiceId| {
            let service = &config.services[id.index()];
            let name = service.unit.as_ref().map(|_| {
                Unit::epoch_name(&service.name).expect("the configuration made sure that it fits")
            });
            name.map(|name| (name, id))
        };
        let epochs: Vec<Vec<_>> = config
            .zones
            .iter()
            .map(|zone| services(zone).filter_map(epoch).collect())
            .collect();
        let zones = config
            .zones
            .iter()
            .zip(&epochs)
            .map(|(zone, epochs)| ZoneInput {
                origin: &zone.origin,
                records: &zone.records,
                services: services(zone)
                    .map(|id| (&config.services[id.index()].name, id))
                    .collect(),
                epochs,
            });
        let zones: Vec<ZoneInput<'_>> = zones.collect();
        let names = Arc::new(NameTable::build(&zones));
        for zone in &mut config.zones {
            zone.records = Default::default();
        }
        let before = before.filter(|b| {
            Arc::ptr_eq(&b.locations, &locations) && b.config.regions == config.regions
        });
        let known = |spec: &MapSpec| {
            let before = before?;
            let at = before.config.maps.iter().position(|known| known == spec)?;
            Some(before.maps[at].clone())
        };
        let compile = |spec| Arc::new(GeoMap::compile(spec, &config.regions, &locations));
        let maps = config
            .maps
            .iter()
            .map(|spec| known(spec).unwrap_or_else(|| compile(spec)))
            .collect();
        let config = Arc::new(config);
        let failover = failover::summary(&config).map(Arc::from);
        let by_order = |route| matches!(route, Route::Nearest | Route::Sticky);
        let nearest = config
            .services
            .iter()
            .map(|service| service.map.filter(|_| by_order(service.route)))
            .collect();
        Dataset {
            config,
            names,
            maps,
            nearest,
            failover,
            last_good: false,
            locations,
        }
    }

    /// The same files with other locations: only the maps are compiled anew.
    pub fn with_locations(&self, locations: Arc<Locations>) -> Dataset {
        let Dataset {
            config,
            names,
            nearest,
            failover,
            ..
        } = self;
        let maps = config
            .maps
            .iter()
            .map(|spec| Arc::new(GeoMap::compile(spec, &config.regions, &locations)))
            .collect();
        Dataset {
            config: config.clone(),
            names: names.clone(),
            maps,
            nearest: nearest.clone(),
            failover: failover.clone(),
            last_good: self.last_good,
            locations,
        }
    }

    /// The map that `plan`, that of one of its services, looks clients up in.
    #[inline]
    pub fn map_of(&self, plan: &Plan) -> Option<&GeoMap> {
        plan.map.map(|map| &*self.maps[map.index()])
    }

    /// The unit of which `name` says who owns it.
    pub fn unit_of_epoch(&self, name: &Name) -> Option<ServiceId> {
        match self
            .names
            .lookup(name.to_lowercase().as_wire(), RrType::TXT)?
        {
            (_, Lookup::Epoch(unit)) => Some(unit),
            _ => None,
        }
    }

    /// The service that answers `name`, by its own name or a wildcard.
    pub fn service_at(&self, name: &Name) -> Option<ServiceId> {
        match self
            .names
            .lookup(name.to_lowercase().as_wire(), RrType::A)?
        {
            (_, Lookup::Service(service)) => Some(service),
            _ => None,
        }
    }

    /// True when `client` may ask `why`.
    pub fn may_ask_why(&self, client: std::net::IpAddr) -> bool {
        self.config
            .server
            .why_from
            .iter()
            .any(|prefix| prefix.contains(client.to_canonical()))
    }
}

/// A publication, which is immutable: a dataset, and the answers that each of its services gives
/// now.
#[derive(Debug)]
pub struct Snapshot {
    /// The files' part.
    pub dataset: Arc<Dataset>,
    /// By [`ServiceId`].
    pub plans: Vec<Arc<Plan>>,
    /// By worker: where it counts the answers of each pool, by the numbers in the plans.
    pub pool_counters: Arc<[PoolCounters]>,
    /// By [`ZoneId`]: the first of the numbers by which the answers from the zone are counted there;
    /// see [`ZONE_RCODES`]. Empty where none are.
    pub zone_counters: Arc<[u32]>,
    /// The ACME challenges in force; `None` without any, so that a query asks no further.
    pub challenges: Option<Arc<ChallengeTable>>,
}

impl Snapshot {
    /// A snapshot that counts nothing, without challenges.
    pub fn of(dataset: Arc<Dataset>, plans: Vec<Arc<Plan>>) -> Snapshot {
        Snapshot {
            dataset,
            plans,
            pool_counters: Arc::default(),
            zone_counters: Arc::default(),
            challenges: None,
        }
    }

    /// Answers of `service` so far, by region and last those with its `fallback` addresses, summed over all workers.
    pub fn answers_of(&self, service: ServiceId) -> impl Iterator<Item = (Option<RegionId>, u64)> {
        let plan = &self.plans[service.index()];
        let pools = plan.pools.iter().map(move |pool| {
            let by_rung = Rung::ALL.map(|rung| self.sum(plan.counter(pool, rung)));
            let all = by_rung.into_iter().fold(0, u64::wrapping_add);
            (Some(pool.region), all)
        });
        pools.chain([(None, self.sum(plan.fallback_counter))])
    }

    /// The same by region and rung, of those that there were any of.
    pub fn answers_by_rung(
        &self,
        service: ServiceId,
    ) -> impl Iterator<Item = (Option<RegionId>, Rung, u64)> {
        let plan = &self.plans[service.index()];
        let pools = plan.pools.iter().flat_map(move |pool| {
            let count = move |rung| (Some(pool.region), rung, self.sum(plan.counter(pool, rung)));
            Rung::ALL.map(count)
        });
        let fallback = (None, Rung::Fallback, self.sum(plan.fallback_counter));
        let all = pools.chain([fallback]);
        all.filter(|(_, _, count)| *count > 0)
    }

    /// Answers from `zone` so far by response code, of those that there were any of, summed over all
    /// workers.
    pub fn answers_from(&self, zone: ZoneId) -> impl Iterator<Item = (Rcode, u64)> {
        let first = self.zone_counters.get(zone.index()).copied();
        let codes = first.map(|first| (first..).zip(ZONE_RCODES));
        let counts = codes.into_iter().flatten();
        counts
            .map(|(counter, rcode)| (rcode, self.sum(counter)))
            .filter(|(_, count)| *count > 0)
    }

    /// Counts an answer of worker `worker` from `zone`; only for that worker.
    #[inline]
    pub fn count_from(&self, zone: ZoneId, rcode: Rcode, worker: usize) {
        if let Some(counters) = self.pool_counters.get(worker)
            && let Some(first) = self.zone_counters.get(zone.index())
        {
            // Nothing but these is answered from a zone.
            let place = match rcode {
                Rcode::NOERROR => 0,
                Rcode::NXDOMAIN => 1,
                Rcode::YXDOMAIN => 2,
                _ => 3,
            };
            counters.count(first + place);
        }
    }

    /// The sum of a counter over all workers.
    fn sum(&self, counter: u32) -> u64 {
        let counts = self.pool_counters.iter().map(|own| own.get(counter));
        counts.fold(0, u64::wrapping_add)
    }
}

/// The response codes by which the answers from a zone are counted: REFUSED is that of zone
/// transfers.
pub const ZONE_RCODES: [Rcode; 4] = [
    Rcode::NOERROR,
    Rcode::NXDOMAIN,
    Rcode::YXDOMAIN,
    Rcode::REFUSED,
];

/// The snapshot in force. The publisher alone stores; readers never wait.
pub type Published = ArcSwap<Snapshot>;
