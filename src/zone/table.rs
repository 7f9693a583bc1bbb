//! The name table: every owner name of every zone, found by one hash of the wire name that ignores case.
//!
//! ```text
//! name ──hash──▶ index line ──▶ record: zone │ name │ service │ RRset: RR, RR, … │ RRset …
//!                              └──▶ record of the topmost cut or DNAME above it, of the wildcard below it
//! ```
//!
//! A name's record holds all there is about it in one stretch of one arena, its RRsets as they go on
//! the wire; it begins where it touches the fewest cache lines. So a hit reads one line of the index
//! and, where the record is no longer than a line, one more: two lines for a name with an address.
//!
//! A name that is not there is shortened label by label until one is: the closest encloser
//! (RFC 4592 §3.3.1). Its record knows the wildcard below it and the cut above it, so a miss costs one
//! line of the index per missing label, and two for the encloser; then one for the wildcard's or the
//! cut's record, or for the zone's SOA. Names of more labels than the deepest that there is, or of fewer
//! than the topmost zone, are not looked for: a query cannot make a miss long, and one for a name of
//! none of our zones is cheap.
//!
//! **Blocks.** An RRset is kept as it goes on the wire, each RR with the owner `C0 0C` (the
//! question's name). Where a name in rdata may be compressed (RFC 3597 §4) and ends in the zone's
//! origin, it ends in two octets that are patched with a pointer to the origin inside the question:
//! a name asked of a zone always ends in its origin. [`NameTable::pointers`] says where.
//!
//! **Records.** A record is 8 octets, the name, and then the fields that it has:
//!
//! | octets | |
//! |---|---|
//! | 4 | zone |
//! | 1, 1, 2 | length of the name, flags ([`SERVICE`], [`CUT`], [`WILDCARD`]), number of RRsets |
//! | name | lower-cased wire format |
//! | 4 for each flag | service; record of the topmost cut or DNAME at or above the name, inside its zone; record of the wildcard directly below it |
//!
//! An RRset in it is 8 octets (type, RRs, length of the block, number of pointers: 2 each), the block,
//! 2 octets a pointer, and for NS, MX and SRV 4 octets an RR: the record of its in-zone target, or
//! [`NONE`]. Numbers are in the machine's byte order; records are known by their offset.

mod build;
mod canonical;
mod index;

pub use build::ZoneInput;
pub use canonical::{CanonicalName, CanonicalNames, CanonicalRrset};
use index::Index;

use super::records::hash;
use crate::dns::RrType;
use crate::model::{ServiceId, ZoneId};
use crate::prefetch;

/// No record or service.
const NONE: u32 = u32::MAX;
/// The bit of a record's service that says that the name is not the service's own, but says who owns it.
const EPOCH: u32 = 1 << 31;
/// Flags of the fields that a record has.
const SERVICE: u8 = 1;
const CUT: u8 = 2;
const WILDCARD: u8 = 4;
/// Octets before a record's name, and before an RRset's block.
const FIXED: usize = 8;

/// Every name of every zone.
#[derive(Debug, Default)]
pub struct NameTable {
    index: Index,
    arena: Vec<u8>,
    zones: Vec<Apex>,
    names: usize,
    /// By [`ZoneId`]: the number of its names.
    counts: Vec<usize>,
    /// The records of names that a zone has at or below the origin of another zone of ours: a
    /// delegation and its glue. The index has these names for the zone below.
    handed_over: Vec<u32>,
    /// Labels of the name that has the most, and of the zone that has the fewest.
    deepest: usize,
    shallowest: usize,
}

/// One owner name, as its record says.
#[derive(Debug, Clone, Copy)]
struct Node<'t> {
    name: &'t [u8],
    zone: ZoneId,
    service: u32,
    /// The topmost cut or DNAME at or above the name, inside its zone.
    cut: u32,
    /// The wildcard directly below the name.
    wildcard: u32,
    rrsets: usize,
    rrset_count: u16,
}

/// One RRset: a block of ready RRs.
#[derive(Debug, Clone, Copy)]
pub struct Rrset {
    block: u32,
    len: u16,
    pointers: u16,
    /// Its type.
    pub rtype: RrType,
    /// The number of its RRs.
    pub count: u16,
}

