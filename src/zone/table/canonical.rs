//! The canonical view of a zone: its names in canonical order, and their RRsets in canonical form
//! (RFC 4034 §6), as signing, denial of existence and transfers need them.
//!
//! The view is made on demand out of the table's arena, for the zones that need it, and stores
//! nothing twice: 4 octets a name. An RRset is put into its canonical form when it is asked for.

use super::{EPOCH, NONE, NameTable, Node, RR_FIXED, Rrset, rrs};
use crate::dns::{RrType, canonical_order};
use crate::model::{ServiceId, ZoneId};
use crate::zone::words::name_length;

/// The names of one zone in canonical order: those with records or a service, the empty
/// non-terminals between them, and the glue below its delegations.
#[derive(Debug, Clone)]
pub struct CanonicalNames {
    zone: ZoneId,
    /// Records of the table, whose names are in canonical order.
    records: Box<[u32]>,
}

/// A name of a zone, as its canonical view has it.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalName<'t> {
    table: &'t NameTable,
    record: u32,
    node: Node<'t>,
}

/// An RRset in canonical form (RFC 4034 §6.2, §6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalRrset {
    /// Its type.
    pub rtype: RrType,
    /// Its TTL, in seconds.
    pub ttl: u32,
    /// The rdata of its RRs in canonical order, without duplicates: names uncompressed, and in lower
    /// case for the types of RFC 4034 §6.2 as RFC 6840 §5.1 corrects them.
    pub rdatas: Vec<Vec<u8>>,
}

impl NameTable {
    /// The canonical view of each of `zones`, in their order. It reads every name of the table once,
    /// for however many zones.
    pub fn canonical_names(&self, zones: &[ZoneId]) -> Vec<CanonicalNames> {
        let mut places = vec![None; self.zones.len()];
        for (place, zone) in zones.iter().enumerate() {
            places[zone.index()] = Some(place);
        }
        let mut records = vec![Vec::new(); zones.len()];
        // The index has each name for the zone that answers it. A name that the zone above has as
        // well, as a delegation or glue, stands apart.
        for record in self.index.records().chain(self.handed_over.iter().copied()) {
            if let Some(place) = places[self.node(record).zone.index()] {
                records[place].push(record);
            }
        }
        let mut views = Vec::with_capacity(zones.len());
        for (zone, mut records) in zones.iter().zip(records) {
            records
                .sort_unstable_by(|a, b| canonical_order(self.node(*a).name, self.node(*b).name));
            let records = records.into_boxed_slice();
            views.push(CanonicalNames {
                zone: *zone,
                records,
            });
        }
        views
    }
}

impl CanonicalNames {
    /// The zone.
    pub fn zone(&self) -> ZoneId {
        self.zone
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without any name; a zone has its apex at least.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The name at place `index` of the order. `table` is the one that the view was made from.
    pub fn get<'t>(&self, table: &'t NameTable, index: usize) -> Option<CanonicalName<'t>> {
        let record = *self.records.get(index)?;
        Some(CanonicalName {
            table,
            record,
            node: table.node(record),
        })
    }

    /// Every name in canonical order, the apex first. `table` is the one that the view was made from.
    pub fn iter<'t>(&self, table: &'t NameTable) -> impl Iterator<Item = CanonicalName<'t>> {
        (0..self.len()).filter_map(move |index| self.get(table, index))
    }

    /// The place of `name` (wire format, any case) in the order: `Ok` where the zone has it, else
    /// `Err` with the place that it would take, one behind the name that covers it (RFC 4034 §4).
    pub fn position(&self, table: &NameTable, name: &[u8]) -> Result<usize, usize> {
        self.records
            .binary_search_by(|record| canonical_order(table.node(*record).name, name))
    }
}

