//! Events: the changes of this process as others are told of them, kept for those who come late.
//!
//! ```text
//! the thread "changes" ─ record ─► ring of the last changes ◄─ Subscription: a place in it
//! ```
//! A change is put into words and into JSON once, whoever is told of it. A subscriber has no queue:
//! it is a place in the ring. One that is slow is overtaken, and told which changes it lost; neither
//! the ring nor whoever fills it waits for anybody.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use super::history::{History, HistoryKey, Strip};
use crate::changes::{Change, Keys, Turn};
use crate::model::{Moment, WallTime};

/// The most changes that are kept: a region that fails under five thousand services, twice over.
const CHANGES: usize = 16_384;
/// The most octets that those have in JSON.
const OCTETS: usize = 16 << 20;
/// The changes that a subscriber takes from the ring at once.
const TAKEN: usize = 256;

/// The changes of this process.
#[derive(Debug)]
pub struct Events {
    boot: Arc<str>,
    ring: Mutex<Ring>,
    history: Mutex<History>,
    /// The number of the last change; its receivers wake up for each batch.
    news: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    /// In the order of their numbers. Numbers are missing where the queue of changes was full.
    kept: VecDeque<Arc<Recorded>>,
    /// The most that are kept.
    room: usize,
    /// Octets of their JSON.
    octets: usize,
    /// The number of the last change.
    last: u64,
}

/// A change as others are told of it.
#[derive(Debug)]
pub struct Recorded {
    /// The process that numbered it.
    pub boot: Arc<str>,
    /// Its number, as in [`Change`].
    pub number: u64,
    /// The Unix time at which it happened, as the wall clock had it then.
    pub at: Duration,
    /// The names that it is about, and its states.
    pub keys: Keys,
    /// The turn that it takes, where something got better or worse.
    pub turn: Option<Turn>,
    /// The sentence of the log.
    pub sentence: Box<str>,
    /// An event of an event stream, with `json` as its data.
    frame: Bytes,
    /// The place of the JSON in `frame`.
    json: std::ops::Range<usize>,
}

/// A change in JSON.
#[derive(Debug, Serialize)]
struct Document<'e> {
    /// The number of the change, from 1 for each process.
    number: u64,
    /// The process.
    boot: &'e str,
    /// RFC 3339, in UTC and to the millisecond.
    time: String,
    #[serde(flatten)]
    keys: &'e Keys,
    /// The sentence of the log.
    sentence: &'e str,
}

/// The number of a change together with its process, as `Last-Event-ID` carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId {
    /// The process; another one numbers its changes anew.
    pub boot: Arc<str>,
    /// The number of the change.
    pub number: u64,
}

/// A step of a subscriber.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A change.
    Change(Arc<Recorded>),
    /// These changes, first and last, are lost to it: they are not kept any more, or were dropped
    /// before they came here.
    Lost(u64, u64),
    /// The place that it came with belongs to another process, about which nothing is known here.
    Restarted(EventId),
}

/// A subscriber's place among the changes.
#[derive(Debug)]
pub struct Subscription {
    events: Arc<Events>,
    news: watch::Receiver<u64>,
    /// The number of the change that it is to see next.
    next: u64,
    /// Steps that it has taken from the ring.
    taken: VecDeque<Seen>,
}

/// The changes that are kept after one.
#[derive(Debug)]
pub struct Kept {
    /// The number of the last change of all.
    pub last: u64,
    /// The changes, and what is lost between them.
    pub steps: Vec<Seen>,
}

impl Default for Events {
    fn default() -> Events {
        let boot = crate::server::seed() & 0xffff_ffff_ffff;
        Events::of_process(&format!("{boot:012x}"), CHANGES)
    }
}

