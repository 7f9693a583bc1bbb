//! Puts zones into the table.
//!
//! A zone first becomes a tree of its names in memory of its own, since what a record says depends on
//! names that stand anywhere in the zone: the cut above it, the wildcard below it, the targets of its
//! RRsets. Its names stay where the zone's records have them.

use std::collections::HashSet;

use hashbrown::HashTable;

use super::index::Index;
use super::{
    Apex, CUT, EPOCH, FIXED, NONE, NameTable, SERVICE, WILDCARD, label_count, rrs, target_offset,
};
use crate::dns::{Name, RrType, is_within};
use crate::model::{ServiceId, ZoneId};
use crate::prefetch::{self, LINE};
use crate::zone::records::hash;
use crate::zone::{Record, Records};

/// A zone on its way into the table.
pub struct ZoneInput<'a> {
    /// Its apex.
    pub origin: &'a Name,
    /// Its records; every owner is inside the zone, and there is a SOA at the apex.
    pub records: &'a Records,
    /// Its services.
    pub services: Vec<(&'a Name, ServiceId)>,
    /// The names that say who owns a unit.
    pub epochs: &'a [(Name, ServiceId)],
}

impl NameTable {
    /// Builds the table. Zones come in the order of their ids, canonical order of their origins: a
    /// parent before its child. They have passed the zone checks.
    pub fn build(zones: &[ZoneInput<'_>]) -> NameTable {
        let origins: Vec<&[u8]> = zones.iter().map(|zone| zone.origin.as_wire()).collect();
        let parents = parents(&origins);
        let mut children = vec![Vec::new(); zones.len()];
        for (child, parent) in parents.iter().enumerate() {
            parent
                .iter()
                .for_each(|parent| children[*parent].push(child));
        }
        // What the zone above has at each zone's origin; known before the zone's turn.
        let mut ds = vec![None; zones.len()];
        let mut table = NameTable {
            arena: vec![0],
            ..NameTable::default()
        };
        let mut entries = Vec::with_capacity(
            zones
                .iter()
                .map(|zone| zone.records.len() + zone.services.len())
                .sum(),
        );
        for (index, zone) in zones.iter().enumerate() {
            let mut tree = Tree::of(zone);
            tree.store(&mut table, ZoneId::from_index(index));
            for child in &children[index] {
                let cut = tree
                    .find(origins[*child])
                    .map(|node| table.node(tree.nodes[node as usize].record));
                ds[*child] = cut.and_then(|cut| table.rrset_of(&cut, RrType::DS));
            }
            let parent = parents[index].map(|parent| (ZoneId::from_index(parent), ds[index]));
            table.add_apex(&tree, parent);
            let below: Vec<&[u8]> = children[index]
                .iter()
                .map(|child| origins[*child])
                .collect();
            let before = entries.len();
            tree.index_names(&below, &mut entries, &mut table.handed_over);
            table.counts.push(entries.len() - before);
        }
        table.arena.shrink_to_fit();
        table.index = Index::new(&entries);
        table.names = entries.len();
        table
    }

    fn add_apex(&mut self, tree: &Tree<'_>, parent: Option<(ZoneId, Option<super::Rrset>)>) {
        let soa = tree
            .records
            .iter()
            .find(|r| r.rtype == RrType::SOA)
            .expect("the zone checks demand a SOA");
        let minimum = u32::from_be_bytes(
            soa.rdata[soa.rdata.len() - 4..]
                .try_into()
                .expect("four octets"),
        );
        let mut rrset = Vec::new();
        push_rrset(
            &mut rrset,
            tree.origin,
            RrType::SOA,
            soa.ttl.secs().min(minimum),
            &[soa.rdata],
        );
        let at = self.place(&rrset);
        let negative_soa = self.rrset_at(at as usize);
        let record = tree.nodes[0].record;
        self.zones.push(Apex {
            record,
            // A name has 255 octets at most.
            origin_len: tree.origin.len() as u8,
            negative_soa,
            parent,
        });
        let deepest = tree.nodes.iter().map(|node| usize::from(node.depth)).max();
        self.deepest = self.deepest.max(deepest.unwrap_or(0));
        let apex = usize::from(tree.nodes[0].depth);
        self.shallowest = if self.zones.len() == 1 {
            apex
        } else {
            self.shallowest.min(apex)
        };
    }

    /// Appends a record, at the start of a cache line where it would touch one more otherwise.
    fn place(&mut self, record: &[u8]) -> u32 {
        let past = (self.arena.as_ptr().addr() + self.arena.len()) % LINE;
        if (past + record.len()).div_ceil(LINE) > record.len().div_ceil(LINE) {
            self.arena.resize(self.arena.len() + LINE - past, 0);
        }
        let at =
            u32::try_from(self.arena.len()).expect("the names of all zones take less than 4 GiB");
        self.arena.extend_from_slice(record);
        at
    }

    fn patch(&mut self, at: usize, record: u32) {
        self.arena[at..at + 4].copy_from_slice(&record.to_ne_bytes());
    }
}

/// For each origin the zone nearest above it, where that is ours too.
fn parents(origins: &[&[u8]]) -> Vec<Option<usize>> {
    let mut above: Vec<usize> = Vec::new();
    let parent_of = |(index, origin): (usize, &&[u8])| {
        while above
            .pop_if(|top| !is_within(origin, origins[*top]))
            .is_some()
        {}
        let parent = above.last().copied();
        above.push(index);
        parent
    };
    origins.iter().enumerate().map(parent_of).collect()
}

/// The names of a zone, with all that lie between them and the apex.
struct Tree<'z> {
    origin: &'z [u8],
    records: &'z Records,
    /// The apex first, every name after its parent.
    nodes: Vec<Node<'z>>,
    by_name: HashTable<u32>,
    /// By record: the one before it at the same name.
    previous: Vec<u32>,
    /// The parent found last: most names share it with the one before.
    last_parent: u32,
}