impl<'t> CanonicalName<'t> {
    /// The name, lower-cased wire format.
    pub fn owner(&self) -> &'t [u8] {
        self.node.name
    }

    /// The service at the name.
    pub fn service(&self) -> Option<ServiceId> {
        match self.node.service {
            NONE => None,
            service if service & EPOCH != 0 => None,
            service => Some(ServiceId(service)),
        }
    }

    /// The unit whose owner the name tells.
    pub fn epoch(&self) -> Option<ServiceId> {
        match self.node.service {
            NONE => None,
            service if service & EPOCH == 0 => None,
            service => Some(ServiceId(service & !EPOCH)),
        }
    }

    /// True for a name below a delegation or a DNAME: its records are glue or never answered, and
    /// are neither signed nor denied.
    pub fn is_occluded(&self) -> bool {
        self.node.cut != NONE && self.node.cut != self.record
    }

    /// Its static RRsets in the order of their types, each in canonical form.
    pub fn rrsets(&self) -> impl Iterator<Item = CanonicalRrset> {
        let origin = self.table.origin(self.node.zone);
        let sets = self.table.rrsets_of(&self.node);
        sets.map(move |set| canonical_rrset(self.table, &set, origin))
    }
}

/// The canonical form of an RRset of the zone at `origin`.
fn canonical_rrset(table: &NameTable, set: &Rrset, origin: &[u8]) -> CanonicalRrset {
    let block = table.block(set);
    let mut rdatas = Vec::with_capacity(usize::from(set.count));
    for (start, shortened) in rrs(block) {
        let (first, end) = (start + RR_FIXED, start + RR_FIXED + shortened.len());
        let mut rdata = Vec::with_capacity(shortened.len() + origin.len());
        let mut at = first;
        for pointer in table.pointers(set) {
            let pointer = usize::from(u16::from_ne_bytes(*pointer));
            if (first..end).contains(&pointer) {
                rdata.extend_from_slice(&block[at..pointer]);
                rdata.extend_from_slice(origin);
                at = pointer + 2;
            }
        }
        rdata.extend_from_slice(&block[at..end]);
        lower_names(set.rtype, &mut rdata);
        rdatas.push(rdata);
    }
    // "by treating the RDATA portion of the canonical form of each RR as a left-justified unsigned
    // octet sequence" (RFC 4034 §6.3), which is how Rust compares them.
    rdatas.sort_unstable();
    rdatas.dedup();
    let ttl = block[6..].first_chunk();
    CanonicalRrset {
        rtype: set.rtype,
        ttl: ttl.map_or(0, |ttl| u32::from_be_bytes(*ttl)),
        rdatas,
    }
}

/// Puts the names in uncompressed rdata into lower case, for the types whose canonical form has them
/// so. Rdata that is not of its type's form, as `\#` can write it, stays as it is.
fn lower_names(rtype: RrType, rdata: &mut [u8]) {
    let Some((before, names)) = names_in(rtype, rdata) else {
        return;
    };
    let mut at = before;
    for _ in 0..names {
        let Some(length) = rdata.get(at..).and_then(name_length) else {
            return;
        };
        // Lengths of labels are below 64, where no letter is.
        rdata[at..at + length].make_ascii_lowercase();
        at += length;
    }
}

