//! Answers that are kept by idempotency key: a request that is sent again gets the answer of the
//! first, and is not carried out twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Problem;

/// The most answers that are kept.
const MOST: usize = 1000;
/// The octets that all of them may have.
const OCTETS: usize = 4 << 20;
/// The time for which an answer is kept.
const AGE: Duration = Duration::from_secs(3600);

/// An answer of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, self.media_type)];
        (self.status, kind, self.body).into_response()
    }
}

/// An idempotency key, and all of the request that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The caller, and the key that it chose.
    pub(super) key: (String, String),
    /// A digest of method, path, query and body.
    pub(super) digest: [u8; 32],
}

/// The answers by key.
#[derive(Debug, Default)]
pub struct KeptAnswers(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    entries: HashMap<(String, String), Entry>,
    /// The octets of all answers.
    octets: usize,
}

#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    since: Instant,
    /// `None` while the request is under way.
    answer: Option<Answer>,
}

impl KeptAnswers {
    /// The answer that is kept for `mark`; `None` for a request that is new, and under way from now
    /// on.
    ///
    /// # Errors
    /// A problem where the key stands for another request, or for one that is under way.
    pub(super) fn begin(&self, mark: &Mark, now: Instant) -> Result<Option<Answer>, Problem> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(now);
        if let Some(entry) = kept.entries.get(&mark.key) {
            if entry.digest != mark.digest {
                return Err(Problem::wrong(
                    "Idempotency-Key",
                    "key-reused",
                    "another request had this key: choose a new one for each request",
                ));
            }
            return match &entry.answer {
                Some(answer) => Ok(Some(answer.clone())),
                None => Err(Problem::refused(
                    "the first request with this key is under way: send it again in a moment",
                )
                .of_field("Idempotency-Key")
                .breaking("under-way")),
            };
        }
        let entry = Entry {
            digest: mark.digest,
            since: now,
            answer: None,
        };
        kept.entries.insert(mark.key.clone(), entry);
        Ok(None)
    }

    /// Keeps the answer of a request that has ended; without one, the next request with the key is
    /// carried out.
    pub(super) fn end(&self, mark: &Mark, answer: Option<Answer>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            None => drop(kept.entries.remove(&mark.key)),
            Some(answer) => {
                kept.octets += answer.body.len();
                if let Some(entry) = kept.entries.get_mut(&mark.key) {
                    entry.answer = Some(answer);
                }
            }
        }
    }
}

impl Entries {
    /// Removes what is too old, and the oldest of what is too much. A request that is under way
    /// stays: it would be carried out twice.
    fn forget(&mut self, now: Instant) {
        let octets = &mut self.octets;
        self.entries.retain(|_, entry| {
            let is_old = now.duration_since(entry.since) >= AGE;
            let Some(answer) = entry.answer.as_ref().filter(|_| is_old) else {
                return true;
            };
            *octets -= answer.body.len();
            false
        });
        while self.entries.len() >= MOST || self.octets > OCTETS {
            let ended = self.entries.iter().filter(|(_, own)| own.answer.is_some());
            let oldest = ended.min_by_key(|(_, own)| own.since);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            let removed = self.entries.remove(&key).and_then(|entry| entry.answer);
            self.octets -= removed.map_or(0, |answer| answer.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(key: &str, digest: u8) -> Mark {
        Mark {
            key: ("anna".to_owned(), key.to_owned()),
            digest: [digest; 32],
        }
    }

    fn answer(octets: usize) -> Answer {
        Answer {
            status: StatusCode::OK,
            media_type: "application/json",
            body: vec![b'x'; octets],
        }
    }

    #[track_caller]
    fn refused(result: Result<Option<Answer>, Problem>, rule: &str) {
        let problem = result.unwrap_err();
        assert_eq!(problem.document().rule.as_deref(), Some(rule));
    }

    #[test]
    fn a_key_stands_for_one_request_and_its_answer() {
        let (kept, now) = (KeptAnswers::default(), Instant::now());
        assert_eq!(kept.begin(&mark("k", 1), now).unwrap(), None);
        refused(kept.begin(&mark("k", 1), now), "under-way");
        kept.end(&mark("k", 1), Some(answer(3)));
        assert_eq!(kept.begin(&mark("k", 1), now).unwrap(), Some(answer(3)));
        refused(kept.begin(&mark("k", 2), now), "key-reused");
        let mut other = mark("k", 2);
        other.key.0 = "bert".to_owned();
        assert_eq!(kept.begin(&other, now).unwrap(), None);
        // What failed for no fault of the request may be tried again.
        kept.end(&other, None);
        assert_eq!(kept.begin(&other, now).unwrap(), None);
        let later = now + AGE;
        assert_eq!(kept.begin(&mark("k", 2), later).unwrap(), None);
    }

    #[test]
    fn the_oldest_answers_go_when_there_are_too_many_or_too_large_ones() {
        let (kept, began) = (KeptAnswers::default(), Instant::now());
        for number in 0..=MOST {
            let at = began + Duration::from_millis(number as u64);
            let mark = mark(&number.to_string(), 1);
            assert_eq!(kept.begin(&mark, at).unwrap(), None);
            kept.end(&mark, Some(answer(1)));
        }
        let now = began + Duration::from_secs(10);
        assert_eq!(kept.begin(&mark("0", 1), now).unwrap(), None);
        assert_eq!(kept.begin(&mark("999", 1), now).unwrap(), Some(answer(1)));
        kept.end(&mark("0", 1), Some(answer(OCTETS + 1)));
        assert_eq!(kept.begin(&mark("one more", 1), now).unwrap(), None);
        let entries = kept.0.lock().unwrap();
        assert!(entries.octets <= OCTETS && entries.entries.len() <= MOST);
    }
}
