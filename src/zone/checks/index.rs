//! The records of a zone by owner, so that every rule finds a name in one probe.
//!
//! An entry of sixteen octets for each owner and four for each record: names stay where
//! [`Records`](crate::zone::Records) has them.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Finding, ZoneUnderCheck};
use crate::dns::{MAX_NAME, Name, RrType, is_within};
use crate::model::{Service, Unit};
use crate::zone::{Record, records, target_offset};

/// No record.
const NONE: u32 = u32::MAX;

/// The kinds of records that an owner has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const A: Kinds = Kinds(1);
    pub(super) const AAAA: Kinds = Kinds(2);
    pub(super) const CNAME: Kinds = Kinds(4);
    pub(super) const NS: Kinds = Kinds(8);
    pub(super) const SOA: Kinds = Kinds(16);
    pub(super) const DNAME: Kinds = Kinds(32);
    pub(super) const OTHER: Kinds = Kinds(64);
    /// Types that may stand beside a CNAME: DNSSEC's own (RFC 4034 §3, §4; RFC 2535 §2.3.5).
    pub(super) const DNSSEC: Kinds = Kinds(128);

    fn of(rtype: RrType) -> Kinds {
        match rtype {
            RrType::A => Kinds::A,
            RrType::AAAA => Kinds::AAAA,
            RrType::CNAME => Kinds::CNAME,
            RrType::NS => Kinds::NS,
            RrType::SOA => Kinds::SOA,
            RrType::DNAME => Kinds::DNAME,
            RrType::RRSIG | RrType::NSEC | RrType::KEY | RrType::SIG => Kinds::DNSSEC,
            _ => Kinds::OTHER,
        }
    }

    pub(super) fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub(super) fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }

    /// True when one of `other` is among them.
    pub(super) fn any(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }
}

/// An owner name and its chain of records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) first: u32,
    last: u32,
    pub(super) kinds: Kinds,
}

/// An owner under its hash, which spares most comparisons, each of which goes to three other places
/// in memory, and all hashing when the table grows.
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    owner: u32,
}

