//! The records of one zone as read from its master file, each with where it was written.
//!
//! Owner names and rdata lie in one arena and a record is a fixed-size entry, so that a million
//! records cost tens of megabytes and no allocation each.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::diag::At;
use crate::dns::{Name, RrType, Ttl};

/// A piece of master-file text and where it stands.
#[derive(Debug, Clone)]
pub struct Input {
    /// The file the text is in, as the operator named it.
    pub file: Arc<str>,
    /// The master-file text.
    pub text: Arc<str>,
    /// Bytes of the text at which a `\DDD` begins that stands for an octet that was not UTF-8, in
    /// order.
    pub escapes: Arc<[u32]>,
    /// Lines of the file before the text (0 where the text is the whole file): the text of a
    /// `records = '''` key stands inside its TOML file.
    pub line_offset: u32,
    /// Characters before the text on its first line.
    pub column_offset: u32,
}

impl Input {
    /// The whole of a file.
    pub fn whole(file: impl Into<Arc<str>>, text: MasterText) -> Input {
        let MasterText { text, escapes } = text;
        Input {
            file: file.into(),
            text,
            escapes,
            line_offset: 0,
            column_offset: 0,
        }
    }
}

/// The text of a master file, which may hold octets of any character set (RFC 1035 §5.1 names
/// none).
#[derive(Debug, Clone)]
pub struct MasterText {
    /// UTF-8, with what was not as `\DDD`.
    pub text: Arc<str>,
    /// Bytes of the text at which such a `\DDD` begins, in order.
    pub escapes: Arc<[u32]>,
}

impl MasterText {
    /// Takes the octets of a file of less than 1 GiB; `None` where they are mostly no text at all.
    pub fn from_octets(octets: Vec<u8>) -> Option<MasterText> {
        let octets = match String::from_utf8(octets) {
            Ok(text) => return Some(MasterText::from(Arc::from(text))),
            Err(error) => error.into_bytes(),
        };
        let mut text = String::with_capacity(octets.len() + octets.len() / 8);
        let mut escapes = Vec::new();
        for chunk in octets.utf8_chunks() {
            text.push_str(chunk.valid());
            for octet in chunk.invalid() {
                // Not truncated: of less than 1 GiB each octet becomes four at most.
                escapes.push(text.len() as u32);
                // A backslash before it escapes it already.
                let backslashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
                let escape = if backslashes % 2 == 1 { "" } else { "\\" };
                text.push_str(&format!("{escape}{octet:03}"));
            }
        }
        (escapes.len() <= octets.len() / 2).then(|| MasterText {
            text: text.into(),
            escapes: escapes.into(),
        })
    }
}

impl From<Arc<str>> for MasterText {
    fn from(text: Arc<str>) -> MasterText {
        MasterText {
            text,
            escapes: Arc::default(),
        }
    }
}

/// The source of `$INCLUDE`'s files; the parser itself touches none.
pub trait Include {
    /// Reads `path` as written in `from`, a file that [`Include::read`] or the caller named. One of
    /// more than `room` octets is refused before it is read.
    fn read(&mut self, path: &str, from: &str, room: u64) -> Result<Input, IncludeError>;

    /// Says that `input` holds records, so that its lines may be shown to whoever may change the
    /// zone.
    fn accept(&mut self, input: &Input) {
        let _ = input;
    }

    /// True where lines of `file` may be shown. Of a file that is none of a zone's, nothing is: it
    /// may hold secrets.
    fn is_accepted(&self, file: &str) -> bool {
        let _ = file;
        true
    }
}

/// A file that was not included, and the reason.
#[derive(Debug, Clone)]
pub struct IncludeError {
    /// Name of the rule, for the diagnostic.
    pub rule: &'static str,
    /// A sentence for the operator.
    pub message: String,
    /// The way to solve the problem.
    pub hint: Option<String>,
}

impl fmt::Display for IncludeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The parts of a zone that could not be read: nothing is reported missing there.
#[derive(Debug, Default, Clone)]
pub struct Unread {
    /// Names with a record or a service that could not be read, which may have others below them.
    pub names: Vec<Name>,
    /// There may be more, at any name.
    pub anywhere: bool,
}