/// One zone's apex.
#[derive(Debug, Clone, Copy)]
pub struct Apex {
    record: u32,
    /// Length of the origin in wire format.
    pub origin_len: u8,
    /// The SOA as negative answers carry it: TTL min(SOA TTL, MINIMUM) (RFC 2308 §3).
    pub negative_soa: Rrset,
    /// The zone that delegates to this one, where it is ours too, and its DS RRset: it answers DS.
    parent: Option<(ZoneId, Option<Rrset>)>,
}

/// The result of a lookup of a name and type in the zone it belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Lookup {
    /// A static RRset of the type asked.
    Hit(Rrset),
    /// A static CNAME, and another type was asked.
    Cname(Rrset),
    /// A DNAME above the name; with it the length of its owner.
    Dname(Rrset, u8),
    /// A service, which decides itself what types it has.
    Service(ServiceId),
    /// The name that says who owns a unit.
    Epoch(ServiceId),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// A delegation; with the NS RRset the length of the cut's name.
    Referral(Rrset, u8),
}

/// A name's place in the index, to be looked up by; see [`NameTable::key`].
#[derive(Debug, Clone, Copy)]
pub struct Key {
    hash: u32,
    /// The record that may be its own; 0 before it is known.
    likely: u32,
}

impl NameTable {
    /// The key of a wire-format name in any case, whether it is there or not.
    #[inline]
    pub fn key(&self, qname: &[u8]) -> Key {
        Key {
            hash: hash(qname),
            likely: 0,
        }
    }

    /// Has the memory fetched that a lookup reads first. With [`NameTable::fetch_record`] a little later, a batch of
    /// lookups waits for memory together.
    #[inline]
    pub fn fetch_index(&self, key: Key) {
        self.index.fetch(key.hash);
    }

    /// Has the memory fetched that a lookup reads next, and notes in the key where that is.
    #[inline]
    pub fn fetch_record(&self, key: &mut Key) {
        if let Some(record) = self.index.likely(key.hash) {
            prefetch::fetch(&self.arena, record as usize);
            key.likely = record;
        }
    }

    /// Finds the zone of `qname` (wire format, any case) and what it has for `qtype`; `None` outside our zones.
    pub fn lookup(&self, qname: &[u8], qtype: RrType) -> Option<(ZoneId, Lookup)> {
        self.lookup_key(self.key(qname), qname, qtype)
    }

    /// Looks up like [`NameTable::lookup`]; `key` is that of `qname`.
    #[inline(always)]
    pub fn lookup_key(&self, key: Key, qname: &[u8], qtype: RrType) -> Option<(ZoneId, Lookup)> {
        match self.find(key, qname) {
            Some(record) => Some(self.at_name(record, qtype)),
            None => self.missing(qname, qtype),
        }
    }