/// The answer that a name of the zone leads to.
pub(super) enum Place<'a> {
    /// It is not in the zone.
    Outside,
    /// It is a delegation or below one: glue, if it has an owner there.
    Delegated {
        /// Its static records' index among the owners.
        owner: Option<(usize, &'a Owner)>,
    },
    /// It is below a DNAME.
    Renamed,
    /// It is in the zone, by its own records or a wildcard's: its static records' index among the
    /// owners and its service's among the services. Neither where it does not exist or is empty.
    Found {
        owner: Option<(usize, &'a Owner)>,
        service: Option<(usize, &'a Service)>,
    },
}

/// A zone's records and services by name.
pub(super) struct Index<'a> {
    pub(super) zone: &'a ZoneUnderCheck<'a>,
    /// In the order they are first written.
    pub(super) owners: Vec<Owner>,
    /// Records whose owner is not in the zone.
    pub(super) outside: Vec<u32>,
    next: Vec<u32>,
    slots: HashTable<Slot>,
    services: HashTable<u32>,
    /// Every name that exists, empty non-terminals among them; filled only where a wildcard asks
    /// for it.
    existing: HashTable<&'a [u8]>,
    has_wildcards: bool,
    pub(super) has_cuts: bool,
    pub(super) has_dnames: bool,
    /// By owner: the topmost delegation at or above it, an owner too, or none. Empty without
    /// delegations.
    cuts: Vec<u32>,
    /// Every NS, MX and SRV record with what its target comes to, in the order of the owners.
    links: Vec<Link>,
}

/// A record's target, as a [`Place`] in a few octets, since a zone may have a million.
#[derive(Debug, Clone, Copy)]
struct Link {
    record: u32,
    owner: u32,
    service: u32,
    kind: LinkKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkKind {
    Outside,
    Delegated,
    Renamed,
    Found,
}

impl<'a> Index<'a> {
    pub(super) fn new(zone: &'a ZoneUnderCheck<'a>) -> Index<'a> {
        let mut index = Index {
            zone,
            owners: Vec::with_capacity(zone.records.owner_runs()),
            outside: Vec::new(),
            next: vec![NONE; zone.records.len()],
            slots: HashTable::with_capacity(zone.records.owner_runs()),
            services: HashTable::with_capacity(zone.services.len()),
            existing: HashTable::new(),
            has_wildcards: false,
            has_cuts: false,
            has_dnames: false,
            cuts: Vec::new(),
            links: Vec::new(),
        };
        index.add_records();
        for (at, service) in zone.services.iter().enumerate() {
            index.has_wildcards |= service.name.is_wildcard();
            let hash_of = |at: &u32| hash(zone.services[*at as usize].name.as_wire());
            index
                .services
                .insert_unique(hash(service.name.as_wire()), id(at), hash_of);
        }
        if index.has_wildcards {
            index.add_existing();
        }
        if index.has_cuts {
            index.add_cuts();
        }
        index.add_links();
        index
    }

    /// The records of an owner, in the order they are written.
    pub(super) fn records(&self, owner: &Owner) -> impl Iterator<Item = (u32, Record<'a>)> {
        let mut at = owner.first;
        std::iter::from_fn(move || {
            let index = at;
            (index != NONE).then(|| {
                at = self.next[index as usize];
                (index, self.zone.records.get(index as usize))
            })
        })
    }

    /// An owner's first record that is one of `kinds`.
    pub(super) fn first_of(&self, owner: &Owner, kinds: Kinds) -> Option<Record<'a>> {
        self.records(owner)
            .map(|(_, record)| record)
            .find(|record| Kinds::of(record.rtype).any(kinds))
    }

    /// An owner with only one record.
    pub(super) fn is_single(owner: &Owner) -> bool {
        owner.first == owner.last
    }

    pub(super) fn owner_name(&self, owner: &Owner) -> &'a [u8] {
        self.zone.records.get(owner.first as usize).owner
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<(usize, &Owner)> {
        let hash = records::hash(name);
        let same_name = |slot: &Slot| {
            self.owner_name(&self.owners[slot.owner as usize])
                .eq_ignore_ascii_case(name)
        };
        let owner = self
            .slots
            .find(widen(hash), |slot| slot.hash == hash && same_name(slot))?
            .owner as usize;
        Some((owner, &self.owners[owner]))
    }

    /// The same; the owners after `near` are looked at first, since addresses mostly stand below
    /// what points at them.
    fn find_near(&self, name: &[u8], near: usize) -> Option<(usize, &Owner)> {
        const NEAR: usize = 4;
        let after = self.owners.iter().enumerate().skip(near + 1).take(NEAR);
        let found = after
            .into_iter()
            .find(|(_, owner)| self.owner_name(owner).eq_ignore_ascii_case(name));
        found.or_else(|| self.find(name))
    }

    /// The service of that name.
    pub(super) fn service(&self, name: &[u8]) -> Option<(usize, &'a Service)> {
        let services = self.zone.services;
        if services.is_empty() {
            return None;
        }
        let same = |at: &u32| {
            services[*at as usize]
                .name
                .as_wire()
                .eq_ignore_ascii_case(name)
        };
        let at = *self.services.find(hash(name), same)? as usize;
        Some((at, &services[at]))
    }

    pub(super) fn apex(&self) -> Option<&Owner> {
        self.find(self.zone.origin.as_wire())
            .map(|(_, owner)| owner)
    }

    pub(super) fn is_apex(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.zone.origin.as_wire())
    }

    /// The topmost delegation at or above `name`, a name of the zone.
    pub(super) fn cut<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let cut = self.topmost_cut(name)?;
        Some(&name[name.len() - self.owner_name(&self.owners[cut as usize]).len()..])
    }

    /// The same of the owner of index `at`, as it stands in that owner's name.
    pub(super) fn cut_of_owner(&self, at: usize) -> Option<&'a [u8]> {
        let cut = self.cuts.get(at).filter(|cut| **cut != NONE)?;
        let name = self.owner_name(&self.owners[at]);
        Some(&name[name.len() - self.owner_name(&self.owners[*cut as usize]).len()..])
    }

    fn topmost_cut(&self, name: &[u8]) -> Option<u32> {
        if !self.has_cuts {
            return None;
        }
        let above = self
            .upwards(name)
            .filter(|name| !self.is_apex(name))
            .filter_map(|name| self.find(name));
        above
            .filter(|(_, owner)| owner.kinds.any(Kinds::NS))
            .last()
            .map(|(at, _)| id(at))
    }

    /// The nearest DNAME above `name`, a name of the zone.
    pub(super) fn dname_above<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        if !self.has_dnames {
            return None;
        }
        self.upwards(name).skip(1).find(|name| {
            self.find(name)
                .is_some_and(|(_, owner)| owner.kinds.any(Kinds::DNAME))
        })
    }

    /// True where the owner of index `at` is below a delegation: nothing of it is served but
    /// addresses, as glue.
    pub(super) fn is_occluded(&self, at: usize) -> bool {
        self.cut_of_owner(at)
            .is_some_and(|cut| cut.len() < self.owner_name(&self.owners[at]).len())
    }

    /// True where `name` may have records or a service that could not be read.
    pub(super) fn is_unread(&self, name: &[u8]) -> bool {
        self.zone
            .unread
            .covers(&Name::from_wire(name).expect("records hold valid names"))
    }

    /// True for the name that says who owns a unit.
    pub(super) fn is_epoch(&self, name: &[u8]) -> bool {
        let units = self
            .zone
            .services
            .iter()
            .filter(|service| service.unit.is_some());
        units
            .filter_map(|unit| Unit::epoch_name(&unit.name).ok())
            .any(|epoch| epoch.as_wire().eq_ignore_ascii_case(name))
    }

    /// Finds what answers a query for `name`.
    pub(super) fn resolve(&self, name: &[u8]) -> Place<'_> {
        self.resolve_near(name, self.owners.len())
    }

    /// The same for a name that is likely to be one of the owners after `near`.
    fn resolve_near(&self, name: &[u8], near: usize) -> Place<'_> {
        if !is_within(name, self.zone.origin.as_wire()) {
            return Place::Outside;
        }
        let owner = self.find_near(name, near);
        let is_cut_off = match owner {
            Some((at, _)) => self.cut_of_owner(at).is_some(),
            None => self.topmost_cut(name).is_some(),
        };
        if is_cut_off {
            return Place::Delegated { owner };
        }
        if self.dname_above(name).is_some() {
            return Place::Renamed;
        }
        let service = self.service(name);
        if owner.is_some() || service.is_some() || !self.has_wildcards || self.exists(name) {
            return Place::Found { owner, service };
        }
        // "If the source of synthesis does not exist … there will be no wildcard synthesis", and
        // the source is the asterisk below the closest encloser only (RFC 4592 §3.3.1).
        let apex = self.zone.origin.as_wire();
        let encloser = self
            .upwards(name)
            .skip(1)
            .find(|name| self.exists(name))
            .unwrap_or(apex);
        let mut wildcard = [0; MAX_NAME + 2];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard[2..2 + encloser.len()].copy_from_slice(encloser);
        let wildcard = &wildcard[..2 + encloser.len()];
        Place::Found {
            owner: self.find(wildcard),
            service: self.service(wildcard),
        }
    }

    /// Every NS, MX and SRV record with a target, the target, and what that comes to.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Record<'a>, &'a [u8], Place<'_>)> {
        self.links.iter().map(|link| {
            let record = self.zone.records.get(link.record as usize);
            let target =
                &record.rdata[target_offset(record.rtype).expect("a record with a target")..];
            let owner = (link.owner != NONE)
                .then(|| (link.owner as usize, &self.owners[link.owner as usize]));
            let service = (link.service != NONE).then(|| {
                (
                    link.service as usize,
                    &self.zone.services[link.service as usize],
                )
            });
            let place = match link.kind {
                LinkKind::Outside => Place::Outside,
                LinkKind::Delegated => Place::Delegated { owner },
                LinkKind::Renamed => Place::Renamed,
                LinkKind::Found => Place::Found { owner, service },
            };
            (record, target, place)
        })
    }

    /// A finding at a record.
    pub(super) fn at_record(
        &self,
        record: &Record<'_>,
        message: String,
        hint: &'static str,
    ) -> Finding {
        Finding {
            at: record.at(),
            key: format!("{} {}", self.shown(record.owner), record.rtype),
            message,
            hint,
        }
    }

    /// A finding at a service.
    pub(super) fn at_service(
        &self,
        service: &Service,
        message: String,
        hint: &'static str,
    ) -> Finding {
        let name = service
            .unit
            .as_ref()
            .map_or(&service.name, |unit| &unit.rules.service);
        let key = format!("services.{}", name.relative_to(self.zone.origin));
        Finding {
            at: service.at.clone(),
            key,
            message,
            hint,
        }
    }

    /// A finding about the zone as a whole.
    pub(super) fn at_zone(&self, message: String, hint: &'static str) -> Finding {
        Finding {
            at: self.zone.at.clone(),
            key: "zone".to_owned(),
            message,
            hint,
        }
    }

    /// A name as the operator writes it in this zone.
    pub(super) fn shown(&self, name: &[u8]) -> String {
        Name::from_wire(name)
            .expect("records hold valid names")
            .relative_to(self.zone.origin)
    }

    /// `name` and the names above it, up to the apex.
    fn upwards<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'n [u8]> + use<'n> {
        let end = self.zone.origin.as_wire().len();
        std::iter::successors(Some(name), move |name| {
            (name.len() > end).then(|| &name[1 + usize::from(name[0])..])
        })
    }

    fn exists(&self, name: &[u8]) -> bool {
        self.existing
            .find(hash(name), |known| known.eq_ignore_ascii_case(name))
            .is_some()
    }

    fn add_records(&mut self) {
        let records = self.zone.records;
        let origin = self.zone.origin.as_wire();
        let mut last: Option<(&[u8], usize)> = None;
        for (at, record) in records.iter().enumerate() {
            // Records of one owner mostly follow each other, and their owner is stored once: one
            // slice.
            let owner = match last.filter(|(name, _)| std::ptr::eq(*name, record.owner)) {
                Some((_, owner)) => owner,
                None if !is_within(record.owner, origin) => {
                    self.outside.push(id(at));
                    continue;
                }
                None => self.owner(record.owner, id(at)),
            };
            last = Some((record.owner, owner));
            self.has_cuts |= record.rtype == RrType::NS && !self.is_apex(record.owner);
            self.has_dnames |= record.rtype == RrType::DNAME;
            let entry = &mut self.owners[owner];
            entry.kinds = entry.kinds.or(Kinds::of(record.rtype));
            if entry.last != id(at) {
                self.next[entry.last as usize] = id(at);
                entry.last = id(at);
            }
        }
    }

    /// The index of the owner `name`, that of record `at`; a new one starts its chain with the
    /// record.
    fn owner(&mut self, name: &[u8], at: u32) -> usize {
        let (owners, records) = (&self.owners, self.zone.records);
        let hash = records.owner_hash(at as usize);
        let same_name = |slot: &Slot| {
            slot.hash == hash
                && records
                    .get(owners[slot.owner as usize].first as usize)
                    .owner
                    .eq_ignore_ascii_case(name)
        };
        match self
            .slots
            .entry(widen(hash), same_name, |slot| widen(slot.hash))
        {
            Entry::Occupied(slot) => slot.get().owner as usize,
            Entry::Vacant(slot) => {
                let owner = owners.len();
                slot.insert(Slot {
                    hash,
                    owner: id(owner),
                });
                self.has_wildcards |= name.starts_with(b"\x01*");
                self.owners.push(Owner {
                    first: at,
                    last: at,
                    kinds: Kinds(0),
                });
                owner
            }
        }
    }

    fn add_cuts(&mut self) {
        self.cuts = Vec::with_capacity(self.owners.len());
        // Names mostly stand below the one before them, or beside it.
        let mut parent_before: (&[u8], u32) = (&[], NONE);
        for (at, owner) in self.owners.iter().enumerate() {
            let name = self.owner_name(owner);
            if self.is_apex(name) {
                self.cuts.push(NONE);
                continue;
            }
            let parent = &name[1 + usize::from(name[0])..];
            if !parent_before.0.eq_ignore_ascii_case(parent) {
                let is_before = at > 0
                    && self
                        .owner_name(&self.owners[at - 1])
                        .eq_ignore_ascii_case(parent);
                let cut = if is_before {
                    self.cuts[at - 1]
                } else {
                    self.topmost_cut(parent).unwrap_or(NONE)
                };
                parent_before = (parent, cut);
            }
            let own = if owner.kinds.any(Kinds::NS) {
                id(at)
            } else {
                NONE
            };
            self.cuts.push(if parent_before.1 == NONE {
                own
            } else {
                parent_before.1
            });
        }
    }

    fn add_links(&mut self) {
        let mut links = Vec::new();
        for (at, owner) in self
            .owners
            .iter()
            .enumerate()
            .filter(|(_, owner)| owner.kinds.any(Kinds::NS.or(Kinds::OTHER)))
        {
            let (is_cut_off, is_occluded) = (self.cut_of_owner(at).is_some(), self.is_occluded(at));
            for (record, Record { rtype, rdata, .. }) in self.records(owner) {
                // What others are to answer is not served.
                if is_occluded || is_cut_off && rtype != RrType::NS {
                    continue;
                }
                // `.` is no target (RFC 7505, RFC 2782).
                if let Some(skip) = target_offset(rtype)
                    && rdata[skip..] != [0]
                {
                    links.push(Link::new(record, &self.resolve_near(&rdata[skip..], at)));
                }
            }
        }
        self.links = links;
    }

    fn add_existing(&mut self) {
        let owners: Vec<&'a [u8]> = self
            .owners
            .iter()
            .map(|owner| self.owner_name(owner))
            .collect();
        for name in owners.into_iter().chain(
            self.zone
                .services
                .iter()
                .map(|service| service.name.as_wire()),
        ) {
            for name in self.upwards(name) {
                if self.exists(name) {
                    break;
                }
                self.existing
                    .insert_unique(hash(name), name, |name| hash(name));
            }
        }
    }
}

impl Link {
    fn new(record: u32, place: &Place<'_>) -> Link {
        let (kind, owner, service) = match place {
            Place::Outside => (LinkKind::Outside, None, None),
            Place::Delegated { owner } => (LinkKind::Delegated, owner.as_ref(), None),
            Place::Renamed => (LinkKind::Renamed, None, None),
            Place::Found { owner, service } => (LinkKind::Found, owner.as_ref(), service.as_ref()),
        };
        let owner = owner.map_or(NONE, |(at, _)| id(*at));
        Link {
            record,
            owner,
            service: service.map_or(NONE, |(at, _)| id(*at)),
            kind,
        }
    }
}

/// The index of a record, owner or service in 32 bits. Not truncated: each has an octet at least in
/// the texts of its zone, which are below 4 GiB together.
fn id(at: usize) -> u32 {
    at as u32
}

/// A hash of a name, the same for names that differ in case only; 32 bits, widened.
fn hash(name: &[u8]) -> u64 {
    widen(records::hash(name))
}

/// The table takes its buckets from the low bits and its tags from the highest.
fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