impl Events {
    /// No changes yet, of a process of this name, with room for so many.
    fn of_process(boot: &str, room: usize) -> Events {
        Events {
            boot: boot.into(),
            ring: Mutex::new(Ring {
                kept: VecDeque::new(),
                room,
                octets: 0,
                last: 0,
            }),
            history: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }

    /// The name of this process among others and its own restarts: twelve hexadecimal digits.
    pub fn boot(&self) -> &Arc<str> {
        &self.boot
    }

    /// The number of the last change; 0 before the first.
    pub fn last(&self) -> u64 {
        self.ring().last
    }

    /// Takes in changes that happened at `at`, with their sentences, and wakes subscribers up. For
    /// the thread that renders changes.
    pub fn record(&self, changes: &[Change], sentences: &[String], at: Moment, wall: WallTime) {
        let at = wall.unix(at);
        let mut recorded = Vec::with_capacity(changes.len());
        for (change, sentence) in changes.iter().zip(sentences) {
            recorded.push(Arc::new(Recorded::new(&self.boot, change, sentence, at)));
        }
        let Some(last) = recorded.last().map(|last| last.number) else {
            return;
        };
        let mut history = self.states();
        for change in &recorded {
            history.record(&change.keys, at.as_secs());
        }
        drop(history);
        // Held for the moving of pointers only: everything was written before.
        let mut ring = self.ring();
        let dropped = ring.push(recorded, last);
        drop(ring);
        self.news.send_replace(last);
        drop(dropped);
    }

    /// Follows the changes after number `after`, those that are kept first; `None` is from now on.
    pub fn subscribe(self: &Arc<Self>, after: Option<u64>) -> Subscription {
        let news = self.news.subscribe();
        let last = self.last();
        Subscription {
            events: self.clone(),
            news,
            // A number that is not given out yet would leave out what comes before it.
            next: after.map_or(last, |after| after.min(last)) + 1,
            taken: VecDeque::new(),
        }
    }

    /// Follows the changes after `id`: where another process gave it out, that is the first step,
    /// and all that are kept follow.
    pub fn resume(self: &Arc<Self>, id: EventId) -> Subscription {
        if id.boot == self.boot {
            return self.subscribe(Some(id.number));
        }
        let mut subscription = self.subscribe(Some(0));
        subscription.taken.push_back(Seen::Restarted(id));
        subscription
    }

    /// The changes that are kept after number `after`.
    pub fn kept(&self, after: u64) -> Kept {
        let ring = self.ring();
        let mut next = after.min(ring.last) + 1;
        let mut steps = VecDeque::new();
        ring.take(&mut next, usize::MAX, &mut steps);
        Kept {
            last: ring.last,
            steps: steps.into(),
        }
    }

    /// The states of the pools and endpoints that `is_wanted`, in the 24 hours before the Unix time
    /// `now` in seconds, and the number of changes of those that found no room.
    pub fn history(&self, now: u64, is_wanted: impl Fn(&HistoryKey) -> bool) -> (Vec<Strip>, u64) {
        self.states().strips(now, is_wanted)
    }

    fn states(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Adds changes, and returns those that make room for them: freeing them takes its time.
    fn push(&mut self, recorded: Vec<Arc<Recorded>>, last: u64) -> Vec<Arc<Recorded>> {
        let mut dropped = Vec::new();
        for change in recorded {
            self.octets += change.frame.len();
            self.kept.push_back(change);
            while self.kept.len() > self.room || self.octets > OCTETS {
                let Some(oldest) = self.kept.pop_front() else {
                    break;
                };
                self.octets -= oldest.frame.len();
                dropped.push(oldest);
            }
        }
        self.last = last;
        dropped
    }

    /// Appends up to `most` changes from number `next` on to `steps`, and what is lost before and
    /// between them; leaves `next` behind the last.
    fn take(&self, next: &mut u64, most: usize, steps: &mut VecDeque<Seen>) {
        let first = self.kept.partition_point(|change| change.number < *next);
        for change in self.kept.iter().skip(first).take(most) {
            if change.number > *next {
                steps.push_back(Seen::Lost(*next, change.number - 1));
            }
            steps.push_back(Seen::Change(change.clone()));
            *next = change.number + 1;
        }
    }
}

impl Subscription {
    /// The next step, which is waited for. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Seen {
        loop {
            // Marked before the look: what comes in between wakes this up again.
            self.news.borrow_and_update();
            if let Some(seen) = self.try_next() {
                return seen;
            }
            let waited = self.news.changed().await;
            waited.expect("the subscription keeps the events, and they their sender");
        }
    }

    /// The next step, if it is there.
    pub fn try_next(&mut self) -> Option<Seen> {
        if self.taken.is_empty() {
            let ring = self.events.ring();
            ring.take(&mut self.next, TAKEN, &mut self.taken);
        }
        self.taken.pop_front()
    }
}

impl Recorded {
    fn new(boot: &Arc<str>, change: &Change, sentence: &str, at: Duration) -> Recorded {
        let keys = change.event.keys();
        let document = Document {
            number: change.number,
            boot,
            time: show(at),
            keys: &keys,
            sentence,
        };
        let mut frame = format!("id: {boot}-{}\nevent: change\ndata: ", change.number).into_bytes();
        let start = frame.len();
        serde_json::to_writer(&mut frame, &document)
            .expect("text and numbers can be written to memory");
        let json = start..frame.len();
        frame.extend_from_slice(b"\n\n");
        Recorded {
            boot: boot.clone(),
            number: change.number,
            at,
            keys,
            turn: change.event.turn(),
            sentence: sentence.into(),
            frame: frame.into(),
            json,
        }
    }

