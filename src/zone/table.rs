//! The name table: every owner name of every zone, found by one hash of the lower-cased wire name.
//!
//! ```text
//! lower-cased name ──hash──▶ slot ──▶ Node ──▶ Rrset* ──▶ block: RR, RR, … ready to copy
//!                                      │ └──▶ service
//!                                      └──▶ topmost zone cut or DNAME above it, wildcard below it
//! ```
//!
//! A name that is not there is shortened label by label until one is: the closest encloser
//! (RFC 4592 §3.3.1). Its node knows the wildcard below it and the cut above it, so a miss costs
//! one probe per missing label and one more. A hit touches the slot group, the node, the name it is
//! compared with, the RRset entry and the block: five cache lines; a miss of one label touches the
//! slot group of the miss and the first three of the encloser.
//!
//! **Blocks.** An RRset is kept as it goes on the wire, each RR with the owner `C0 0C` (the
//! question's name). Where a name in rdata may be compressed (RFC 3597 §4) and ends in the zone's
//! origin, it ends in two octets that are patched with a pointer to the origin inside the question:
//! a name asked of a zone always ends in its origin. [`Extra::pointers`] says where.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{Record, Records};
use crate::dns::{MAX_NAME, Name, RrType};
use crate::model::{ServiceId, ZoneId};

/// No node, service or extra.
const NONE: u32 = u32::MAX;

/// Every name of every zone.
#[derive(Debug, Default)]
pub struct NameTable {
    slots: HashTable<u32>,
    nodes: Vec<Node>,
    rrsets: Vec<Rrset>,
    extras: Vec<Extra>,
    names: Vec<u8>,
    blocks: Vec<u8>,
    pointers: Vec<u16>,
    links: Vec<u32>,
    zones: Vec<Apex>,
}

/// One owner name.
#[derive(Debug, Clone, Copy)]
struct Node {
    name: u32,
    rrsets: u32,
    service: u32,
    /// The topmost cut or DNAME at or above the name, inside its zone.
    cut: u32,
    /// The wildcard directly below the name.
    wildcard: u32,
    zone: u32,
    rrset_count: u16,
    name_len: u8,
}

/// One RRset: a block of ready RRs.
#[derive(Debug, Clone, Copy)]
pub struct Rrset {
    block: u32,
    len: u32,
    extra: u32,
    /// Its type.
    pub rtype: RrType,
    /// How many RRs it has.
    pub count: u16,
}

/// What only RRsets with names in their rdata have.
#[derive(Debug, Clone, Copy, Default)]
struct Extra {
    /// Offsets in the block of the two octets that are to point at the origin.
    pointers: (u32, u16),
    /// For NS, MX and SRV: one node per RR, the in-zone target with addresses, or `NONE`.
    links: u32,
}

/// One zone's apex.
#[derive(Debug, Clone, Copy)]
pub struct Apex {
    node: u32,
    /// Length of the origin in wire format.
    pub origin_len: u8,
    /// The SOA as negative answers carry it: TTL min(SOA TTL, MINIMUM) (RFC 2308 §3).
    pub negative_soa: Rrset,
    /// The zone that delegates to this one, where it is ours too, and its DS RRset: it answers DS.
    parent: Option<(ZoneId, Option<Rrset>)>,
}

/// What there is for a name and type in the zone it belongs to.
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
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// A delegation; with the NS RRset the length of the cut's name.
    Referral(Rrset, u8),
}

/// A zone on its way into the table.
pub struct ZoneInput<'a> {
    /// Its apex.
    pub origin: &'a Name,
    /// Its records; every owner is inside the zone, and there is a SOA at the apex.
    pub records: &'a Records,
    /// Its services.
    pub services: Vec<(&'a Name, ServiceId)>,
}

