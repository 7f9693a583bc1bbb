//! The side of a worker: every so many queries, a copy of one into a slot that is free.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::answer::{Exchange, Query, Transport};
use crate::clock::Clock;
use crate::metrics::Counter;
use crate::model::Moment;

/// The slots of a worker: the bursts that it can take while the thread sleeps or writes.
const SLOTS: usize = 256;
/// The octets of a slot: the longest datagram that is taken as a query, and its answer.
const ROOM: usize = 4096 + 1232;

/// The counters of one sampler, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SamplerCounters {
    /// Samples for which no slot was free.
    pub queue_full: Counter,
    /// Samples whose query and answer are longer than a slot.
    pub too_long: Counter,
}

/// The sampler of one thread that answers queries.
///
/// The gaps between samples are drawn from 1 to 2 × `sample` − 1: with equal gaps, clients that ask
/// in a rhythm (A, AAAA, A, …) would show one half of it only.
pub struct Sampler {
    /// Queries until the next sample, that one included; at least 1.
    left: u64,
    /// The mean of these; at least 1.
    sample: u64,
    rng: fastrand::Rng,
    free: Consumer<Box<Sample>>,
    taken: Producer<Box<Sample>>,
    counters: Arc<SamplerCounters>,
}

/// The other side of a [`Sampler`], from which the thread takes samples.
pub(super) struct Drain {
    taken: Consumer<Box<Sample>>,
    free: Producer<Box<Sample>>,
}

/// A query and its answer.
pub(super) struct Sample {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) transport: Transport,
    pub(super) received: Moment,
    pub(super) answered: Moment,
    query: usize,
    /// The answer's length; `None` where the query got none.
    answer: Option<usize>,
    /// The query, and behind it the answer.
    octets: [u8; ROOM],
}

/// Makes a sampler of one query in `sample`, and its other side.
pub(super) fn pair(sample: u32, seed: u64) -> (Sampler, Drain) {
    let (mut free, consumer) = RingBuffer::new(SLOTS);
    let (producer, taken) = RingBuffer::new(SLOTS);
    for _ in 0..SLOTS {
        // A ring of as many has room for all.
        let _ = free.push(Box::new(Sample::empty()));
    }
    let mut sampler = Sampler {
        left: 1,
        sample: u64::from(sample.max(1)),
        rng: fastrand::Rng::with_seed(seed),
        free: consumer,
        taken: producer,
        counters: Arc::default(),
    };
    sampler.left = sampler.gap();
    (sampler, Drain { taken, free })
}

impl Sampler {
    /// The sampler's counters; others read them.
    pub fn counters(&self) -> Arc<SamplerCounters> {
        self.counters.clone()
    }

    /// Counts a query that was answered with `answer`, or not at all; takes it if it is its turn.
    #[inline]
    pub fn count(&mut self, query: &Query<'_>, answer: Option<&[u8]>) {
        self.left -= 1;
        if self.left == 0 {
            self.left = self.gap();
            self.take(query, answer);
        }
    }