#[derive(Clone, Copy)]
struct Node<'z> {
    /// The name as written, in any case.
    name: &'z [u8],
    hash: u32,
    parent: u32,
    /// The last of its records.
    last: u32,
    service: u32,
    /// The topmost cut or DNAME at or above it; nodes, both.
    cut: u32,
    wildcard: u32,
    /// Offset of its record, once it is stored.
    record: u32,
    /// Labels of the name.
    depth: u8,
    has_ns: bool,
    has_dname: bool,
}

impl<'z> Tree<'z> {
    fn of(zone: &ZoneInput<'z>) -> Tree<'z> {
        let mut tree = Tree {
            origin: zone.origin.as_wire(),
            records: zone.records,
            nodes: Vec::with_capacity(zone.records.owner_runs() + zone.services.len() + 1),
            by_name: HashTable::with_capacity(zone.records.owner_runs() + zone.services.len()),
            previous: vec![NONE; zone.records.len()],
            last_parent: NONE,
        };
        tree.node(tree.origin);
        let mut last = (NONE, &[] as &[u8]);
        for (index, record) in zone.records.iter().enumerate() {
            // Most records follow one of the same owner, stored once: the same slice.
            if last.0 == NONE || !std::ptr::eq(last.1, record.owner) {
                last = (
                    tree.node_hashed(zone.records.owner_hash(index), record.owner),
                    record.owner,
                );
            }
            let node = &mut tree.nodes[last.0 as usize];
            let number = u32::try_from(index).expect("a zone has fewer records than 2³²");
            tree.previous[index] = std::mem::replace(&mut node.last, number);
            node.has_ns |= record.rtype == RrType::NS;
            node.has_dname |= record.rtype == RrType::DNAME;
        }
        for (name, service) in &zone.services {
            let node = tree.node(name.as_wire());
            tree.nodes[node as usize].service = service.0;
        }
        for (name, unit) in zone.epochs {
            let node = tree.node(name.as_wire());
            tree.nodes[node as usize].service = unit.0 | EPOCH;
        }
        tree.link_cuts();
        tree
    }

    /// The node of `name`, made with all its ancestors up to the apex where it is not there yet.
    fn node(&mut self, name: &'z [u8]) -> u32 {
        self.node_hashed(hash(name), name)
    }

    fn node_hashed(&mut self, hash: u32, name: &'z [u8]) -> u32 {
        if let Some(node) = self.find_hashed(hash, name) {
            return node;
        }
        let is_apex = name.len() == self.origin.len();
        let parent = if is_apex {
            NONE
        } else {
            self.parent(&name[1 + usize::from(name[0])..])
        };
        let depth = self
            .nodes
            .get(parent as usize)
            // A name has 127 labels at most.
            .map_or_else(|| label_count(name) as u8, |parent| parent.depth + 1);
        let id = u32::try_from(self.nodes.len()).expect("a zone has fewer names than 2³²");
        self.nodes.push(Node {
            name,
            hash,
            parent,
            last: NONE,
            service: NONE,
            cut: NONE,
            wildcard: NONE,
            record: NONE,
            depth,
            has_ns: false,
            has_dname: false,
        });
        self.by_name.insert_unique(spread(hash), id, |node| {
            spread(self.nodes[*node as usize].hash)
        });
        if name.starts_with(b"\x01*") && !is_apex {
            self.nodes[parent as usize].wildcard = id;
        }
        id
    }

    fn parent(&mut self, name: &'z [u8]) -> u32 {
        match self.nodes.get(self.last_parent as usize) {
            Some(last) if last.name.eq_ignore_ascii_case(name) => {}
            _ => self.last_parent = self.node(name),
        }
        self.last_parent
    }

    fn find(&self, name: &[u8]) -> Option<u32> {
        self.find_hashed(hash(name), name)
    }

    fn find_hashed(&self, hash: u32, name: &[u8]) -> Option<u32> {
        let same = |node: &u32| {
            let node = &self.nodes[*node as usize];
            node.hash == hash && node.name.eq_ignore_ascii_case(name)
        };
        self.by_name.find(spread(hash), same).copied()
    }

    /// Marks every name at or below a cut or DNAME with the topmost one.
    fn link_cuts(&mut self) {
        for id in 0..self.nodes.len() {
            let node = self.nodes[id];
            let above = self
                .nodes
                .get(node.parent as usize)
                .map_or(NONE, |parent| parent.cut);
            let is_cut = node.has_dname || (node.has_ns && id > 0);
            self.nodes[id].cut = if above == NONE && is_cut {
                // `node_hashed` has numbered it in 32 bits.
                id as u32
            } else {
                above
            };
        }
    }

    /// Stores every name's record.
    fn store(&mut self, table: &mut NameTable, zone: ZoneId) {
        table.arena.reserve(self.most_octets());
        prefetch::prefer_large_pages(&table.arena);
        let mut record = Vec::new();
        let mut with_links = Vec::new();
        let mut chain = Vec::new();
        for id in 0..self.nodes.len() {
            record.clear();
            let first_link = with_links.len();
            self.compose(id, zone, &mut record, &mut with_links, &mut chain);
            let at = table.place(&record);
            with_links[first_link..]
                .iter_mut()
                .for_each(|rrset| *rrset += at as usize);
            self.nodes[id].record = at;
        }
        self.link_names(table);
        with_links
            .into_iter()
            .for_each(|rrset| self.link_targets(table, rrset));
    }

    /// More octets than its records take.
    fn most_octets(&self) -> usize {
        let rdata: usize = self.records.iter().map(|record| record.rdata.len()).sum();
        // Beside its rdata a record has at most its RRset's and its own fixed octets, two pointers and a link.
        let records = self.records.len() * (FIXED + super::RR_FIXED + 4 + 4);
        let names: usize = self
            .nodes
            .iter()
            .map(|node| FIXED + node.name.len() + 3 * 4 + LINE)
            .sum();
        names + records + rdata + LINE
    }

    /// Writes the record of a node. What it says of other names is written once they are stored;
    /// `with_links` gets the places of the RRsets that name some.
    fn compose(
        &self,
        id: usize,
        zone: ZoneId,
        record: &mut Vec<u8>,
        with_links: &mut Vec<usize>,
        chain: &mut Vec<(u32, Record<'z>)>,
    ) {
        let node = &self.nodes[id];
        let flag = |field: u32, flag: u8| if field == NONE { 0 } else { flag };
        let flags =
            flag(node.service, SERVICE) | flag(node.cut, CUT) | flag(node.wildcard, WILDCARD);
        record.extend_from_slice(&zone.0.to_ne_bytes());
        // A name has 255 octets at most.
        record.extend_from_slice(&[node.name.len() as u8, flags, 0, 0]);
        record.extend_from_slice(node.name);
        record[FIXED..].make_ascii_lowercase();
        for field in [node.service, node.cut, node.wildcard]
            .into_iter()
            .filter(|field| *field != NONE)
        {
            record.extend_from_slice(&field.to_ne_bytes());
        }
        chain.clear();
        let mut at = node.last;
        while at != NONE {
            chain.push((at, self.records.get(at as usize)));
            at = self.previous[at as usize];
        }
        // By type, and those of one type in the order of the file.
        chain.sort_by_key(|(index, record)| (record.rtype, *index));
        let count = self.compose_rrsets(chain, record, with_links);
        record[6..FIXED].copy_from_slice(&count.to_ne_bytes());
    }

    /// Writes the RRsets of a node, whose records are in the order of their types; returns how many.
    fn compose_rrsets(
        &self,
        chain: &[(u32, Record<'z>)],
        record: &mut Vec<u8>,
        with_links: &mut Vec<usize>,
    ) -> u16 {
        let mut count = 0u16;
        for set in chain.chunk_by(|(_, a), (_, b)| a.rtype == b.rtype) {
            let rtype = set[0].1.rtype;
            // "the TTLs of all RRs in an RRSet must be the same" (RFC 2181 §5.2): the lowest is safe.
            let ttl = set
                .iter()
                .map(|(_, record)| record.ttl)
                .min()
                .expect("chunks are not empty");
            let mut rdatas: Vec<&[u8]> = Vec::with_capacity(set.len());
            for (_, record) in set {
                if !rdatas
                    .iter()
                    .any(|known| same_rdata(rtype, known, record.rdata))
                {
                    rdatas.push(record.rdata);
                }
            }
            if target_offset(rtype).is_some() {
                with_links.push(record.len());
            }
            push_rrset(record, self.origin, rtype, ttl.secs(), &rdatas);
            count += 1;
        }
        count
    }

    /// Says in every record where its cut and its wildcard are.
    fn link_names(&self, table: &mut NameTable) {
        for node in &self.nodes {
            let mut at = node.record as usize
                + FIXED
                + node.name.len()
                + if node.service == NONE { 0 } else { 4 };
            for other in [node.cut, node.wildcard]
                .into_iter()
                .filter(|other| *other != NONE)
            {
                table.patch(at, self.nodes[other as usize].record);
                at += 4;
            }
        }
    }

    /// Resolves the in-zone targets of an NS, MX or SRV RRset.
    fn link_targets(&self, table: &mut NameTable, rrset: usize) {
        let set = table.rrset_at(rrset);
        let skip = target_offset(set.rtype).expect("only RRsets with targets are noted");
        let mut targets: Vec<u32> = Vec::with_capacity(usize::from(set.count));
        for (start, rdata) in rrs(table.block(&set)) {
            let end = start + super::RR_FIXED + rdata.len();
            let mut target = rdata[skip..].to_vec();
            if table
                .pointers(&set)
                .iter()
                .any(|pointer| usize::from(u16::from_ne_bytes(*pointer)) + 2 == end)
            {
                target.truncate(target.len() - 2);
                target.extend_from_slice(self.origin);
            }
            let record = self
                .find(&target)
                .map(|node| self.nodes[node as usize].record);
            // A target's addresses go along once.
            targets.push(
                record
                    .filter(|record| !targets.contains(record))
                    .unwrap_or(NONE),
            );
        }
        for (index, target) in targets.into_iter().enumerate() {
            table.patch(set.links() + 4 * index, target);
        }
    }

    /// Appends to `entries` the hashes and records of all names but those that the zones `below`, by
    /// their origins, answer; the records of these go to `handed_over`.
    fn index_names(
        &self,
        below: &[&[u8]],
        entries: &mut Vec<(u32, u32)>,
        handed_over: &mut Vec<u32>,
    ) {
        let origins: HashSet<Vec<u8>> = below
            .iter()
            .map(|origin| origin.to_ascii_lowercase())
            .collect();
        if origins.is_empty() {
            entries.extend(self.nodes.iter().map(|node| (node.hash, node.record)));
            return;
        }
        // A parent comes before its children, so what is known of it holds for them.
        let mut gone = vec![false; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            let above = gone.get(node.parent as usize).is_some_and(|gone| *gone);
            gone[id] = above || origins.contains(&node.name.to_ascii_lowercase());
            if gone[id] {
                handed_over.push(node.record);
            } else {
                entries.push((node.hash, node.record));
            }
        }
    }
}

/// `hash` in both halves: a hash table picks by the lowest bits and compares by the highest.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Appends an RRset as a record has it; links name nothing yet.
fn push_rrset(out: &mut Vec<u8>, origin: &[u8], rtype: RrType, ttl: u32, rdatas: &[&[u8]]) {
    let head = out.len();
    out.extend_from_slice(&[0; FIXED]);
    let block = out.len();
    let mut pointers = Vec::new();
    for rdata in rdatas {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&rtype.0.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        push_rdata(out, origin, rtype, rdata, block, &mut pointers);
        let length = u16::try_from(out.len() - length_at - 2).expect("rdata fits a record");
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
    let length = u16::try_from(out.len() - block)
        .expect("the zone checks refuse RRsets that fit no message");
    // An RR takes twelve octets at least and a pointer two, so both are fewer than the block has.
    for (at, half) in [rtype.0, rdatas.len() as u16, length, pointers.len() as u16]
        .into_iter()
        .enumerate()
    {
        out[head + 2 * at..head + 2 * at + 2].copy_from_slice(&half.to_ne_bytes());
    }
    pointers
        .iter()
        .for_each(|pointer: &u16| out.extend_from_slice(&pointer.to_ne_bytes()));
    if target_offset(rtype).is_some() {
        rdatas
            .iter()
            .for_each(|_| out.extend_from_slice(&NONE.to_ne_bytes()));
    }
}

/// Appends rdata with its compressible names (RFC 3597 §4: those of RFC 1035) shortened to the origin.
fn push_rdata(
    out: &mut Vec<u8>,
    origin: &[u8],
    rtype: RrType,
    rdata: &[u8],
    block: usize,
    pointers: &mut Vec<u16>,
) {
    let (before, names) = match rtype {
        RrType::NS
        | RrType::CNAME
        | RrType::PTR
        | RrType::MB
        | RrType::MG
        | RrType::MR
        | RrType::MD
        | RrType::MF => (0, 1),
        RrType::MX => (2, 1),
        RrType::SOA | RrType::MINFO => (0, 2),
        _ => (0, 0),
    };
    let (head, mut rest) = rdata.split_at(before);
    out.extend_from_slice(head);
    for _ in 0..names {
        let name;
        (name, rest) = rest.split_at(name_len(rest));
        if origin.len() > 2 && is_within(name, origin) {
            out.extend_from_slice(&name[..name.len() - origin.len()]);
            pointers.push(
                u16::try_from(out.len() - block)
                    .expect("the zone checks refuse RRsets that fit no message"),
            );
            out.extend_from_slice(&[0xc0, 0]);
        } else {
            out.extend_from_slice(name);
        }
    }
    out.extend_from_slice(rest);
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
