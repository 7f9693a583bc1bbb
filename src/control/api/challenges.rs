//! ACME challenges, as documents have them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Present;
use crate::acme::{Challenge, Subject, TTL};
use crate::model::WallTime;

/// A challenge.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChallengeDocument {
    /// The name that the certificate is for.
    pub name: String,
    /// The owner name of the TXT record.
    pub record: String,
    /// Its value.
    pub value: String,
    /// The TTL that it is answered with, in seconds.
    pub ttl: u32,
    /// The party that set it.
    pub by: String,
    /// The time of its end, in RFC 3339.
    pub until: String,
}

impl ChallengeDocument {
    fn new(challenge: &Challenge, wall: WallTime) -> ChallengeDocument {
        ChallengeDocument {
            name: challenge.subject.to_string(),
            record: challenge.subject.owner().to_string(),
            value: challenge.value.as_str().to_owned(),
            ttl: TTL,
            by: challenge.by.clone(),
            until: wall.show(challenge.until).to_string(),
        }
    }
}

/// Every challenge that `is_meant`.
pub(super) fn list(
    present: &Present,
    is_meant: impl Fn(&Challenge) -> bool,
) -> Vec<ChallengeDocument> {
    let challenges = present.view.challenges.iter();
    challenges
        .filter(|challenge| is_meant(challenge))
        .map(|challenge| ChallengeDocument::new(challenge, present.wall))
        .collect()
}

/// The challenges of a name, as a request has it.
pub(super) fn challenges_of(present: &Present, name: &str) -> Vec<ChallengeDocument> {
    match Subject::parse(name) {
        Ok(subject) => list(present, |own| own.subject == subject),
        Err(_) => Vec::new(),
    }
}