    /// True where a zone has a name of its own (wire format, any case), be it a non-terminal without
    /// records; what a wildcard gives is none.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.find(self.key(name), name).is_some()
    }

    /// For a name that is not there.
    #[inline(never)]
    fn missing(&self, qname: &[u8], qtype: RrType) -> Option<(ZoneId, Lookup)> {
        let mut rest = qname;
        let mut labels = label_count(qname);
        while labels > self.shallowest {
            rest = &rest[1 + usize::from(rest[0])..];
            labels -= 1;
            if labels <= self.deepest
                && let Some(record) = self.find(self.key(rest), rest)
            {
                let encloser = self.node(record);
                return Some((encloser.zone, self.below(&encloser, qtype)));
            }
        }
        None
    }

    /// The apex of a zone.
    pub fn apex(&self, zone: ZoneId) -> &Apex {
        &self.zones[zone.index()]
    }

    /// The serial of a zone's SOA.
    pub fn serial(&self, zone: ZoneId) -> u32 {
        // "SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM" end the RDATA, 32 bits each (RFC 1035 §3.3.13).
        let soa = self.block(&self.apex(zone).negative_soa);
        let numbers = soa.last_chunk::<20>();
        let serial = numbers.and_then(|numbers| numbers.first_chunk());
        serial.map_or(0, |serial| u32::from_be_bytes(*serial))
    }

    /// The origin of a zone, lower-cased wire format.
    pub fn origin(&self, zone: ZoneId) -> &[u8] {
        self.node(self.zones[zone.index()].record).name
    }

    /// The RRs of an RRset, owners `C0 0C`, origin pointers not patched.
    #[inline]
    pub fn block(&self, rrset: &Rrset) -> &[u8] {
        &self.arena[rrset.block as usize..][..usize::from(rrset.len)]
    }

    /// Offsets in the block of the octet pairs that are to point at the origin, each in the machine's byte order.
    #[inline]
    pub fn pointers(&self, rrset: &Rrset) -> &[[u8; 2]] {
        let start = rrset.block as usize + usize::from(rrset.len);
        self.arena[start..start + 2 * usize::from(rrset.pointers)]
            .as_chunks()
            .0
    }

    /// The address RRsets of the in-zone target of RR `index` of an NS, MX or SRV RRset, and whether
    /// they are in-domain glue (RFC 9471 §2.1): the target lies below the cut that the RRset is.
    pub fn target_addresses(
        &self,
        rrset: &Rrset,
        index: usize,
    ) -> impl Iterator<Item = (Rrset, bool)> {
        let target = match target_offset(rrset.rtype) {
            Some(_) => self.word(rrset.links() + 4 * index),
            None => NONE,
        };
        let node = (target != NONE).then(|| self.node(target));
        node.into_iter().flat_map(|node| {
            let cut = (node.cut != NONE)
                .then(|| self.rrset_of(&self.node(node.cut), RrType::NS))
                .flatten();
            let in_domain = cut.is_some_and(|cut| cut.block == rrset.block);
            let addresses = self
                .rrsets_of(&node)
                .filter(|set| matches!(set.rtype, RrType::A | RrType::AAAA));
            addresses.map(move |set| (set, in_domain))
        })
    }

    /// Every name that has records or a service, lower-cased wire format, in no particular order. What says who owns a unit
    /// is none.
    pub fn owners(&self) -> impl Iterator<Item = &[u8]> {
        let nodes = self.index.records().map(|record| self.node(record));
        let has_any = |node: &Node<'_>| {
            node.rrset_count > 0 || (node.service != NONE && node.service & EPOCH == 0)
        };
        nodes.filter(has_any).map(|node| node.name)
    }

    /// Counts the names of one zone likewise.
    pub fn count(&self, zone: ZoneId) -> usize {
        self.counts[zone.index()]
    }

    /// Counts the names, empty non-terminals among them.
    pub fn len(&self) -> usize {
        self.names
    }

    /// True without any name.
    pub fn is_empty(&self) -> bool {
        self.names == 0
    }

    #[inline(always)]
    fn at_name(&self, record: u32, qtype: RrType) -> (ZoneId, Lookup) {
        let node = self.node(record);
        if node.cut != NONE {
            // "the DS RRset ... is in the parent" (RFC 4035 §3.1.4.1): asked at the cut, it is ours to answer.
            if node.cut == record && qtype == RrType::DS {
                return (
                    node.zone,
                    self.rrset_of(&node, qtype)
                        .map_or(Lookup::NoData, Lookup::Hit),
                );
            }
            if let Some(lookup) = self.cut_above(&node, record) {
                return (node.zone, lookup);
            }
        }
        if qtype == RrType::DS
            && let Apex {
                record: apex,
                parent: Some((parent, ds)),
                ..
            } = self.zones[node.zone.index()]
            && apex == record
        {
            return (parent, ds.map_or(Lookup::NoData, Lookup::Hit));
        }
        (node.zone, self.at_node(&node, qtype))
    }

    #[inline]
    fn at_node(&self, node: &Node<'_>, qtype: RrType) -> Lookup {
        for set in self.rrsets_of(node) {
            if set.rtype == qtype {
                return Lookup::Hit(set);
            }
            if set.rtype == RrType::CNAME {
                return Lookup::Cname(set);
            }
        }
        match node.service {
            NONE => Lookup::NoData,
            service if service & EPOCH != 0 => Lookup::Epoch(ServiceId(service & !EPOCH)),
            service => Lookup::Service(ServiceId(service)),
        }
    }

    /// For a name that is not there: `encloser` is its closest encloser.
    fn below(&self, encloser: &Node<'_>, qtype: RrType) -> Lookup {
        if encloser.cut != NONE
            && let Some(lookup) = self.cut_above(encloser, NONE)
        {
            return lookup;
        }
        match encloser.wildcard {
            NONE => Lookup::NxDomain,
            wildcard => self.at_node(&self.node(wildcard), qtype),
        }
    }

    /// Returns the result of the topmost cut or DNAME over `node`; `None` where the name asked is
    /// the DNAME's own.
    fn cut_above(&self, node: &Node<'_>, asked: u32) -> Option<Lookup> {
        let cut = self.node(node.cut);
        let is_apex = self.zones[node.zone.index()].record == node.cut;
        if !is_apex && let Some(set) = self.rrset_of(&cut, RrType::NS) {
            // A name has 255 octets at most.
            return Some(Lookup::Referral(set, cut.name.len() as u8));
        }
        let set = self
            .rrset_of(&cut, RrType::DNAME)
            .expect("a cut has NS or DNAME");
        // "a DNAME record ... does not redirect the owner name itself" (RFC 6672 §2.3).
        (node.cut != asked).then_some(Lookup::Dname(set, cut.name.len() as u8))
    }

    #[inline]
    fn find(&self, key: Key, name: &[u8]) -> Option<u32> {
        if key.likely != 0 && self.is_named(key.likely, name) {
            return Some(key.likely);
        }
        self.index
            .find(key.hash, |record| self.is_named(record, name))
    }

    #[inline]
    fn is_named(&self, record: u32, name: &[u8]) -> bool {
        let record = &self.arena[record as usize..];
        usize::from(record[4]) == name.len()
            && record[FIXED..FIXED + name.len()].eq_ignore_ascii_case(name)
    }

    #[inline(always)]
    fn node(&self, record: u32) -> Node<'_> {
        let start = record as usize;
        let head = &self.arena[start..start + FIXED];
        let (length, flags) = (usize::from(head[4]), head[5]);
        let mut at = start + FIXED + length;
        let mut field = |flag: u8| {
            if flags & flag == 0 {
                return NONE;
            }
            at += 4;
            self.word(at - 4)
        };
        let (service, cut, wildcard) = (field(SERVICE), field(CUT), field(WILDCARD));
        Node {
            name: &self.arena[start + FIXED..][..length],
            zone: ZoneId(self.word(start)),
            service,
            cut,
            wildcard,
            rrsets: at,
            rrset_count: u16::from_ne_bytes([head[6], head[7]]),
        }
    }

    #[inline]
    fn rrsets_of(&self, node: &Node<'_>) -> impl Iterator<Item = Rrset> + use<'_> {
        let mut at = node.rrsets;
        (0..node.rrset_count).map(move |_| {
            let set = self.rrset_at(at);
            at = set.links()
                + if target_offset(set.rtype).is_some() {
                    4 * usize::from(set.count)
                } else {
                    0
                };
            set
        })
    }

    #[inline]
    fn rrset_at(&self, at: usize) -> Rrset {
        let head = &self.arena[at..at + FIXED];
        let half = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        Rrset {
            rtype: RrType(half(0)),
            count: half(2),
            len: half(4),
            pointers: half(6),
            // `NameTable::place` keeps the arena below 4 GiB.
            block: (at + FIXED) as u32,
        }
    }

    fn rrset_of(&self, node: &Node<'_>, rtype: RrType) -> Option<Rrset> {
        self.rrsets_of(node).find(|set| set.rtype == rtype)
    }

    #[inline]
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.arena[at..at + 4].try_into().expect("four octets"))
    }
}

