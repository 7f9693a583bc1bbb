//! The records of one zone as read from its master file, each with where it was written.
//!
//! Owner names and rdata lie in one arena and a record is a fixed-size entry, so that a million
//! records cost tens of megabytes and no allocation each.

use std::sync::Arc;

use crate::diag::At;
use crate::dns::{Name, RrType, Ttl};

/// A piece of master-file text and where it stands.
#[derive(Debug, Clone)]
pub struct Input {
    /// The file the text is in, as the operator named it.
    pub file: Arc<str>,
    /// The master-file text.
    pub text: Arc<str>,
    /// Lines of the file before the text (0 where the text is the whole file): the text of a
    /// `records = '''` key stands inside its TOML file.
    pub line_offset: u32,
    /// Characters before the text on its first line.
    pub column_offset: u32,
}

/// Where `$INCLUDE` gets its files from; the parser itself touches none.
pub trait Include {
    /// Reads `path` as written in `from`, a file that [`Include::read`] or the caller named.
    /// The error is a sentence for the operator.
    fn read(&mut self, path: &str, from: &str) -> Result<Input, String>;
}

/// The records of one zone, in the order they were written.
#[derive(Debug, Default, Clone)]
pub struct Records {
    files: Vec<Arc<str>>,
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    owner: u32,
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

    /// Where the record was written.
    pub fn at(&self) -> At {
        At::new(self.file.clone(), self.line, u32::from(self.column), 0)
    }
}

impl Records {
    /// How many records there are.
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
    pub fn push(&mut self, owner: &[u8], rtype: RrType, ttl: Ttl, rdata: &[u8], at: (&Arc<str>, u32, u32)) {
        let (file, line, column) = at;
        let file = match self.files.last() {
            Some(last) if Arc::ptr_eq(last, file) || last == file => self.files.len() - 1,
            _ => self.files.iter().position(|known| known == file).unwrap_or_else(|| {
                self.files.push(file.clone());
                self.files.len() - 1
            }),
        };
        let owner_at = match self.entries.last() {
            Some(last) if &self.arena[last.owner as usize..last.owner as usize + usize::from(last.owner_len)] == owner => {
                last.owner
            }
            _ => self.store(owner),
        };
        let rdata_at = self.store(rdata);
        self.entries.push(Entry {
            owner: owner_at,
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