impl NameTable {
    /// Builds the table. Zones come in the order of their ids, canonical order of their origins: a
    /// parent before its child. They have passed the zone checks.
    pub fn build(zones: &[ZoneInput<'_>]) -> NameTable {
        let mut table = NameTable::default();
        table.slots.reserve(zones.iter().map(|z| z.records.owner_runs() + z.services.len() + 1).sum(), |_| 0);
        for (index, zone) in zones.iter().enumerate() {
            let apex = table.nodes.len() as u32;
            let origin = zone.origin.to_lowercase().as_wire().to_vec();
            let builder =
                Builder { table: &mut table, zone: index as u32, origin, apex, temporary: Vec::new(), last_parent: NONE };
            builder.add(zone);
        }
        table.shrink();
        table
    }

    /// Finds the zone of `qname` (lower-cased wire format) and what it has for `qtype`; `None` outside our zones.
    pub fn lookup(&self, qname: &[u8], qtype: RrType) -> Option<(ZoneId, Lookup)> {
        if let Some(node) = self.find(qname) {
            return Some(self.at_name(node, qtype));
        }
        let mut rest = qname;
        while rest[0] != 0 {
            rest = &rest[1 + usize::from(rest[0])..];
            if let Some(node) = self.find(rest) {
                let encloser = &self.nodes[node as usize];
                return Some((ZoneId(encloser.zone), self.below(encloser, qtype)));
            }
        }
        None
    }

    /// The apex of a zone.
    pub fn apex(&self, zone: ZoneId) -> &Apex {
        &self.zones[zone.index()]
    }

    /// The origin of a zone, lower-cased wire format.
    pub fn origin(&self, zone: ZoneId) -> &[u8] {
        self.name(&self.nodes[self.zones[zone.index()].node as usize])
    }

    /// The RRs of an RRset, owners `C0 0C`, origin pointers not patched.
    pub fn block(&self, rrset: &Rrset) -> &[u8] {
        &self.blocks[rrset.block as usize..][..rrset.len as usize]
    }

    /// Offsets in the block of the octet pairs that are to point at the origin.
    pub fn pointers(&self, rrset: &Rrset) -> &[u16] {
        match self.extras.get(rrset.extra as usize) {
            Some(extra) => &self.pointers[extra.pointers.0 as usize..][..usize::from(extra.pointers.1)],
            None => &[],
        }
    }

    /// The address RRsets of the in-zone target of RR `index` of an NS, MX or SRV RRset, and whether
    /// they are in-domain glue (RFC 9471 §2.1): the target lies below the cut that the RRset is.
    pub fn target_addresses(&self, rrset: &Rrset, index: usize) -> impl Iterator<Item = (&Rrset, bool)> {
        let node = match self.extras.get(rrset.extra as usize) {
            Some(extra) if extra.links != NONE => self.nodes.get(self.links[extra.links as usize + index] as usize),
            _ => None,
        };
        node.into_iter().flat_map(|node| {
            let cut = self.nodes.get(node.cut as usize).and_then(|cut| self.rrset_of(cut, RrType::NS));
            let in_domain = cut.is_some_and(|cut| cut.block == rrset.block);
            self.rrsets_of(node).iter().filter(|s| matches!(s.rtype, RrType::A | RrType::AAAA)).map(move |s| (s, in_domain))
        })
    }

    /// How many names there are, empty non-terminals among them.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True without any name.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn at_name(&self, id: u32, qtype: RrType) -> (ZoneId, Lookup) {
        let node = &self.nodes[id as usize];
        let zone = ZoneId(node.zone);
        if node.cut != NONE {
            // "the DS RRset ... is in the parent" (RFC 4035 §3.1.4.1): asked at the cut, it is ours to answer.
            if node.cut == id && qtype == RrType::DS {
                return (zone, self.rrset_of(node, qtype).map_or(Lookup::NoData, |set| Lookup::Hit(*set)));
            }
            if let Some(lookup) = self.cut_above(node, id) {
                return (zone, lookup);
            }
        }
        if qtype == RrType::DS
            && let Apex { node: apex, parent: Some((parent, ds)), .. } = self.zones[node.zone as usize]
            && apex == id
        {
            return (parent, ds.map_or(Lookup::NoData, Lookup::Hit));
        }
        (zone, self.at_node(node, qtype))
    }

