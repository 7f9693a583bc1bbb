//! The writer of one collection: one write under way at a time, and another try after a failure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Collection, End, Failure, Key, Outcome, Put, Revision, Write};
use crate::model::Moment;

/// The writer's state. `W` is what its owner does once a write has ended: the operators who wait
/// for it, and the change that it brings.
///
/// One write is under way at most: a backend that hangs delays the next, and nothing else. What
/// came up meanwhile goes into the next one together.
#[derive(Debug)]
pub struct WriteAhead<W> {
    collection: Collection,
    /// The pause before a write that failed is tried again by itself.
    pause: Duration,
    /// There is a backend.
    on: bool,
    under_way: Option<UnderWay<W>>,
    /// By name; a document that is missing here is absent in the backend.
    revisions: BTreeMap<String, Revision>,
    /// Counts writes, those of earlier backends too: what one of them still reports is nobody's.
    count: u64,
    /// The last write failed.
    failing: bool,
    /// The time to try again.
    retry: Option<Moment>,
}

#[derive(Debug)]
struct UnderWay<W> {
    id: u64,
    names: Vec<String>,
    then: W,
}

/// A write that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<W> {
    /// The part that its owner gave with it.
    pub then: W,
    /// Its documents are durable; otherwise the reason why not, which operators are told.
    pub result: Result<(), Failure>,
    /// The news about the backend, where this is any.
    pub turn: Option<Turn>,
}

/// A change in how a backend does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The first failure after writes that succeeded.
    Failing(Failure),
    /// The first success after failures.
    Recovered,
}

impl<W> WriteAhead<W> {
    /// A writer without a backend, which tries again `pause` after a failure.
    pub fn new(collection: Collection, pause: Duration) -> WriteAhead<W> {
        WriteAhead {
            collection,
            pause,
            on: false,
            under_way: None,
            revisions: BTreeMap::new(),
            count: 0,
            failing: false,
            retry: None,
        }
    }

    /// Goes on with a backend, or with none. The write that was under way is given up and returned:
    /// it may become durable elsewhere, and nobody is told so.
    pub fn switch(&mut self, on: bool) -> Option<W> {
        self.on = on;
        (self.failing, self.retry) = (false, None);
        self.under_way.take().map(|write| write.then)
    }

    /// Goes on with the documents of a directory that was adopted; returns what was given up.
    pub fn adopt(&mut self, names: impl IntoIterator<Item = String>) -> Option<W> {
        // Counted anew by each backend: revisions of the one before mean nothing here.
        self.revisions.clear();
        for name in names {
            self.revisions.insert(name, Revision::ADOPTED);
        }
        self.switch(self.on)
    }

    /// True where there is a backend.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// True where a write can begin now.
    pub fn is_idle(&self) -> bool {
        self.on && self.under_way.is_none()
    }

    /// True while writes fail.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// True until the pause after a failure is over.
    pub fn is_pausing(&self, now: Moment) -> bool {
        self.retry.is_some_and(|retry| now < retry)
    }

    /// True where a failure awaits another try, be it due or not.
    pub fn awaits_retry(&self) -> bool {
        self.retry.is_some()
    }

    /// The time of the next try after a failure; `None` while a write is under way.
    pub fn next_try(&self) -> Option<Moment> {
        self.retry.filter(|_| self.is_idle())
    }

    /// Ends the pause after a failure where it is over; true where it was.
    pub fn take_retry(&mut self, now: Moment) -> bool {
        self.retry.take_if(|retry| *retry <= now).is_some()
    }

    /// Begins a write of documents by name. To be called while [`WriteAhead::is_idle`].
    pub fn begin<V>(
        &mut self,
        documents: impl IntoIterator<Item = (String, V)>,
        then: W,
    ) -> Write<V> {
        self.count += 1;
        let mut puts = Vec::new();
        let mut names = Vec::new();
        for (name, value) in documents {
            let current = self.revisions.get(&name).copied();
            let expected = current.unwrap_or(Revision::ABSENT);
            names.push(name.clone());
            puts.push(Put {
                key: Key {
                    collection: self.collection,
                    name,
                },
                value,
                expected: (!self.collection.is_private()).then_some(expected),
                // These documents stay until they are replaced; only what tells that a node is
                // alive goes by itself.
                lease: None,
            });
        }
        self.under_way = Some(UnderWay {
            id: self.count,
            names,
            then,
        });
        Write {
            collection: self.collection,
            id: self.count,
            puts,
        }
    }

    /// The number of the write under way.
    pub fn under_way(&self) -> Option<u64> {
        self.under_way.as_ref().map(|write| write.id)
    }