/// The octets before the names in rdata of this type, and how many names follow each other there:
/// the list of RFC 4034 §6.2, without NSEC (RFC 6840 §5.1) and HINFO, which has no names.
fn names_in(rtype: RrType, rdata: &[u8]) -> Option<(usize, usize)> {
    Some(match rtype {
        RrType::NS
        | RrType::MD
        | RrType::MF
        | RrType::CNAME
        | RrType::MB
        | RrType::MG
        | RrType::MR
        | RrType::PTR
        | RrType::DNAME => (0, 1),
        // The next name of NXT, RFC 2535 §5.2.
        RrType(30) => (0, 1),
        RrType::SOA | RrType::MINFO | RrType::RP => (0, 2),
        RrType::MX | RrType::AFSDB | RrType::RT | RrType::KX => (2, 1),
        RrType::PX => (2, 2),
        RrType::SRV => (6, 1),
        // The signer's name.
        RrType::SIG | RrType::RRSIG => (18, 1),
        RrType::NAPTR => {
            let mut at = 4;
            for _ in 0..3 {
                at += 1 + usize::from(*rdata.get(at)?);
            }
            (at, 1)
        }
        RrType::A6 => match *rdata.first()? {
            0 => return None,
            // The part of the address that the prefix leaves (RFC 2874 §3.1).
            prefix => (1 + usize::from(128u8.checked_sub(prefix)?.div_ceil(8)), 1),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{Name as HickoryName, RData, RecordType};
    use hickory_proto::serialize::binary::{
        BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::dns::{Name, Ttl};
    use crate::zone::{Records, ZoneInput};

    const SOA: &[u8] =
        b"\x02Ns\x01e\0\x01H\x01E\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x14";

    type Written = (Name, RrType, Vec<u8>);

    fn table_of(zones: &[(&str, &[Written])]) -> NameTable {
        let mut inputs = Vec::new();
        for (origin, list) in zones {
            let (origin, mut records) = (name(origin), Records::default());
            let ttl = Ttl::from_secs(60).unwrap();
            for (owner, rtype, rdata) in *list {
                records.push(owner.as_wire(), *rtype, ttl, rdata, (&"z".into(), 1, 1));
            }
            inputs.push((origin, records));
        }
        let zones: Vec<_> = inputs
            .iter()
            .map(|(origin, records)| ZoneInput {
                origin,
                records,
                services: vec![],
                epochs: &[],
            })
            .collect();
        NameTable::build(&zones)
    }

    fn name(text: &str) -> Name {
        Name::from_text(text, None).unwrap()
    }

    fn owners(table: &NameTable, zone: u32) -> Vec<String> {
        let view = &table.canonical_names(&[ZoneId(zone)])[0];
        assert_eq!(view.zone(), ZoneId(zone));
        view.iter(table)
            .map(|name| Name::from_wire(name.owner()).unwrap().to_string())
            .collect()
    }

    #[test]
    fn the_example_of_the_rfc_is_in_its_order() {
        // RFC 4034 §6.1, but for its `\001`, which stands between `\000` and `*`.
        let expected = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "z.a.example.",
            "zabc.a.example.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        let mut list = vec![(name("example."), RrType::SOA, SOA.to_vec())];
        for owner in ["\\200.z", "Z.a", "*.z", "yljkjljk.a", "\\001.z", "zABC.a"] {
            let owner = name(&format!("{owner}.EXAMPLE."));
            list.push((owner, RrType::A, vec![192, 0, 2, 1]));
        }
        assert_eq!(owners(&table_of(&[("example.", &list)]), 0), expected);
    }

    #[test]
    fn a_zone_keeps_its_delegation_and_glue_where_the_child_is_ours_too() {
        let ns = b"\x02ns\x01c\x01e\0".to_vec();
        let (apex, cut, glue) = (name("e."), name("c.e."), name("ns.c.e."));
        let parent = [
            (apex, RrType::SOA, SOA.to_vec()),
            (cut.clone(), RrType::NS, ns.clone()),
            (glue.clone(), RrType::A, vec![192, 0, 2, 1]),
        ];
        let child = [
            (cut.clone(), RrType::SOA, SOA.to_vec()),
            (cut, RrType::NS, ns),
            (glue, RrType::A, vec![192, 0, 2, 2]),
        ];
        let table = table_of(&[("e.", &parent), ("c.e.", &child)]);
        assert_eq!(owners(&table, 0), ["e.", "c.e.", "ns.c.e."]);
        assert_eq!(owners(&table, 1), ["c.e.", "ns.c.e."]);
        let views = table.canonical_names(&[ZoneId(1), ZoneId(0)]);
        let occluded: Vec<Vec<bool>> = views
            .iter()
            .map(|view| view.iter(&table).map(|name| name.is_occluded()).collect())
            .collect();
        assert_eq!(occluded, [vec![false; 2], vec![false, false, true]]);
        let glue = views[1].get(&table, 2).unwrap().rrsets().next().unwrap();
        assert_eq!((glue.ttl, glue.rdatas), (60, vec![vec![192, 0, 2, 1]]));
    }

    /// Labels that collide, in any case, with octets that sort before and behind letters.
    fn labels() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-cA-C*\\-0]{1,3}", 1..4)
    }

    fn hickory(text: &str) -> HickoryName {
        HickoryName::from_labels(name(text).labels()).unwrap()
    }

    proptest! {
        #[test]
        fn names_are_in_the_order_that_hickory_has(list in proptest::collection::vec(labels(), 0..30)) {
            let mut records = vec![(name("e."), RrType::SOA, SOA.to_vec())];
            for labels in &list {
                let owner = name(&format!("{}.E.", labels.join(".")));
                records.push((owner, RrType::TXT, b"\x01x".to_vec()));
            }
            let table = table_of(&[("e.", &records)]);
            let owners = owners(&table, 0);
            prop_assert_eq!(owners.len(), table.len());
            for pair in owners.windows(2) {
                prop_assert!(hickory(&pair[0]) < hickory(&pair[1]), "{:?}", pair);
            }
            let view = &table.canonical_names(&[ZoneId(0)])[0];
            for (index, owner) in owners.iter().enumerate() {
                let upper = name(&owner.to_uppercase());
                prop_assert_eq!(view.position(&table, upper.as_wire()), Ok(index));
            }
            let missing = name("zz.e.");
            prop_assert_eq!(view.position(&table, missing.as_wire()), Err(owners.len()));
        }

        #[test]
        fn rdata_is_in_the_form_that_hickory_has(
            labels in labels(),
            outside in any::<bool>(),
            numbers in any::<[u8; 8]>(),
        ) {
            let zone = if outside { "Other" } else { "E" };
            let target = name(&format!("{}.{zone}.", labels.join(".")));
            let target = target.as_wire();
            let join = |before: &[u8], after: &[u8]| [before, target, after].concat();
            for (rtype, rdata) in [
                (RrType::NS, join(&[], &[])),
                (RrType::CNAME, join(&[], &[])),
                (RrType::PTR, join(&[], &[])),
                (RrType::MX, join(&numbers[..2], &[])),
                (RrType::SRV, join(&numbers[..6], &[])),
                (RrType::SOA, join(target, &[numbers, numbers, [0; 8]].concat()[..20])),
                (RrType::NAPTR, join(&[&numbers[..4], b"\x01U\x03E2u\x02!!"].concat(), &[])),
                (RrType::SVCB, join(&[0, 1], &[])),
                (RrType::TXT, b"\x03AbC".to_vec()),
            ] {
                let apex = (name("e."), RrType::SOA, SOA.to_vec());
                let owner = (name("x.e."), rtype, rdata.clone());
                let table = table_of(&[("e.", &[apex, owner])]);
                let view = &table.canonical_names(&[ZoneId(0)])[0];
                let own = view.get(&table, 1).unwrap().rrsets().next().unwrap();
                prop_assert_eq!((own.rtype, own.ttl), (rtype, 60));
                prop_assert_eq!(&own.rdatas, &[canonical_by_hickory(rtype, &rdata)], "{}", rtype);
            }
        }

        #[test]
        fn any_octets_are_some_rdata(rtype in 0..110u16, rdata in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (mut lowered, before) = (rdata.clone(), rdata);
            lower_names(RrType(rtype), &mut lowered);
            prop_assert!(lowered.eq_ignore_ascii_case(&before));
        }
    }

    fn canonical_by_hickory(rtype: RrType, rdata: &[u8]) -> Vec<u8> {
        let length = Restrict::new(rdata.len() as u16);
        let mut decoder = BinDecoder::new(rdata);
        let read = RData::read(&mut decoder, RecordType::from(rtype.0), length).unwrap();
        let mut out = Vec::new();
        let mut encoder = BinEncoder::new(&mut out);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        encoder.set_canonical_form(true);
        read.emit(&mut encoder).unwrap();
        out
    }

    #[test]
    fn an_rrset_is_in_order_and_without_duplicates() {
        let mut list = vec![(name("e."), RrType::SOA, SOA.to_vec())];
        for target in [
            &b"\x02NS\x01E\0"[..],
            b"\x01b\x01e\0",
            b"\x02ns\x01e\0",
            b"\x01B\0",
        ] {
            list.push((name("e."), RrType::NS, target.to_vec()));
        }
        let table = table_of(&[("e.", &list)]);
        let apex = table.canonical_names(&[ZoneId(0)])[0]
            .get(&table, 0)
            .unwrap();
        let sets: Vec<CanonicalRrset> = apex.rrsets().collect();
        assert_eq!([sets[0].rtype, sets[1].rtype], [RrType::NS, RrType::SOA]);
        let expected = [&b"\x01b\0"[..], b"\x01b\x01e\0", b"\x02ns\x01e\0"];
        assert_eq!(sets[0].rdatas, expected);
        assert_eq!(sets[1].rdatas, [SOA.to_ascii_lowercase()]);
    }
}