impl Unread {
    /// True where `name` may have records or a service that could not be read.
    pub fn covers(&self, name: &Name) -> bool {
        self.anywhere || self.names.iter().any(|unread| covers(unread, name))
    }
}

fn covers(unread: &Name, name: &Name) -> bool {
    // What was to stand at a wildcard answers for names beside it.
    match unread.parent() {
        Some(parent) if unread.is_wildcard() => name.is_within(&parent),
        _ => name.is_within(unread),
    }
}

/// The records of one zone, in the order they were written.
#[derive(Debug, Default, Clone)]
pub struct Records {
    files: Vec<Arc<str>>,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// The number of times that the owner changed from one record to the next.
    runs: usize,
    /// The parts that could not be read.
    pub unread: Unread,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    owner: u32,
    /// [`hash`] of the owner, taken while its octets are at hand.
    owner_hash: u32,
    rdata: u32,
    ttl: u32,
    line: u32,
    rtype: u16,
    rdata_len: u16,
    column: u16,
    file: u16,
    owner_len: u8,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Owner name, uncompressed wire format, in the case it was written in.
    pub owner: &'a [u8],
    /// Its type.
    pub rtype: RrType,
    /// Its TTL.
    pub ttl: Ttl,
    /// Rdata in wire format, names in it uncompressed.
    pub rdata: &'a [u8],
    file: &'a Arc<str>,
    line: u32,
    column: u16,
}

impl Record<'_> {
    /// The owner as a [`Name`].
    pub fn owner_name(&self) -> Name {
        Name::from_wire(self.owner).expect("records hold valid names")
    }

    /// The place where the record was written.
    pub fn at(&self) -> At {
        At::new(self.file.clone(), self.line, u32::from(self.column), 0)
    }
}

impl Records {
    /// Takes out the records at these places; what they took in memory stays.
    pub fn remove(&mut self, places: &HashSet<usize>) {
        let mut place = 0..;
        self.entries
            .retain(|_| place.next().is_some_and(|place| !places.contains(&place)));
    }

    /// Counts the records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without any record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The `index`th record; panics past the end.
    pub fn get(&self, index: usize) -> Record<'_> {
        let e = &self.entries[index];
        let slice = |start: u32, len: usize| &self.arena[start as usize..start as usize + len];
        Record {
            owner: slice(e.owner, usize::from(e.owner_len)),
            rtype: RrType(e.rtype),
            ttl: Ttl::from_secs(e.ttl).expect("stored from a Ttl"),
            rdata: slice(e.rdata, usize::from(e.rdata_len)),
            file: &self.files[usize::from(e.file)],
            line: e.line,
            column: e.column,
        }
    }

    /// All records, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Appends a record. `owner` and the names in `rdata` are uncompressed wire format; an owner
    /// equal to the previous record's, octet for octet, is stored once. Panics where the arena
    /// would pass 4 GiB or the rdata 65 535 octets: the parser refuses both before.
    pub fn push(
        &mut self,
        owner: &[u8],
        rtype: RrType,
        ttl: Ttl,
        rdata: &[u8],
        at: (&Arc<str>, u32, u32),
    ) {
        let (file, line, column) = at;
        let file = self.file_id(file);
        let (owner_at, owner_hash) = match self.entries.last() {
            Some(last)
                if &self.arena
                    [last.owner as usize..last.owner as usize + usize::from(last.owner_len)]
                    == owner =>
            {
                (last.owner, last.owner_hash)
            }
            _ => {
                self.runs += 1;
                (self.store(owner), hash(owner))
            }
        };
        let rdata_at = self.store(rdata);
        self.entries.push(Entry {
            owner: owner_at,
            owner_hash,
            rdata: rdata_at,
            ttl: ttl.secs(),
            line,
            rtype: rtype.0,
            rdata_len: u16::try_from(rdata.len()).expect("rdata has at most 65535 octets"),
            column: u16::try_from(column).unwrap_or(u16::MAX),
            file: u16::try_from(file).expect("a zone has at most 65535 files"),
            owner_len: u8::try_from(owner.len()).expect("a name has at most 255 octets"),
        });
    }

    /// The index of a file. Records mostly come from the file of the one before, whose name is the
    /// same piece of memory: a million records compare no text.
    fn file_id(&mut self, file: &Arc<str>) -> usize {
        if let Some(last) = self.files.last()
            && (Arc::ptr_eq(last, file) || last == file)
        {
            return self.files.len() - 1;
        }
        if let Some(known) = self.files.iter().position(|known| known == file) {
            return known;
        }
        self.files.push(file.clone());
        self.files.len() - 1
    }

    /// At least as many as there are different owners; as many where each one's records stand
    /// together.
    pub(super) fn owner_runs(&self) -> usize {
        self.runs
    }

    /// [`hash`] of the `index`th record's owner.
    pub(super) fn owner_hash(&self, index: usize) -> u32 {
        self.entries[index].owner_hash
    }

    /// Octets of names and rdata stored so far: what [`Records::push`] limits to 4 GiB.
    pub(super) fn stored(&self) -> usize {
        self.arena.len()
    }

    fn store(&mut self, bytes: &[u8]) -> u32 {
        let at = u32::try_from(self.arena.len()).expect("a zone's text is limited below 4 GiB");
        self.arena.extend_from_slice(bytes);
        at
    }
}