    /// Takes in the end of a write; `None` where that write was given up before.
    pub fn end(&mut self, end: End, now: Moment) -> Option<Ended<W>> {
        // A backend that was given up may still report, and its write is nobody's by then.
        let write = self.under_way.take_if(|write| write.id == end.id)?;
        let result = match end.outcome {
            Outcome::Committed(revision) => {
                for name in write.names {
                    self.revisions.insert(name, revision);
                }
                Ok(())
            }
            // The winner's document comes as any other change of the backend does. Its revision is
            // known from now on, so that the next write is judged by that document and not refused
            // for ever.
            Outcome::Conflict { key, current } => {
                self.revisions.insert(key.name.clone(), current);
                Err(Failure::Changed(key))
            }
            Outcome::Failed(failure) => Err(failure),
        };
        // A disk that refuses is asked once a pause, and not once for every change.
        self.retry = result.is_err().then(|| now + self.pause);
        let was_failing = std::mem::replace(&mut self.failing, result.is_err());
        let turn = match &result {
            Err(failure) if !was_failing => Some(Turn::Failing(failure.clone())),
            Ok(()) if was_failing => Some(Turn::Recovered),
            _ => None,
        };
        Some(Ended {
            then: write.then,
            result,
            turn,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn writer() -> WriteAhead<&'static str> {
        let mut writer = WriteAhead::new(Collection::Units, PAUSE);
        assert!(!writer.is_idle(), "there is no backend yet");
        assert_eq!(writer.switch(true), None);
        writer
    }

    fn begin(writer: &mut WriteAhead<&'static str>, name: &str, then: &'static str) -> Write<u32> {
        assert!(writer.is_idle());
        writer.begin([(name.to_owned(), 1)], then)
    }

    fn full() -> Failure {
        Failure::Storage {
            path: "units.json".to_owned(),
            error: "the disk is full".to_owned(),
        }
    }

    fn expected(write: &Write<u32>) -> Vec<Option<Revision>> {
        write.puts.iter().map(|put| put.expected).collect()
    }

    #[test]
    fn one_write_is_under_way_and_each_expects_what_the_last_one_left() {
        let mut writer = writer();
        writer.adopt(["a".to_owned()]);
        let first = begin(&mut writer, "a", "first");
        assert_eq!(expected(&first), [Some(Revision::ADOPTED)]);
        assert!(!writer.is_idle(), "the next one waits");
        let ended = writer.end(first.end(Outcome::Committed(Revision(9))), at(1));
        let ended = ended.expect("it is under way");
        assert_eq!(
            (ended.then, ended.result, ended.turn),
            ("first", Ok(()), None)
        );
        let second = writer.begin([("a".to_owned(), 2), ("b".to_owned(), 2)], "second");
        assert_eq!(
            expected(&second),
            [Some(Revision(9)), Some(Revision::ABSENT)]
        );
        let again = first.end(Outcome::Committed(Revision(9)));
        assert_eq!(writer.end(again, at(2)), None, "it has ended before");
    }

    #[test]
    fn a_failure_is_news_once_and_is_tried_again_after_a_pause() {
        let mut writer = writer();
        let first = begin(&mut writer, "a", "first");
        let ended = writer
            .end(first.end(Outcome::Failed(full())), at(1))
            .unwrap();
        assert_eq!(
            (ended.result, ended.turn),
            (Err(full()), Some(Turn::Failing(full())))
        );
        assert_eq!(writer.next_try(), Some(at(6)));
        assert!(writer.is_pausing(at(5)) && !writer.take_retry(at(5)));
        assert!(writer.take_retry(at(6)) && !writer.awaits_retry());

        let second = begin(&mut writer, "a", "second");
        assert_eq!(expected(&second), [Some(Revision::ABSENT)]);
        let ended = writer
            .end(second.end(Outcome::Failed(full())), at(7))
            .unwrap();
        assert_eq!(ended.turn, None, "that is known");
        let third = begin(&mut writer, "a", "third");
        assert_eq!(writer.next_try(), None, "a write is under way");
        let ended = writer
            .end(third.end(Outcome::Committed(Revision(2))), at(8))
            .unwrap();
        assert_eq!(ended.turn, Some(Turn::Recovered));
        assert!(!writer.awaits_retry() && !writer.is_failing());
    }

    #[test]
    fn a_lost_race_is_a_failure_and_the_next_write_expects_the_winner() {
        let mut writer = writer();
        let first = begin(&mut writer, "a", "first");
        let key = first.puts[0].key.clone();
        let conflict = Outcome::Conflict {
            key: key.clone(),
            current: Revision(4),
        };
        let ended = writer.end(first.end(conflict), at(1)).unwrap();
        assert_eq!(ended.result, Err(Failure::Changed(key)));
        let second = begin(&mut writer, "a", "second");
        assert_eq!(expected(&second), [Some(Revision(4))]);
    }

    #[test]
    fn what_was_under_way_in_another_directory_is_given_up() {
        let mut writer = writer();
        let first = begin(&mut writer, "a", "first");
        assert_eq!(writer.adopt(["b".to_owned()]), Some("first"));
        assert!(writer.is_idle());
        let late = first.end(Outcome::Committed(Revision(2)));
        assert_eq!(writer.end(late, at(1)), None);
        let second = writer.begin([("a".to_owned(), 1), ("b".to_owned(), 1)], "second");
        assert_eq!(
            expected(&second),
            [Some(Revision::ABSENT), Some(Revision::ADOPTED)]
        );
        assert_ne!(first.id, second.id, "a late report is not taken for it");
        assert_eq!(writer.switch(false), Some("second"));
        assert!(!writer.is_idle() && !writer.is_on());
    }
}