    /// Counts queries that were answered together; takes those whose turn it is.
    #[inline]
    pub fn count_all(&mut self, exchanges: &[Exchange<'_>]) {
        let count = exchanges.len() as u64;
        if count < self.left {
            self.left -= count;
        } else {
            self.take_from(exchanges);
        }
    }

    #[cold]
    fn take_from(&mut self, exchanges: &[Exchange<'_>]) {
        for Exchange { query, out, answer } in exchanges {
            self.count(query, answer.map(|length| &out[..length]));
        }
    }

    fn gap(&mut self) -> u64 {
        self.rng.u64(1..2 * self.sample)
    }

    #[cold]
    fn take(&mut self, query: &Query<'_>, answer: Option<&[u8]>) {
        let length = query.bytes.len() + answer.map_or(0, <[u8]>::len);
        if length > ROOM {
            return self.counters.too_long.increment();
        }
        let Ok(mut sample) = self.free.pop() else {
            return self.counters.queue_full.increment();
        };
        sample.fill(query, answer, Clock.now());
        // There are no more slots than places in the ring: it is never full.
        let pushed = self.taken.push(sample);
        debug_assert!(pushed.is_ok());
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sampler(1 in {})", self.sample)
    }
}

impl Drain {
    /// Hands at most a ring of samples to `each`, and returns how many there were.
    pub(super) fn take(&mut self, mut each: impl FnMut(&Sample)) -> u64 {
        let mut count = 0;
        while count < SLOTS as u64
            && let Ok(sample) = self.taken.pop()
        {
            each(&sample);
            let pushed = self.free.push(sample);
            debug_assert!(pushed.is_ok());
            count += 1;
        }
        count
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drain")
    }
}

impl Sample {
    fn empty() -> Sample {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Sample {
            peer: nowhere,
            local: nowhere,
            transport: Transport::Udp,
            received: Moment::default(),
            answered: Moment::default(),
            query: 0,
            answer: None,
            octets: [0; ROOM],
        }
    }

    /// Fills the slot with what has room in it.
    fn fill(&mut self, query: &Query<'_>, answer: Option<&[u8]>, now: Moment) {
        (self.peer, self.local) = (query.peer, query.local);
        (self.transport, self.received) = (query.transport, query.now);
        self.answered = now;
        self.query = query.bytes.len();
        self.answer = answer.map(<[u8]>::len);
        let (first, rest) = self.octets.split_at_mut(query.bytes.len());
        first.copy_from_slice(query.bytes);
        if let Some(answer) = answer {
            rest[..answer.len()].copy_from_slice(answer);
        }
    }

    /// The query.
    pub(super) fn query(&self) -> &[u8] {
        &self.octets[..self.query]
    }

    /// The answer, where the query got one.
    pub(super) fn answer(&self) -> Option<&[u8]> {
        let length = self.answer?;
        Some(&self.octets[self.query..][..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(bytes: &[u8]) -> Query<'_> {
        Query::synthetic(bytes, Ipv4Addr::LOCALHOST.into(), Transport::Udp)
    }

    #[test]
    fn one_query_in_so_many_is_taken_however_they_come() {
        const QUERIES: u64 = 1_000_000;
        let (mut alone, mut first) = pair(100, 1);
        let (mut together, mut second) = pair(100, 1);
        let (mut one, mut other) = (0, 0);
        let mut out = [0; 8];
        for n in 0..QUERIES / 10 {
            for _ in 0..10 {
                alone.count(&query(b"q"), Some(b"answer"));
            }
            let mut rooms = [[0; 8]; 10];
            let exchanges: Vec<_> = rooms
                .iter_mut()
                .map(|out| Exchange {
                    query: query(b"q"),
                    out,
                    answer: Some(6),
                })
                .collect();
            together.count_all(&exchanges);
            if n % 100 == 0 {
                one += first.take(|sample| assert_eq!(sample.answer().unwrap(), b"answer"));
                other += second.take(|sample| out[..6].copy_from_slice(sample.answer().unwrap()));
            }
        }
        one += first.take(|_| {});
        other += second.take(|_| {});
        assert_eq!(one, other);
        assert!((9_000..11_000).contains(&one), "{one}");
    }

    #[test]
    fn both_halves_of_a_rhythm_are_seen() {
        let (mut sampler, mut drain) = pair(2, 7);
        let mut seen = [0; 2];
        for _ in 0..100 {
            sampler.count(&query(b"a"), None);
            sampler.count(&query(b"b"), None);
            drain.take(|sample| seen[usize::from(sample.query() == b"b")] += 1);
        }
        assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_slots_come_back() {
        let (mut sampler, mut drain) = pair(1, 7);
        for _ in 0..SLOTS + 3 {
            sampler.count(&query(b"q"), Some(b"answer"));
        }
        assert_eq!(sampler.counters.queue_full.get(), 3);
        assert_eq!(drain.take(|_| {}), SLOTS as u64);
        sampler.count(&query(&[7; ROOM]), None);
        sampler.count(&query(&[7; ROOM]), Some(b"a"));
        assert_eq!(sampler.counters.too_long.get(), 1);
        let taken = drain.take(|sample| {
            assert_eq!(sample.query(), [7; ROOM]);
            assert_eq!(sample.answer(), None);
        });
        assert_eq!((taken, sampler.counters.queue_full.get()), (1, 3));
    }

    #[test]
    fn no_two_workers_write_one_cache_line() {
        assert_eq!(align_of::<SamplerCounters>(), 128);
    }
}