    fn at_node(&self, node: &Node, qtype: RrType) -> Lookup {
        for set in self.rrsets_of(node) {
            if set.rtype == qtype {
                return Lookup::Hit(*set);
            }
            if set.rtype == RrType::CNAME {
                return Lookup::Cname(*set);
            }
        }
        if node.service != NONE { Lookup::Service(ServiceId(node.service)) } else { Lookup::NoData }
    }

    /// For a name that is not there: `encloser` is its closest encloser.
    fn below(&self, encloser: &Node, qtype: RrType) -> Lookup {
        if encloser.cut != NONE
            && let Some(lookup) = self.cut_above(encloser, NONE)
        {
            return lookup;
        }
        match self.nodes.get(encloser.wildcard as usize) {
            Some(wildcard) => self.at_node(wildcard, qtype),
            None => Lookup::NxDomain,
        }
    }

    /// What the topmost cut or DNAME over `node` says; `None` where the name asked is the DNAME's own.
    fn cut_above(&self, node: &Node, asked: u32) -> Option<Lookup> {
        let cut = &self.nodes[node.cut as usize];
        let is_apex = self.zones[node.zone as usize].node == node.cut;
        if !is_apex && let Some(set) = self.rrset_of(cut, RrType::NS) {
            return Some(Lookup::Referral(*set, cut.name_len));
        }
        let set = self.rrset_of(cut, RrType::DNAME).expect("a cut has NS or DNAME");
        // "a DNAME record ... does not redirect the owner name itself" (RFC 6672 §2.3).
        (node.cut != asked).then_some(Lookup::Dname(*set, cut.name_len))
    }

    fn find(&self, name: &[u8]) -> Option<u32> {
        self.find_hashed(hash(name), name)
    }

    fn find_hashed(&self, hash: u64, name: &[u8]) -> Option<u32> {
        self.slots.find(hash, |node| self.name(&self.nodes[*node as usize]) == name).copied()
    }

    fn name(&self, node: &Node) -> &[u8] {
        &self.names[node.name as usize..][..usize::from(node.name_len)]
    }

    fn rrsets_of(&self, node: &Node) -> &[Rrset] {
        &self.rrsets[node.rrsets as usize..][..usize::from(node.rrset_count)]
    }

    fn rrset_of(&self, node: &Node, rtype: RrType) -> Option<&Rrset> {
        self.rrsets_of(node).iter().find(|set| set.rtype == rtype)
    }

    fn shrink(&mut self) {
        // Where the records of many names are not written together, room was made for each of their places.
        if self.slots.capacity() > 2 * self.slots.len() {
            self.slots.shrink_to_fit(|node| hash(table_name(&self.nodes, &self.names, *node)));
        }
        self.nodes.shrink_to_fit();
        self.rrsets.shrink_to_fit();
        self.names.shrink_to_fit();
        self.blocks.shrink_to_fit();
    }
}

/// Octets of an RR in a block before its rdata: owner pointer, type, class, TTL, length.
pub const RR_FIXED: usize = 12;

/// The RRs of a block: where each starts, and its rdata.
pub fn rrs(block: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = block.get(at + 10..at + RR_FIXED)?;
        let rdata = &block[at + RR_FIXED..][..usize::from(u16::from_be_bytes([length[0], length[1]]))];
        let start = at;
        at += RR_FIXED + rdata.len();
        Some((start, rdata))
    })
}

/// Where the target name starts in the rdata of types whose target's addresses go along.
pub fn target_offset(rtype: RrType) -> Option<usize> {
    match rtype {
        RrType::NS => Some(0),
        RrType::MX => Some(2),
        RrType::SRV => Some(6),
        _ => None,
    }
}

fn hash(name: &[u8]) -> u64 {
    // A fixed seed: the table is filled by the operator only, so no stranger can choose its keys.
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(name);
    hasher.finish()
}

/// Puts one zone into the table.
struct Builder<'t> {
    table: &'t mut NameTable,
    zone: u32,
    origin: Vec<u8>,
    /// The zone's first node; the apex.
    apex: u32,
    /// Per node of this zone: its parent, and the first of its chain of records.
    temporary: Vec<Temporary>,
    /// The parent found last: most names share it with the one before.
    last_parent: u32,
}

