//! Prefetching: fetches from memory, for a group of queries at once, what their answers are made of.
//!
//! An answer takes a few dozen nanoseconds of work, and as much again for each place in memory that
//! the processor does not have at hand: the name's line in the index, its record, the plan of its
//! service, two or three lines of the map, the pool, the RRs. Each place follows from the one before,
//! so one query has to wait for each of them; but the queries of a group can wait together. They go
//! through these places step by step, side by side: a step reads what the last one had fetched, and
//! has the next fetched.
//!
//! Nothing is decided here but what [`super::respond`] would find itself: the name, and the client's
//! place on the map.

use arrayvec::ArrayVec;

use super::{Exchange, Query};
use crate::dataset::{Dataset, Snapshot};
use crate::dns::{Class, Prefix, Request, Unanswerable};
use crate::geo::{FETCH_STEPS, GeoMap, Located};
use crate::model::{Family, RegionId, ServiceId, ZoneId};
use crate::prefetch;
use crate::steer::Plan;
use crate::zone::{Key, Lookup, NameTable};

/// Queries whose memory is fetched together: as many as a busy socket has waiting, and few enough
/// that nothing fetched is displaced before it is used.
pub(super) const GROUP: usize = 16;

/// The facts about a query that are known before it is answered.
pub(super) struct Prefetched<'q> {
    /// The message as far as it could be read.
    pub(super) request: Request<'q>,
    /// The reason why it gets no full answer.
    pub(super) unanswerable: Option<Unanswerable>,
    /// The zone of its question, and what the zone has for it; `None` where the question is none of
    /// class IN, or lies outside of every zone.
    pub(super) found: Option<(ZoneId, Lookup)>,
    /// The client's place on the map, for a service that goes by that.
    pub(super) located: Option<Located>,
}

impl<'q> Prefetched<'q> {
    const EMPTY: Prefetched<'static> = Prefetched {
        request: Request::EMPTY,
        unanswerable: None,
        found: None,
        located: None,
    };

    /// Reads one query alone, and looks its name up.
    #[inline]
    pub(super) fn of(names: &NameTable, query: &Query<'q>) -> Prefetched<'q> {
        let mut prefetched = Prefetched::EMPTY;
        if let Some(question) = prefetched.read(query) {
            prefetched.found = names.lookup(question.qname(), question.qtype);
        }
        prefetched
    }

    /// Reads the message; returns it where it is for the names to answer.
    #[inline]
    fn read(&mut self, query: &Query<'q>) -> Option<&Request<'q>> {
        self.unanswerable = self.request.read(query.bytes).err();
        let complete = self.unanswerable.is_none() && self.request.error.is_none();
        (complete && self.request.qclass == Class::IN).then_some(&self.request)
    }
}

/// A query of a group that the names are to answer.
struct Asked {
    /// Its place in the group.
    index: usize,
    key: Key,
}

/// A query of a group that a service is to answer.
struct Steered<'s> {
    /// Its place in the group.
    index: usize,
    service: ServiceId,
    client: Prefix,
    /// The map that says where the client goes.
    map: Option<&'s GeoMap>,
    /// The first region of the client's order.
    region: Option<RegionId>,
}

/// Reads the query of every one of `exchanges`, [`GROUP`] at most, and has the memory fetched that
/// their answers need. `worker` is the number of the worker that answers.
pub(super) fn prefetch<'q>(
    snapshot: &Snapshot,
    worker: usize,
    exchanges: &[Exchange<'q>],
) -> ArrayVec<Prefetched<'q>, GROUP> {
    let Dataset {
        names,
        maps,
        nearest,
        ..
    } = &*snapshot.dataset;
    let mut group: ArrayVec<Prefetched<'q>, GROUP> = ArrayVec::new();
    let mut asked: ArrayVec<Asked, GROUP> = ArrayVec::new();
    for (index, exchange) in exchanges.iter().enumerate() {
        // Pushed empty and read in place: a `Prefetched` is large enough for its copying to show.
        group.push(Prefetched::EMPTY);
        if let Some(question) = group[index].read(&exchange.query) {
            let key = names.key(question.qname());
            names.fetch_index(key);
            asked.push(Asked { index, key });
        }
    }
    for asked in &mut asked {
        names.fetch_record(&mut asked.key);
    }
    let mut steered: ArrayVec<Steered<'_>, GROUP> = ArrayVec::new();
    for Asked { index, key } in asked {
        let prefetched = &mut group[index];
        let request = &prefetched.request;
        prefetched.found = names.lookup_key(key, request.qname(), request.qtype);
        if let Some((_, Lookup::Service(service))) = prefetched.found {
            prefetch::fetch(&snapshot.plans, service.index());
            let client = exchanges[index].query.client(request);
            // The map's place stands in the dataset too, since the plan, which has it, is only on
            // its way from memory now.
            let map = nearest[service.index()].map(|map| &*maps[map.index()]);
            if let Some(map) = map {
                map.fetch(client, 0);
            }
            steered.push(Steered {
                index,
                service,
                client,
                map,
                region: None,
            });
        }
    }
    prefetch_services(snapshot, worker, &mut group, &mut steered);
    group
}

/// Does the same for the answers of services: the map's tree level by level, the plan, the pool,
/// and the RRs with their counter.
fn prefetch_services(
    snapshot: &Snapshot,
    worker: usize,
    group: &mut [Prefetched<'_>],
    steered: &mut [Steered<'_>],
) {
    // Each loop goes through the whole group before the next begins, so that the lines that one has
    // asked for are on their way while it asks for the others'.
    for step in 1..FETCH_STEPS {
        for query in &*steered {
            if step == 1 {
                prefetch::fetch_line(plan(snapshot, query.service));
            }
            if let Some(map) = query.map {
                map.fetch(query.client, step);
            }
        }
    }
    for query in &mut *steered {
        if let Some(map) = query.map {
            let located = map.lookup(query.client);
            group[query.index].located = Some(located);
            let first = map.order(located.order).steps.first();
            query.region = first.and_then(|step| step.first().copied());
        }
        plan(snapshot, query.service).fetch_pool(query.region);
    }
    let counters = snapshot.pool_counters.get(worker);
    for query in steered {
        let family = Family::of(group[query.index].request.qtype).unwrap_or(Family::V4);
        plan(snapshot, query.service).fetch_answer(query.region, family, counters);
    }
}

/// The plan of `service`.
#[inline]
fn plan(snapshot: &Snapshot, service: ServiceId) -> &Plan {
    &snapshot.plans[service.index()]
}
