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

use super::{Query, internet};
use crate::dataset::Snapshot;
use crate::dns::{Class, Prefix, Request, Unanswerable};
use crate::geo::{FETCH_STEPS, GeoMap, Located};
use crate::model::{Family, RegionId, Route, ZoneId};
use crate::steer::Plan;
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
    key: Option<Key>,
    found: Option<Option<(ZoneId, Lookup)>>,
    /// Where its client is, for a service that goes by that.
    pub(super) located: Option<Located>,
}

impl<'q> Ahead<'q> {
    const EMPTY: Ahead<'static> = Ahead { request: Request::EMPTY, unanswerable: None, key: None, found: None, located: None };

    /// Reads the message.
    #[inline]
    pub(super) fn read(query: &Query<'q>) -> Ahead<'q> {
        let mut ahead = Ahead::EMPTY;
        ahead.unanswerable = ahead.request.read(query.bytes).err();
        ahead
    }

    /// What the names have for the question.
    #[inline]
    pub(super) fn lookup(&self, names: &NameTable) -> Option<(ZoneId, Lookup)> {
        self.found.unwrap_or_else(|| names.lookup(self.request.qname(), self.request.qtype))
    }

    fn question(&self) -> Option<&Request<'q>> {
        let complete = self.unanswerable.is_none() && self.request.error.is_none();
        (complete && self.request.qclass == Class::IN).then_some(&self.request)
    }
}

/// Reads every one of `queries`, [`GROUP`] at most, and has the memory fetched that their answers need.
pub(super) fn look_ahead<'q>(snapshot: &Snapshot, queries: impl Iterator<Item = Query<'q>>) -> ArrayVec<Ahead<'q>, GROUP> {
    let names = &snapshot.dataset.names;
    let mut group: ArrayVec<Ahead<'q>, GROUP> = ArrayVec::new();
    let mut clients: ArrayVec<Prefix, GROUP> = ArrayVec::new();
    for query in queries {
        group.push(Ahead::EMPTY);
        let ahead = group.last_mut().expect("one was pushed");
        ahead.unanswerable = ahead.request.read(query.bytes).err();
        if let Some(question) = ahead.question() {
            let key = names.key(question.qname());
            names.fetch_index(key);
            clients.push(internet::client(question, &query));
            ahead.key = Some(key);
        } else {
            clients.push(Prefix::host(query.client));
        }
    }
    group.iter().filter_map(|ahead| ahead.key).for_each(|key| names.fetch_record(key));
    let mut steered: ArrayVec<(usize, &Plan), GROUP> = ArrayVec::new();
    for (index, ahead) in group.iter_mut().enumerate() {
        let (Some(key), Some(question)) = (ahead.key, ahead.question()) else { continue };
        let found = names.lookup_key(key, question.qname(), question.qtype);
        if let Some((_, Lookup::Service(service))) = found {
            let plan = &*snapshot.plans[service.index()];
            crate::memory::fetch_line(plan);
            steered.push((index, plan));
        }
        ahead.found = Some(found);
    }
    if !steered.is_empty() {
        steer_ahead(snapshot, &mut group, &clients, &steered);
    }
    group
}

/// The same for what services need: `steered` are the queries for them, and their plans.
fn steer_ahead(snapshot: &Snapshot, group: &mut [Ahead<'_>], clients: &[Prefix], steered: &[(usize, &Plan)]) {
    let map = |plan: &Plan| -> Option<&GeoMap> {
        let nearest = plan.route == Route::Nearest;
        plan.map.filter(|_| nearest).map(|map| &*snapshot.dataset.maps[map.index()])
    };
    for step in 0..FETCH_STEPS {
        for (index, plan) in steered {
            map(plan).inspect(|map| map.fetch(clients[*index], step));
        }
    }
    let mut regions: ArrayVec<Option<RegionId>, GROUP> = ArrayVec::new();
    for (index, plan) in steered {
        let region = map(plan).and_then(|map| {
            let located = map.lookup(clients[*index]);
            group[*index].located = Some(located);
            map.order(located.order).steps.first()?.first().copied()
        });
        plan.fetch_pool(region);
        regions.push(region);
    }
    for ((index, plan), region) in steered.iter().zip(regions) {
        let family = group[*index].question().and_then(|question| Family::of(question.qtype)).unwrap_or(Family::V4);
        plan.fetch_answer(region, family);
    }
}
