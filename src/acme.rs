//! ACME challenges: TXT records at `_acme-challenge.NAME` that operators set beside the zone files,
//! for a day at most (RFC 8555 §8.4).
//!
//! ```text
//! ChallengeRequest ─► Store ─► write ─► on the disk ─► Challenge ─► ChallengeTable, in the snapshot
//! ```
//! [`Store`] is a state machine without clock or I/O: a challenge is checked against the zones,
//! written, and in force once it is on the disk; time ends it. [`ChallengeTable`] lays those in force
//! over what the zones have. It is compiled whenever they change, and most servers never have one.

mod store;
mod table;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dns::{Name, NameError, RrType};
use crate::model::{Moment, WallTime};
use crate::zone::{Lookup, NameTable};

pub use store::{Output, Rejected, Store, StoredChallenges};
pub use table::{ChallengeTable, Over};

/// The label below which challenges lie (RFC 8555 §8.4).
pub const LABEL: &str = "_acme-challenge";
/// TTL of challenges, in seconds. An authority asks once, and one that has kept an older value would
/// refuse the certificate, so that nothing is gained by a longer one. It is not 0, which some caches
/// take for an error.
pub const TTL: u32 = 1;
/// The longest time that a challenge lasts.
pub const LONGEST: Duration = Duration::from_secs(86_400);
/// The time that a challenge lasts where nothing else is said.
pub const USUAL: Duration = Duration::from_secs(3600);
/// The most challenges that there may be.
pub const MOST: usize = 1000;
/// The most challenges of one name: a wildcard and its base need two, and several clients that renew
/// at once two each.
pub const MOST_OF_A_NAME: usize = 50;
/// The most octets of a value: it is one string of a TXT record (RFC 1035 §3.3).
const LONGEST_VALUE: usize = 255;

/// The value of a challenge: base64url without padding, 1 … 255 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Value(String);

/// A reason why a text is no [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadValue {
    /// It is empty.
    Empty,
    /// It has this many octets.
    TooLong(usize),
    /// It has a character that base64url has not.
    Character(char),
}

/// A challenge in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The name that the certificate is for.
    pub subject: Subject,
    /// Its value.
    pub value: Value,
    /// Whoever set it.
    pub by: String,
    /// The moment at which it ends.
    pub until: Moment,
}

/// A request to set a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeRequest {
    /// The name that the certificate is for.
    pub subject: Subject,
    /// The value.
    pub value: Value,
    /// Whoever asks.
    pub by: String,
    /// The time for which it lasts; at most [`LONGEST`].
    pub lasts: Duration,
}

/// The name that a certificate is for, lower-cased; with the owner name of its challenges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject {
    name: Name,
    owner: Name,
}

/// A reason why a text is no [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadSubject {
    /// It is no name.
    NotAName(NameError),
    /// It is the owner of the record and not the name that the certificate is for.
    HasLabel,
    /// With the label it is longer than a name may be.
    TooLong,
}

/// A reason why a challenge cannot be answered from a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The name lies in no zone of ours.
    NotOurs,
    /// Another server is the authority for it: it lies below a delegation.
    Delegated,
    /// It lies below a DNAME, which leads elsewhere.
    Dname,
    /// The zone has a CNAME there, beside which no other record may stand (RFC 1034 §3.6.2).
    Cname,
    /// A service has the name.
    Service,
}

/// An event in the life of a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The challenge.
    pub challenge: Challenge,
    /// The change.
    pub change: ChallengeChange,
}

/// A change of a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeChange {
    /// It is in force.
    Set,
    /// It was in force, and ends later now.
    Renewed,
    /// It was cleared, by this operator.
    Cleared(String),
    /// Its time is over.
    Ended,
}

impl Value {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Value {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Value, BadValue> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        match text.chars().find(|c| !is_plain(*c)) {
            _ if text.is_empty() => Err(BadValue::Empty),
            Some(c) => Err(BadValue::Character(c)),
            None if text.len() > LONGEST_VALUE => Err(BadValue::TooLong(text.len())),
            None => Ok(Value(text)),
        }
    }
}

