//! The challenges in force, laid over what the zones have.
//!
//! A challenge makes its own name exist, and the names between it and its zone's apex, since "no data"
//! below a missing name would be contradicted by "no such name" above it (RFC 8020 §2). It takes
//! nothing away: where a wildcard answers for such a name between, it goes on answering, although
//! RFC 4592 §2.2.2 would have the name empty from then on. A certificate must not cost the service
//! that it is for.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Challenge, TTL};
use crate::dns::{Name, RrType};
use crate::zone::{Lookup, NameTable, RR_FIXED, rrs};

/// The names that challenges give records to, or make exist.
#[derive(Debug)]
pub struct ChallengeTable {
    /// In the order of [`compare`].
    names: Box<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    /// Lower-cased wire format.
    name: Box<[u8]>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A name with challenges.
    Challenges {
        /// TXT RRs, the zone's own among them, with the owner `C0 0C`.
        block: Box<[u8]>,
        /// The number of them.
        count: u16,
        /// True where the zone has no such name.
        is_new: bool,
    },
    /// A name above one with challenges.
    Above,
}

/// The records that challenges put in place of what a zone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over<'t> {
    /// These TXT records, whose number comes first.
    Txt(u16, &'t [u8]),
    /// No data: the name exists, and has nothing of the type asked.
    NoData,
}

impl ChallengeTable {
    /// The table of `challenges`, laid over `names`; `None` where none of them can be answered from
    /// there. One that was set before a reload may have no place in the new files, and waits for
    /// others.
    pub fn compile(challenges: &[Challenge], names: &NameTable) -> Option<ChallengeTable> {
        let mut values: HashMap<&Name, Vec<&Challenge>> = HashMap::new();
        for challenge in challenges {
            if challenge.subject.place(names).is_ok() {
                let owner = challenge.subject.owner();
                values.entry(owner).or_default().push(challenge);
            }
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (owner, challenges) in &values {
            entries.push(Entry::new(owner, challenges, names));
        }
        for owner in values.keys() {
            add_above(owner, names, &mut entries);
        }
        // A stable sort: of a name with challenges that is above others too, the first entry stays.
        entries.sort_by(|a, b| compare(&a.name, &b.name));
        entries.dedup_by(|a, b| a.name == b.name);
        (!entries.is_empty()).then(|| ChallengeTable {
            names: entries.into(),
        })
    }

    /// The records that stand at `name` (wire format, any case) in place of what was `found` there for
    /// `qtype`; `None` where that stands.
    pub fn over(&self, name: &[u8], qtype: RrType, found: &Lookup) -> Option<Over<'_>> {
        let entry = self.names.binary_search_by(|own| compare(&own.name, name));
        let entry = &self.names[entry.ok()?];
        match (&entry.kind, found) {
            // Another server is the authority, or an alias leads elsewhere, whatever is set here.
            (_, Lookup::Referral(..) | Lookup::Dname(..)) => None,
            (Kind::Challenges { block, count, .. }, _) if entry.answers(qtype, found) => {
                Some(Over::Txt(*count, block))
            }
            // A wildcard gives nothing to a name that is there (RFC 4592 §2.2.1).
            (Kind::Challenges { is_new: true, .. }, _) => Some(Over::NoData),
            (Kind::Above, Lookup::NxDomain) => Some(Over::NoData),
            _ => None,
        }
    }
}

impl Entry {
    fn new(owner: &Name, challenges: &[&Challenge], names: &NameTable) -> Entry {
        let mut rrset = TxtRrset::default();
        let is_new = !names.contains(owner.as_wire());
        if !is_new && let Some((_, Lookup::Hit(own))) = names.lookup(owner.as_wire(), RrType::TXT) {
            for (_, rdata) in rrs(names.block(&own)) {
                rrset.push(&[rdata]);
            }
        }
        for challenge in challenges {
            let value = challenge.value.as_str().as_bytes();
            // A value has 255 octets at most.
            rrset.push(&[&[value.len() as u8], value]);
        }
        Entry {
            name: owner.as_wire().into(),
            kind: Kind::Challenges {
                block: rrset.block.into(),
                count: rrset.count,
                is_new,
            },
        }
    }

    /// True where its TXT records answer a query that `found` this in the zone.
    fn answers(&self, qtype: RrType, found: &Lookup) -> bool {
        let Kind::Challenges { is_new, .. } = self.kind else {
            return false;
        };
        qtype == RrType::TXT && (is_new || matches!(found, Lookup::Hit(_) | Lookup::NoData))
    }
}

/// TXT RRs of one name.
#[derive(Default)]
struct TxtRrset {
    block: Vec<u8>,
    count: u16,
}

impl TxtRrset {
    /// Adds an RR with the rdata `parts`, unless it is there or there is no room for it.
    fn push(&mut self, parts: &[&[u8]]) {
        let rdata = parts.concat();
        // "TTLs of all RRs in an RRSet must be the same" (RFC 2181 §5.2).
        let mut rr = b"\xc0\x0c\0\x10\0\x01".to_vec();
        rr.extend_from_slice(&TTL.to_be_bytes());
        // TXT rdata has 65535 octets at most: that of a message, or one string.
        rr.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        rr.extend_from_slice(&rdata);
        let is_there = rrs(&self.block).any(|(_, own)| own == rdata);
        if !is_there && self.block.len() + rr.len() <= LARGEST {
            self.block.extend_from_slice(&rr);
            self.count += 1;
        }
    }
}

/// The most octets of the records of one name: an answer over TCP has room for them.
const LARGEST: usize = 60_000;
const _: () = assert!(LARGEST / RR_FIXED <= u16::MAX as usize);

/// Adds the names from `owner` to the apex of its zone, both left out.
fn add_above(owner: &Name, names: &NameTable, entries: &mut Vec<Entry>) {
    let Some((zone, _)) = names.lookup(owner.as_wire(), RrType::TXT) else {
        return;
    };
    let apex = names.origin(zone).len();
    let mut above = owner.parent();
    while let Some(name) = above.filter(|name| name.as_wire().len() > apex) {
        entries.push(Entry {
            name: name.as_wire().into(),
            kind: Kind::Above,
        });
        above = name.parent();
    }
}

/// The order of names in the table: by octets in lower case, which a search finds without labels.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let lower = u8::to_ascii_lowercase;
    a.iter().map(lower).cmp(b.iter().map(lower))
}