impl Rrset {
    /// True where parts of it are to point at the origin.
    pub fn has_pointers(&self) -> bool {
        self.pointers > 0
    }

    /// Offset of the links of its RRs, if it has any.
    fn links(&self) -> usize {
        self.block as usize + usize::from(self.len) + 2 * usize::from(self.pointers)
    }
}

/// Octets of an RR in a block before its rdata: owner pointer, type, class, TTL, length.
pub const RR_FIXED: usize = 12;

/// The RRs of a block: where each starts, and its rdata.
pub fn rrs(block: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = block.get(at + 10..at + RR_FIXED)?;
        let rdata =
            &block[at + RR_FIXED..][..usize::from(u16::from_be_bytes([length[0], length[1]]))];
        let start = at;
        at += RR_FIXED + rdata.len();
        Some((start, rdata))
    })
}

/// Offset of the target name in the rdata of types whose target's addresses go along.
pub fn target_offset(rtype: RrType) -> Option<usize> {
    match rtype {
        RrType::NS => Some(0),
        RrType::MX => Some(2),
        RrType::SRV => Some(6),
        _ => None,
    }
}

/// Counts the labels of a name in wire format, without the root's.
fn label_count(name: &[u8]) -> usize {
    let (mut rest, mut count) = (name, 0);
    while rest[0] != 0 {
        rest = &rest[1 + usize::from(rest[0])..];
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests;