impl From<Value> for String {
    fn from(value: Value) -> String {
        value.0
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadValue::Empty => f.write_str("the value is empty"),
            BadValue::TooLong(length) => write!(
                f,
                "the value has {length} octets; the limit is {LONGEST_VALUE}"
            ),
            BadValue::Character(c) => write!(
                f,
                "the value has the character {c:?}: ACME clients make values of letters, digits, \
                 - and _ (base64url)"
            ),
        }
    }
}

impl std::error::Error for BadValue {}

impl Subject {
    /// Reads the name that a certificate is for, absolute with or without a final dot. A wildcard
    /// stands for the name below which it is: both have their challenges there.
    pub fn parse(text: &str) -> Result<Subject, BadSubject> {
        let mut name = Name::from_text(text, Some(&Name::root()))
            .map_err(BadSubject::NotAName)?
            .to_lowercase();
        while name.is_wildcard()
            && let Some(base) = name.parent()
        {
            name = base;
        }
        if name.labels().next() == Some(LABEL.as_bytes()) {
            return Err(BadSubject::HasLabel);
        }
        let owner = Name::from_text(LABEL, Some(&name)).map_err(|_| BadSubject::TooLong)?;
        Ok(Subject { name, owner })
    }

    /// The owner name of its challenges, lower-cased.
    pub fn owner(&self) -> &Name {
        &self.owner
    }

    /// Says whether `names` leave room for a challenge.
    ///
    /// # Errors
    /// [`NoPlace`] where they do not.
    pub fn place(&self, names: &NameTable) -> Result<(), NoPlace> {
        let owner = self.owner.as_wire();
        let (_, found) = names.lookup(owner, RrType::TXT).ok_or(NoPlace::NotOurs)?;
        // What a wildcard gives is not there: it gives way to a name of its own.
        let is_own = names.contains(owner);
        match found {
            Lookup::Referral(..) => Err(NoPlace::Delegated),
            Lookup::Dname(..) => Err(NoPlace::Dname),
            Lookup::Cname(_) if is_own => Err(NoPlace::Cname),
            Lookup::Service(_) | Lookup::Epoch(_) if is_own => Err(NoPlace::Service),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl TryFrom<String> for Subject {
    type Error = BadSubject;

    fn try_from(text: String) -> Result<Subject, BadSubject> {
        Subject::parse(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

impl fmt::Display for BadSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadSubject::NotAName(error) => error.fmt(f),
            BadSubject::HasLabel => write!(
                f,
                "write the name that the certificate is for, without {LABEL}"
            ),
            BadSubject::TooLong => write!(
                f,
                "the name is too long: with {LABEL} before it, it has more than 255 octets"
            ),
        }
    }
}

impl std::error::Error for BadSubject {}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoPlace::NotOurs => "it lies in no zone of this server",
            NoPlace::Delegated => "it lies below a delegation: set the challenge at its servers",
            NoPlace::Dname => "it lies below a DNAME: set the challenge where that leads",
            NoPlace::Cname => {
                "the zone has a CNAME at its challenge: set the challenge where that leads"
            }
            NoPlace::Service => "a service has the name of its challenge",
        })
    }
}

impl std::error::Error for NoPlace {}

impl Event {
    /// Its kind, as a metric's label.
    pub fn as_label(&self) -> &'static str {
        match self.change {
            ChallengeChange::Set => "set",
            ChallengeChange::Renewed => "renewed",
            ChallengeChange::Cleared(_) => "cleared",
            ChallengeChange::Ended => "ended",
        }
    }

    /// The sentence of it, with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> String {
        let Challenge {
            subject: name,
            value,
            by,
            until,
        } = &self.challenge;
        let (value, until) = (value.as_str(), wall.show(*until));
        match &self.change {
            ChallengeChange::Set => {
                format!("ACME challenge of {name} is set until {until}, by {by}: {value}")
            }
            ChallengeChange::Renewed => {
                format!("ACME challenge of {name} is renewed until {until}, by {by}: {value}")
            }
            ChallengeChange::Cleared(by) => {
                format!("ACME challenge of {name} is cleared, by {by}: {value}")
            }
            ChallengeChange::Ended => format!("ACME challenge of {name} has ended: {value}"),
        }
    }
}

#[cfg(test)]
mod tests;