/// Memory that is used again for every node.
#[derive(Default)]
struct Scratch<'z> {
    chain: Vec<(u32, Record<'z>)>,
    rdatas: Vec<&'z [u8]>,
}

#[derive(Clone, Copy)]
struct Temporary {
    parent: u32,
    records: u32,
}

impl Builder<'_> {
    fn add(mut self, zone: &ZoneInput<'_>) {
        let parent = self.take_over();
        let mut next = vec![NONE; zone.records.len()];
        let mut last = (NONE, &[] as &[u8]);
        let mut name = Vec::with_capacity(MAX_NAME);
        for (index, record) in zone.records.iter().enumerate() {
            // Most records follow one of the same owner, stored once: the same slice.
            if last.0 == NONE || !std::ptr::eq(last.1, record.owner) {
                name.clear();
                name.extend_from_slice(record.owner);
                name.make_ascii_lowercase();
                last = (self.node(&name), record.owner);
            }
            let head = &mut self.temporary[(last.0 - self.apex) as usize].records;
            next[index] = std::mem::replace(head, index as u32);
        }
        for (name, service) in &zone.services {
            let node = self.node(name.to_lowercase().as_wire());
            self.table.nodes[node as usize].service = service.0;
        }
        let first_rrset = self.table.rrsets.len();
        let mut scratch = Scratch::default();
        for node in self.apex..self.table.nodes.len() as u32 {
            self.emit_rrsets(node, zone.records, &next, &mut scratch);
        }
        self.link_cuts();
        self.link_targets(first_rrset);
        self.add_apex(zone.records, parent);
    }

    /// Takes this zone's names from the zone above it, where that is ours: its cut and glue. Returns
    /// that zone and the DS RRset at the cut.
    fn take_over(&mut self) -> Option<(ZoneId, Option<Rrset>)> {
        let table = &mut *self.table;
        let mut above = &self.origin[..];
        let enclosing = loop {
            if above[0] == 0 {
                return None;
            }
            above = &above[1 + usize::from(above[0])..];
            if let Some(node) = table.find(above) {
                break table.nodes[node as usize].zone;
            }
        };
        let cut = table.find(&self.origin);
        let ds = cut.and_then(|node| table.rrset_of(&table.nodes[node as usize], RrType::DS).copied());
        let (nodes, names) = (&table.nodes, &table.names);
        table.slots.retain(|node| !ends_with_name(table_name(nodes, names, *node), &self.origin));
        Some((ZoneId(enclosing), ds))
    }

    /// The node of `name`, made with all its ancestors up to the apex where it is not there yet.
    fn node(&mut self, name: &[u8]) -> u32 {
        let hash_of_name = hash(name);
        if let Some(node) = self.table.find_hashed(hash_of_name, name) {
            return node;
        }
        let is_apex = name.len() == self.origin.len();
        let parent = if is_apex { NONE } else { self.parent(&name[1 + usize::from(name[0])..]) };
        let id = self.table.nodes.len() as u32;
        let table = &mut *self.table;
        table.nodes.push(Node {
            name: table.names.len() as u32,
            rrsets: 0,
            service: NONE,
            cut: NONE,
            wildcard: NONE,
            zone: self.zone,
            rrset_count: 0,
            name_len: name.len() as u8,
        });
        table.names.extend_from_slice(name);
        self.temporary.push(Temporary { parent, records: NONE });
        table.slots.insert_unique(hash_of_name, id, |node| hash(table_name(&table.nodes, &table.names, *node)));
        if name.starts_with(b"\x01*") && !is_apex {
            table.nodes[parent as usize].wildcard = id;
        }
        id
    }

    fn parent(&mut self, name: &[u8]) -> u32 {
        match self.table.nodes.get(self.last_parent as usize) {
            Some(last) if self.table.name(last) == name => {}
            _ => self.last_parent = self.node(name),
        }
        self.last_parent
    }

    fn emit_rrsets<'z>(&mut self, node: u32, records: &'z Records, next: &[u32], scratch: &mut Scratch<'z>) {
        let Scratch { chain, rdatas } = scratch;
        chain.clear();
        let mut record = self.temporary[(node - self.apex) as usize].records;
        while record != NONE {
            chain.push((record, records.get(record as usize)));
            record = next[record as usize];
        }
        // The chain is newest first; a stable order by type keeps the order of the file.
        chain.sort_by_key(|(index, record)| (record.rtype, *index));
        let first = self.table.rrsets.len();
        for set in chain.chunk_by(|(_, a), (_, b)| a.rtype == b.rtype) {
            let rtype = set[0].1.rtype;
            let ttl = set.iter().map(|(_, record)| record.ttl).min().expect("chunks are not empty");
            rdatas.clear();
            for (_, record) in set {
                if !rdatas.iter().any(|known| same_rdata(rtype, known, record.rdata)) {
                    rdatas.push(record.rdata);
                }
            }
            let rrset = self.table.push_rrset(&self.origin, rtype, ttl.secs(), rdatas);
            self.table.rrsets.push(rrset);
        }
        let node = &mut self.table.nodes[node as usize];
        node.rrsets = first as u32;
        node.rrset_count = u16::try_from(self.table.rrsets.len() - first).expect("there are 65535 types");
    }

    /// Marks every name at or below a cut or DNAME with the topmost one.
    fn link_cuts(&mut self) {
        let is_cut = |table: &NameTable, node: u32| {
            let own = &table.nodes[node as usize];
            table.rrset_of(own, RrType::DNAME).is_some() || (node != self.apex && table.rrset_of(own, RrType::NS).is_some())
        };
        let end = self.table.nodes.len() as u32;
        if !(self.apex..end).any(|node| is_cut(self.table, node)) {
            return;
        }
        for node in self.apex..end {
            let (mut topmost, mut at) = (NONE, node);
            while at != NONE {
                if is_cut(self.table, at) {
                    topmost = at;
                }
                at = self.temporary[(at - self.apex) as usize].parent;
            }
            self.table.nodes[node as usize].cut = topmost;
        }
    }

    /// Resolves the in-zone targets of NS, MX and SRV, now that every name of the zone is in.
    fn link_targets(&mut self, first_rrset: usize) {
        for index in first_rrset..self.table.rrsets.len() {
            let set = self.table.rrsets[index];
            let Some(skip) = target_offset(set.rtype) else { continue };
            let pointers = self.table.pointers(&set);
            let mut links: Vec<u32> = Vec::with_capacity(usize::from(set.count));
            for (start, rdata) in rrs(self.table.block(&set)) {
                let end = start + RR_FIXED + rdata.len();
                let mut target = rdata[skip..].to_ascii_lowercase();
                if pointers.iter().any(|p| usize::from(*p) + 2 == end) {
                    target.truncate(target.len() - 2);
                    target.extend_from_slice(&self.origin);
                }
                // A target's addresses go along once.
                let node = self.table.find(&target).filter(|node| *node >= self.apex && !links.contains(node));
                links.push(node.unwrap_or(NONE));
            }
            let at = self.table.links.len() as u32;
            self.table.links.extend(links);
            match self.table.extras.get_mut(set.extra as usize) {
                Some(extra) => extra.links = at,
                None => {
                    self.table.rrsets[index].extra = self.table.extras.len() as u32;
                    self.table.extras.push(Extra { pointers: (0, 0), links: at });
                }
            }
        }
    }

    fn add_apex(&mut self, records: &Records, parent: Option<(ZoneId, Option<Rrset>)>) {
        let soa = records.iter().find(|r| r.rtype == RrType::SOA).expect("the zone checks demand a SOA");
        let minimum = u32::from_be_bytes(soa.rdata[soa.rdata.len() - 4..].try_into().expect("four octets"));
        let negative_soa = self.table.push_rrset(&self.origin, RrType::SOA, soa.ttl.secs().min(minimum), &[soa.rdata]);
        self.table.zones.push(Apex { node: self.apex, origin_len: self.origin.len() as u8, negative_soa, parent });
    }
}

