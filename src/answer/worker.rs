//! State of one thread that answers: its randomness and its counters.

use std::net::IpAddr;
use std::sync::Arc;

use super::{DropReason, Query, Response, Transport};
use crate::dns::{Rcode, Request, RrType};
use crate::metrics::Counter;
use crate::model::{Family, WallTime};
use crate::steer::Rung;

/// One thread's own state; never shared.
#[derive(Debug)]
pub struct Worker {
    /// Draws by weight.
    pub rng: fastrand::Rng,
    /// Its place among the workers, by which it finds its counters in a snapshot; past the last, it has none.
    pub number: usize,
    /// A recent reading of the wall clock; `why` shows it, and nothing is decided by it.
    pub wall: WallTime,
    /// The worker's counters; others read them, and it alone writes them.
    pub counters: Arc<Counters>,
}

impl Worker {
    /// A worker whose draws start at `seed`.
    pub fn new(seed: u64) -> Worker {
        Worker {
            rng: fastrand::Rng::with_seed(seed),
            number: usize::MAX,
            wall: WallTime::default(),
            counters: Arc::default(),
        }
    }

    /// The same, with the counters of worker `number`.
    pub fn numbered(seed: u64, number: usize) -> Worker {
        Worker {
            number,
            ..Worker::new(seed)
        }
    }
}

/// The counters of one worker, on cache lines of their own: no other worker writes near them.
///
/// Queries and answers are counted in tables, by all of their traits at once: one increment each,
/// however many metrics a scrape makes of them.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    queries: [Counter; QueryTraits::COUNT],
    answers: [Counter; RCODES * AnswerSize::COUNT],
    /// The octets of all answers.
    pub octets: Counter,
    /// Messages without an answer, by [`DropReason`].
    pub dropped: [Counter; DropReason::ALL.len()],
    /// Answers with TC set.
    pub truncated: Counter,
    /// Answers of services, by the rung they came from.
    pub rungs: [Counter; Rung::ALL.len()],
    /// Queries that ended in SERVFAIL because the program failed at them.
    pub panics: Counter,
}

/// The number of response codes that are told apart: 0 … 15, and BADVERS.
const RCODES: usize = 17;

/// The traits of a query by which it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTraits {
    /// The transport that it came by.
    pub transport: Transport,
    /// The family of its sender's address.
    pub family: Family,
    /// True with an OPT record.
    pub edns: bool,
    /// True with DNSSEC OK.
    pub dnssec_ok: bool,
    /// True with a valid Client Subnet option.
    pub client_subnet: bool,
    /// The type asked.
    pub asked: AskedType,
}

/// The type that a query asks for, as far as types are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedType(u8);

/// The types that are told apart; others share one name, and messages without a question another.
const TYPES: [(RrType, &str); 14] = [
    (RrType::A, "A"),
    (RrType::AAAA, "AAAA"),
    (RrType::CNAME, "CNAME"),
    (RrType::NS, "NS"),
    (RrType::SOA, "SOA"),
    (RrType::PTR, "PTR"),
    (RrType::MX, "MX"),
    (RrType::TXT, "TXT"),
    (RrType::SRV, "SRV"),
    (RrType::DS, "DS"),
    (RrType::DNSKEY, "DNSKEY"),
    (RrType::SVCB, "SVCB"),
    (RrType::HTTPS, "HTTPS"),
    (RrType::ANY, "ANY"),
];

impl AskedType {
    /// The number of types that are told apart.
    pub const COUNT: usize = TYPES.len() + 2;
    const NONE: AskedType = AskedType(TYPES.len() as u8);
    const OTHER: AskedType = AskedType(TYPES.len() as u8 + 1);

    /// By type up to 255: which it is.
    const TABLE: [u8; 256] = {
        let mut table = [AskedType::OTHER.0; 256];
        let mut index = 0;
        while index < TYPES.len() {
            table[TYPES[index].0.0 as usize] = index as u8;
            index += 1;
        }
        table
    };

    #[inline]
    fn of(rtype: RrType) -> AskedType {
        match AskedType::TABLE.get(usize::from(rtype.0)) {
            Some(index) => AskedType(*index),
            None => AskedType::OTHER,
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = AskedType> {
        (0..AskedType::COUNT as u8).map(AskedType)
    }

    /// Its name as a metric's label: a type's own, `other`, or `none` without a question.
    pub fn as_label(self) -> &'static str {
        match TYPES.get(usize::from(self.0)) {
            Some((_, label)) => label,
            None if self == AskedType::NONE => "none",
            None => "other",
        }
    }
}

impl QueryTraits {
    const COUNT: usize = Transport::ALL.len() * Family::BOTH.len() * 8 * AskedType::COUNT;

    /// The traits of `query`; without a `request`, its question could not be read.
    #[inline]
    pub(super) fn of(query: &Query<'_>, request: Option<&Request<'_>>) -> QueryTraits {
        let edns = request.and_then(|request| request.edns.as_ref());
        QueryTraits {
            transport: query.transport,
            family: match query.peer.ip() {
                IpAddr::V4(_) => Family::V4,
                // A wildcard IPv6 socket shows IPv4 senders so.
                IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Family::V4,
                IpAddr::V6(_) => Family::V6,
            },
            edns: edns.is_some(),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
            client_subnet: edns.is_some_and(|edns| edns.ecs.is_some()),
            asked: request.map_or(AskedType::NONE, |request| AskedType::of(request.qtype)),
        }
    }