/// A hash of an uncompressed name, cut to 32 bits; the same for names that differ in case only.
#[inline]
pub(super) fn hash(name: &[u8]) -> u32 {
    // A fixed seed: only the operator's own names are keys.
    let mut hasher = FixedState::with_seed(name.len() as u64).build_hasher();
    let (chunks, rest) = name.as_chunks::<16>();
    for chunk in chunks {
        hasher.write_u128(to_lowercase(u128::from_le_bytes(*chunk)));
    }
    // What is left is read with octets before it, or twice over where there are none: two reads and
    // no loop.
    let word = |at: usize| u64::from_le_bytes(name[at..at + 8].try_into().expect("eight octets"));
    let half = |at: usize| {
        u64::from(u32::from_le_bytes(
            name[at..at + 4].try_into().expect("four octets"),
        ))
    };
    let (low, high) = match (name.len(), rest.len()) {
        (_, 0) => return hasher.finish() as u32,
        (16.., _) => (word(name.len() - 16), word(name.len() - 8)),
        (8.., _) => (word(0), word(name.len() - 8)),
        (4.., _) => (half(0), half(name.len() - 4)),
        _ => (
            name.iter()
                .fold(0, |all, octet| all << 8 | u64::from(*octet)),
            0,
        ),
    };
    hasher.write_u128(to_lowercase(u128::from(low) | u128::from(high) << 64));
    hasher.finish() as u32
}

/// Sixteen octets with ASCII letters in lower case, all at once. No length octet of a label is a
/// letter.
#[inline]
fn to_lowercase(octets: u128) -> u128 {
    const ONES: u128 = u128::MAX / 0xff;
    let low_bits = octets & (ONES * 0x7f);
    // Bit 7 of an octet is set in the first where it is at least `A`, in the second where it is
    // past `Z`.
    let (from_a, past_z) = (
        low_bits + ONES * (0x80 - 0x41),
        low_bits + ONES * (0x80 - 0x5b),
    );
    let upper = (from_a ^ past_z) & !octets & (ONES * 0x80);
    octets | upper >> 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_octet_is_lowered_as_the_standard_library_does() {
        for octet in 0..=u8::MAX {
            let lowered = to_lowercase(u128::from_le_bytes([octet; 16])).to_le_bytes();
            assert_eq!(lowered, [octet.to_ascii_lowercase(); 16]);
        }
    }

    proptest! {
        #[test]
        fn names_that_differ_in_case_only_have_one_hash(octets in proptest::collection::vec(any::<u8>(), 1..60)) {
            prop_assert_eq!(hash(&octets), hash(&octets.to_ascii_uppercase()));
            prop_assert_ne!(hash(&octets), hash(&[&octets[..], &[1]].concat()));
            for at in 0..octets.len() {
                let mut other = octets.clone();
                other[at] ^= 1;
                prop_assert_ne!(hash(&octets), hash(&other), "every octet counts");
            }
        }
    }
}