    /// Its time in RFC 3339, in UTC and to the millisecond.
    pub fn time(&self) -> String {
        show(self.at)
    }

    /// The change as a JSON object, in one line.
    pub fn json(&self) -> Bytes {
        self.frame.slice(self.json.clone())
    }

    /// The change as an event of an event stream, which all subscribers share.
    pub fn frame(&self) -> Bytes {
        self.frame.clone()
    }
}

/// A Unix time in RFC 3339, in UTC and to the millisecond.
fn show(at: Duration) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + at).to_string()
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.number)
    }
}

/// Error of a text that is no [`EventId`].
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<EventId, NotAnEventId> {
        let (boot, number) = text.split_once('-').ok_or(NotAnEventId)?;
        let is_boot = boot.len() == 12 && boot.bytes().all(|b| b.is_ascii_hexdigit());
        // Nothing else is ever given out, and it is shown again where it belongs to another process.
        if !is_boot {
            return Err(NotAnEventId);
        }
        Ok(EventId {
            boot: boot.into(),
            number: number.parse().map_err(|_| NotAnEventId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::changes::tests::of_every_kind;
    use crate::changes::{Event, NodeChange};

    fn isolated(number: u64) -> Change {
        let event = Event::Node(NodeChange::Isolated);
        Change { number, event }
    }

    fn record(events: &Events, numbers: impl IntoIterator<Item = u64>) {
        let changes: Vec<Change> = numbers.into_iter().map(isolated).collect();
        let sentences = vec!["node isolated".to_owned(); changes.len()];
        let at = Moment(Duration::from_millis(1_800_000_000_250));
        events.record(&changes, &sentences, at, WallTime::default());
    }

    /// The numbers of changes, and the lost ones as negative pairs.
    fn numbers(subscription: &mut Subscription) -> Vec<(u64, u64)> {
        let mut seen = Vec::new();
        while let Some(step) = subscription.try_next() {
            seen.push(match step {
                Seen::Change(change) => (change.number, 0),
                Seen::Lost(first, last) => (first, last),
                Seen::Restarted(id) => (id.number, u64::MAX),
            });
        }
        seen
    }

    #[test]
    fn who_comes_late_gets_what_is_kept_and_is_told_what_is_lost() {
        let events = Arc::new(Events::of_process("0123456789ab", 64));
        record(&events, 1..=3);
        record(&events, 6..=7);
        let (mut all, mut some, mut none) = (
            events.subscribe(Some(0)),
            events.subscribe(Some(4)),
            events.subscribe(None),
        );
        assert_eq!(
            numbers(&mut all),
            [(1, 0), (2, 0), (3, 0), (4, 5), (6, 0), (7, 0)]
        );
        assert_eq!(numbers(&mut some), [(5, 5), (6, 0), (7, 0)]);
        assert_eq!(numbers(&mut none), []);
        record(&events, 8..=8);
        for subscription in [&mut all, &mut some, &mut none] {
            assert_eq!(numbers(subscription), [(8, 0)]);
        }
        // A number that was not given out yet hides nothing.
        let mut ahead = events.subscribe(Some(900));
        record(&events, 9..=9);
        assert_eq!(numbers(&mut ahead), [(9, 0)]);
    }

    #[test]
    fn a_place_of_another_process_is_told_apart() {
        let events = Arc::new(Events::of_process("0123456789ab", 64));
        record(&events, 1..=2);
        let id = |text: &str| text.parse::<EventId>().unwrap();
        assert_eq!(numbers(&mut events.resume(id("0123456789ab-1"))), [(2, 0)]);
        let mut other = events.resume(id("ba9876543210-77"));
        assert_eq!(numbers(&mut other), [(77, u64::MAX), (1, 0), (2, 0)]);
        for bad in [
            "",
            "7",
            "x-7",
            "0123456789ab-",
            "0123456789ab-x",
            "0123456789\n\n-1",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(NotAnEventId), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_waits_is_woken_up() {
        let events = Arc::new(Events::default());
        let mut subscription = events.subscribe(None);
        let waits = tokio::spawn(async move { subscription.next().await });
        tokio::task::yield_now().await;
        record(&events, 1..=1);
        let Seen::Change(change) = waits.await.unwrap() else {
            panic!("a change");
        };
        assert_eq!(change.number, 1);
    }

    #[test]
    fn a_change_is_one_json_object_with_its_keys() {
        let events = Events::of_process("0123456789ab", 64);
        let changes: Vec<Change> = (1..)
            .zip(of_every_kind())
            .map(|(number, event)| Change { number, event })
            .collect();
        let sentences = vec!["a \"sentence\"".to_owned(); changes.len()];
        let at = Moment(Duration::from_millis(1_800_000_000_250));
        events.record(&changes, &sentences, at, WallTime::default());
        let kept = events.kept(0);
        assert_eq!(
            (kept.last, kept.steps.len()),
            (changes.len() as u64, changes.len())
        );
        for step in &kept.steps {
            let Seen::Change(change) = step else {
                panic!("nothing is lost");
            };
            let json: serde_json::Value = serde_json::from_slice(&change.json()).unwrap();
            assert_eq!(json["number"], change.number);
            assert_eq!(json["boot"], "0123456789ab");
            assert_eq!(json["time"], "2027-01-15T08:00:00.250Z");
            assert_eq!(json["kind"], change.keys.kind);
            let frame = String::from_utf8(change.frame().to_vec()).unwrap();
            let lines: Vec<&str> = frame.lines().collect();
            assert_eq!(lines[0], format!("id: 0123456789ab-{}", change.number));
            // One line of data: an event stream ends an event with an empty line.
            assert_eq!((lines.len(), lines[3]), (4, ""));
        }
    }

    proptest! {
        /// Whatever is dropped, and whenever a subscriber looks, it sees every number once: as a
        /// change or as lost.
        #[test]
        fn every_number_is_seen_or_lost_once(
            batches in prop::collection::vec((0u64..4, 1u64..100, any::<bool>()), 1..6),
            after in 0u64..100,
        ) {
            let events = Arc::new(Events::of_process("0123456789ab", 64));
            record(&events, 1..=100);
            let mut subscription = events.subscribe(Some(after));
            let (mut last, mut next) = (100, after + 1);
            for (skipped, count, looks) in batches {
                record(&events, last + skipped + 1..=last + skipped + count);
                last += skipped + count;
                prop_assert!(events.ring().kept.len() <= 64);
                for (first, end) in if looks { numbers(&mut subscription) } else { Vec::new() } {
                    prop_assert_eq!(first, next);
                    next = first.max(end) + 1;
                }
            }
            for (first, end) in numbers(&mut subscription) {
                prop_assert_eq!(first, next);
                next = first.max(end) + 1;
            }
            prop_assert_eq!(next, last + 1);
            let octets: usize = events.ring().kept.iter().map(|change| change.frame.len()).sum();
            prop_assert_eq!(octets, events.ring().octets);
        }
    }
}
