//! Looks ahead: fetches from memory, for a group of queries at once, what their answers are made of.
//!
//! An answer takes a few dozen nanoseconds of work, and as much again for each place in memory that the
//! processor does not have at hand: the name's line in the index, its record, the plan of its service,
//! two or three lines of the map, the pool, the RRs. Each place follows from the one before, so one query
//! has to wait for each of them; but the queries of a group can wait together. They go through these places
//! step by step, side by side: a step reads what the last one had fetched, and has the next fetched.
//!
//! Nothing is decided here but what [`super::respond`] would find itself: the name, and the client's place on the map.

use arrayvec::ArrayVec;

use super::{Exchange, Query, internet};
use crate::dataset::{Dataset, Snapshot};
use crate::dns::{Class, Prefix, Request, Unanswerable};
use crate::geo::{FETCH_STEPS, GeoMap, Located};
use crate::memory;
use crate::model::{Family, RegionId, ServiceId, ZoneId};
use crate::zone::{Key, Lookup, NameTable};

/// Queries that look ahead together: what a busy socket has waiting, and few enough that nothing
/// fetched is displaced before it is used.
pub(super) const GROUP: usize = 16;

/// What is known about a query before it is answered.
pub(super) struct Ahead<'q> {
    /// The message as far as it could be read.
    pub(super) request: Request<'q>,
    /// Why it gets no full answer.
    pub(super) unanswerable: Option<Unanswerable>,
    /// What the names have for its question; `None` where that is none of class IN, or outside of every zone.
    pub(super) found: Option<(ZoneId, Lookup)>,
    /// Where its client is, for a service that goes by that.
    pub(super) located: Option<Located>,
}

impl<'q> Ahead<'q> {
    const EMPTY: Ahead<'static> = Ahead {
        request: Request::EMPTY,
        unanswerable: None,
        found: None,
        located: None,
    };

    /// What is known about one query alone.
    #[inline]
    pub(super) fn of(names: &NameTable, query: &Query<'q>) -> Ahead<'q> {
        let mut ahead = Ahead::EMPTY;
        if let Some(question) = ahead.read(query) {
            ahead.found = names.lookup(question.qname(), question.qtype);
        }
        ahead
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
    /// Which of the group.
    index: usize,
    key: Key,
}

/// A query of a group that a service is to answer.
struct Steered<'s> {
    /// Which of the group.
    index: usize,
    service: ServiceId,
    client: Prefix,
    /// The map that says where the client goes.
    map: Option<&'s GeoMap>,
    /// The first region of the client's order.
    region: Option<RegionId>,
}

/// Reads the query of every one of `exchanges`, [`GROUP`] at most, and has the memory fetched that their answers need.
/// `worker` is the number of the worker that answers.
pub(super) fn look_ahead<'q>(
    snapshot: &Snapshot,
    worker: usize,
    exchanges: &[Exchange<'q>],
) -> ArrayVec<Ahead<'q>, GROUP> {
    let Dataset {
        names,
        maps,
        nearest,
        ..
    } = &*snapshot.dataset;
    let mut group: ArrayVec<Ahead<'q>, GROUP> = ArrayVec::new();
    let mut asked: ArrayVec<Asked, GROUP> = ArrayVec::new();
    for (index, exchange) in exchanges.iter().enumerate() {
        group.push(Ahead::EMPTY);
        if let Some(question) = group[index].read(&exchange.query) {
            let key = names.key(question.qname());
            names.fetch_index(key);
            asked.push(Asked { index, key });
        }
    }
    asked
        .iter_mut()
        .for_each(|asked| names.fetch_record(&mut asked.key));
    let mut steered: ArrayVec<Steered<'_>, GROUP> = ArrayVec::new();
    for Asked { index, key } in asked {
        let ahead = &mut group[index];
        ahead.found = names.lookup_key(key, ahead.request.qname(), ahead.request.qtype);
        if let Some((_, Lookup::Service(service))) = ahead.found {
            memory::fetch(&snapshot.plans, service.index());
            let client = internet::client(&ahead.request, &exchanges[index].query);
            let map = nearest[service.index()].map(|map| &*maps[map.index()]);
            map.inspect(|map| map.fetch(client, 0));
            steered.push(Steered {
                index,
                service,
                client,
                map,
                region: None,
            });
        }
    }
    steer_ahead(snapshot, worker, &mut group, &mut steered);
    group
}

/// The same for what services need.
fn steer_ahead(
    snapshot: &Snapshot,
    worker: usize,
    group: &mut [Ahead<'_>],
    steered: &mut [Steered<'_>],
) {
    let plan = |service: ServiceId| &*snapshot.plans[service.index()];
    for step in 1..FETCH_STEPS {
        for Steered {
            service,
            client,
            map,
            ..
        } in &*steered
        {
            if step == 1 {
                memory::fetch_line(plan(*service));
            }
            map.inspect(|map| map.fetch(*client, step));
        }
    }
    for Steered {
        index,
        service,
        client,
        map,
        region,
    } in &mut *steered
    {
        if let Some(map) = map {
            let located = map.lookup(*client);
            group[*index].located = Some(located);
            *region = map
                .order(located.order)
                .steps
                .first()
                .and_then(|step| step.first().copied());
        }
        plan(*service).fetch_pool(*region);
    }
    let tally = snapshot.tallies.get(worker);
    for Steered {
        index,
        service,
        region,
        ..
    } in steered
    {
        let family = Family::of(group[*index].request.qtype).unwrap_or(Family::V4);
        plan(*service).fetch_answer(*region, family, tally);
    }
}