    #[inline]
    fn index(self) -> usize {
        let flags = usize::from(self.edns)
            | usize::from(self.dnssec_ok) << 1
            | usize::from(self.client_subnet) << 2;
        let sender = self.transport.index() * Family::BOTH.len() + self.family.index();
        (sender * 8 + flags) * AskedType::COUNT + usize::from(self.asked.0)
    }

    /// The traits with the place `index` among the counters.
    fn at(index: usize) -> QueryTraits {
        let (rest, asked) = (index / AskedType::COUNT, index % AskedType::COUNT);
        let (sender, flags) = (rest / 8, rest % 8);
        QueryTraits {
            transport: Transport::ALL[sender / Family::BOTH.len()],
            family: Family::BOTH[sender % Family::BOTH.len()],
            edns: flags & 1 != 0,
            dnssec_ok: flags & 2 != 0,
            client_subnet: flags & 4 != 0,
            // A remainder of a division by the number of types, which a `u8` holds.
            asked: AskedType(asked as u8),
        }
    }
}

/// The sizes by which answers are counted: up to 63 octets, 127, and so on, each twice the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSize;

impl AnswerSize {
    /// The number of sizes.
    pub const COUNT: usize = 11;

    /// The place of an answer of `length` octets among the sizes.
    #[inline]
    fn of(length: usize) -> usize {
        let bits = (usize::BITS - length.leading_zeros()) as usize;
        bits.saturating_sub(6).min(AnswerSize::COUNT - 1)
    }

    /// The most octets of the size at `index`; none for the last one.
    pub fn most(index: usize) -> Option<u32> {
        (index + 1 < AnswerSize::COUNT).then(|| (64 << index) - 1)
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            queries: [const { Counter::new() }; QueryTraits::COUNT],
            answers: [const { Counter::new() }; RCODES * AnswerSize::COUNT],
            octets: Counter::new(),
            dropped: Default::default(),
            truncated: Counter::new(),
            rungs: Default::default(),
            panics: Counter::new(),
        }
    }
}

impl Counters {
    #[inline]
    pub(super) fn count_query(&self, query: &Query<'_>, request: Option<&Request<'_>>) {
        self.queries[QueryTraits::of(query, request).index()].increment();
    }

    #[inline]
    pub(super) fn count_answer(&self, rcode: Rcode, length: usize) {
        let rcode = usize::from(rcode.0).min(RCODES - 1);
        self.answers[rcode * AnswerSize::COUNT + AnswerSize::of(length)].increment();
        self.octets.add(length as u64);
    }

    pub(super) fn count_drop(&self, reason: DropReason) -> Response {
        self.dropped[reason as usize].add(1);
        Response::Drop(reason)
    }

    /// The number of queries by their traits, of those that have any.
    pub fn queries(&self) -> impl Iterator<Item = (QueryTraits, u64)> {
        let counts = self.queries.iter().map(Counter::get).enumerate();
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(index, count)| (QueryTraits::at(index), count))
    }

    /// The number of answers by response code and [`AnswerSize`], of those that have any.
    pub fn answers(&self) -> impl Iterator<Item = (Rcode, usize, u64)> {
        let counts = self.answers.iter().map(Counter::get).enumerate();
        counts
            .filter(|(_, count)| *count > 0)
            // There are 17 response codes, which a `u16` holds.
            .map(|(index, count)| {
                let rcode = Rcode((index / AnswerSize::COUNT) as u16);
                (rcode, index % AnswerSize::COUNT, count)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_workers_write_one_cache_line() {
        let workers = [Worker::new(1), Worker::new(2)];
        assert!(
            workers
                .iter()
                .all(|worker| std::ptr::from_ref(&*worker.counters).addr() % 128 == 0)
        );
        assert_eq!(size_of::<Counters>() % 128, 0);
    }

    #[test]
    fn a_query_is_counted_under_its_own_traits() {
        for index in 0..QueryTraits::COUNT {
            assert_eq!(QueryTraits::at(index).index(), index);
        }
        let mut labels: Vec<_> = AskedType::all().map(AskedType::as_label).collect();
        assert_eq!(AskedType::of(RrType::HTTPS).as_label(), "HTTPS");
        assert_eq!(AskedType::of(RrType(257)).as_label(), "other");
        assert_eq!(AskedType::NONE.as_label(), "none");
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), AskedType::COUNT);
    }

    #[test]
    fn an_answer_is_counted_by_its_size() {
        for length in [0, 12, 63, 64, 127, 128, 1232, 32_767, 32_768, 65_535] {
            let size = AnswerSize::of(length);
            assert!(AnswerSize::most(size).is_none_or(|most| length <= most as usize));
            assert!(size == 0 || length > AnswerSize::most(size - 1).unwrap() as usize);
        }
        let counters = Counters::default();
        counters.count_answer(Rcode::NXDOMAIN, 100);
        let counted: Vec<_> = counters.answers().collect();
        assert_eq!(counted, [(Rcode::NXDOMAIN, 1, 1)]);
        assert_eq!(counters.octets.get(), 100);
    }
}