fn table_name<'a>(nodes: &[Node], names: &'a [u8], node: u32) -> &'a [u8] {
    let node = &nodes[node as usize];
    &names[node.name as usize..][..usize::from(node.name_len)]
}

impl NameTable {
    /// Lays an RRset out as a block.
    fn push_rrset(&mut self, origin: &[u8], rtype: RrType, ttl: u32, rdatas: &[&[u8]]) -> Rrset {
        let start = self.blocks.len();
        let first_pointer = self.pointers.len();
        for rdata in rdatas {
            self.blocks.extend_from_slice(&[0xc0, 12]);
            self.blocks.extend_from_slice(&rtype.0.to_be_bytes());
            self.blocks.extend_from_slice(&[0, 1]);
            self.blocks.extend_from_slice(&ttl.to_be_bytes());
            let length_at = self.blocks.len();
            self.blocks.extend_from_slice(&[0, 0]);
            self.push_rdata(origin, rtype, rdata, start);
            let length = (self.blocks.len() - length_at - 2) as u16;
            self.blocks[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        }
        let pointers = (first_pointer as u32, (self.pointers.len() - first_pointer) as u16);
        let extra = if pointers.1 == 0 {
            NONE
        } else {
            self.extras.push(Extra { pointers, links: NONE });
            self.extras.len() as u32 - 1
        };
        Rrset { block: start as u32, len: (self.blocks.len() - start) as u32, extra, rtype, count: rdatas.len() as u16 }
    }

    /// Rdata with its compressible names (RFC 3597 §4: those of RFC 1035) shortened to the origin.
    fn push_rdata(&mut self, origin: &[u8], rtype: RrType, rdata: &[u8], start: usize) {
        let (before, names) = match rtype {
            RrType::NS | RrType::CNAME | RrType::PTR | RrType::MB | RrType::MG | RrType::MR | RrType::MD | RrType::MF => (0, 1),
            RrType::MX => (2, 1),
            RrType::SOA | RrType::MINFO => (0, 2),
            _ => (0, 0),
        };
        let (head, mut rest) = rdata.split_at(before);
        self.blocks.extend_from_slice(head);
        for _ in 0..names {
            let name;
            (name, rest) = rest.split_at(name_len(rest));
            let pointer_at = self.blocks.len() - start + name.len().saturating_sub(origin.len());
            if origin.len() > 2 && ends_with_name(name, origin) && pointer_at <= usize::from(u16::MAX) {
                self.blocks.extend_from_slice(&name[..name.len() - origin.len()]);
                self.blocks.extend_from_slice(&[0xc0, 0]);
                self.pointers.push(pointer_at as u16);
            } else {
                self.blocks.extend_from_slice(name);
            }
        }
        self.blocks.extend_from_slice(rest);
    }
}

/// True for duplicates: names in rdata compare without case (RFC 4343 §3).
fn same_rdata(rtype: RrType, a: &[u8], b: &[u8]) -> bool {
    let name_at = match rtype {
        RrType::CNAME | RrType::DNAME | RrType::PTR => 0,
        _ => target_offset(rtype).unwrap_or(usize::MAX),
    };
    match (a.split_at_checked(name_at), b.split_at_checked(name_at)) {
        (Some((a, a_name)), Some((b, b_name))) => a == b && a_name.eq_ignore_ascii_case(b_name),
        _ => a == b,
    }
}

/// The length of the uncompressed name that `wire` starts with.
fn name_len(wire: &[u8]) -> usize {
    let mut at = 0;
    while wire[at] != 0 {
        at += 1 + usize::from(wire[at]);
    }
    at + 1
}

/// True when `name` is `origin` or below it; both uncompressed, case ignored.
fn ends_with_name(name: &[u8], origin: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > origin.len() {
        rest = &rest[1 + usize::from(rest[0])..];
    }
    rest.eq_ignore_ascii_case(origin)
}

#[cfg(test)]
mod tests;
