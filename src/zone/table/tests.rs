use super::*;
use crate::dns::{Name, Ttl};
use crate::zone::Records;

fn name(text: &str) -> Name {
    Name::from_text(text, None).unwrap()
}

fn records(list: &[(&str, RrType, &[u8])]) -> Records {
    let mut records = Records::default();
    for (owner, rtype, rdata) in list {
        records.push(
            name(owner).as_wire(),
            *rtype,
            Ttl::from_secs(60).unwrap(),
            rdata,
            (&"z".into(), 1, 1),
        );
    }
    records
}

const SOA: &[u8] = b"\x02ns\x01e\0\x01h\x01e\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x14";
const NS: &[u8] = b"\x02ns\x01e\0";

fn zone_e() -> Records {
    records(&[
        ("e.", RrType::SOA, SOA),
        ("e.", RrType::NS, NS),
        ("ns.e.", RrType::A, &[192, 0, 2, 53]),
        ("A.e.", RrType::A, &[192, 0, 2, 1]),
        ("a.e.", RrType::A, &[192, 0, 2, 2]),
        ("a.e.", RrType::A, &[192, 0, 2, 1]),
        ("x.ent.e.", RrType::A, &[192, 0, 2, 3]),
        ("*.w.e.", RrType::TXT, b"\x01w"),
        ("alias.e.", RrType::CNAME, b"\x01a\x01e\0"),
        ("cut.e.", RrType::NS, b"\x02ns\x03cut\x01e\0"),
        ("cut.e.", RrType::DS, b"\0\x01\x08\x02ab"),
        ("ns.cut.e.", RrType::A, &[192, 0, 2, 54]),
        ("d.e.", RrType::DNAME, b"\x05other\0"),
    ])
}

fn table(records: &Records) -> NameTable {
    let (origin, service) = (name("e."), name("www.e."));
    NameTable::build(&[ZoneInput {
        origin: &origin,
        records,
        services: vec![(&service, ServiceId(7))],
        epochs: &[],
    }])
}

fn shape(table: &NameTable, qname: &str, qtype: RrType) -> String {
    let Some((zone, lookup)) = table.lookup(name(qname).to_lowercase().as_wire(), qtype) else {
        return "outside".into();
    };
    match lookup {
        Lookup::Hit(set) => format!("hit {} {}", set.rtype, set.count),
        Lookup::Cname(_) => "cname".into(),
        Lookup::Dname(_, len) => format!("dname {len}"),
        Lookup::Service(id) => format!("service {}", id.0),
        Lookup::Epoch(id) => format!("epoch {}", id.0),
        Lookup::NoData => format!("nodata {}", zone.0),
        Lookup::NxDomain => format!("nxdomain {}", zone.0),
        Lookup::Referral(set, len) => format!("referral {} {len}", set.count),
    }
}

#[test]
fn every_outcome_of_a_lookup() {
    let records = zone_e();
    let table = table(&records);
    for (qname, qtype, expected) in [
        ("a.e.", RrType::A, "hit A 2"),
        ("a.e.", RrType::AAAA, "nodata 0"),
        ("e.", RrType::SOA, "hit SOA 1"),
        ("e.", RrType::DS, "nodata 0"),
        ("ent.e.", RrType::A, "nodata 0"),
        ("y.ent.e.", RrType::A, "nxdomain 0"),
        ("no.e.", RrType::A, "nxdomain 0"),
        ("q.w.e.", RrType::TXT, "hit TXT 1"),
        ("p.q.w.e.", RrType::TXT, "hit TXT 1"),
        ("q.w.e.", RrType::A, "nodata 0"),
        ("w.e.", RrType::TXT, "nodata 0"),
        ("alias.e.", RrType::A, "cname"),
        ("alias.e.", RrType::CNAME, "hit CNAME 1"),
        ("cut.e.", RrType::A, "referral 1 7"),
        ("cut.e.", RrType::NS, "referral 1 7"),
        ("cut.e.", RrType::DS, "hit DS 1"),
        ("ns.cut.e.", RrType::A, "referral 1 7"),
        ("ns.cut.e.", RrType::DS, "referral 1 7"),
        ("deep.er.cut.e.", RrType::A, "referral 1 7"),
        ("d.e.", RrType::DNAME, "hit DNAME 1"),
        ("d.e.", RrType::A, "nodata 0"),
        ("x.d.e.", RrType::A, "dname 5"),
        ("www.e.", RrType::A, "service 7"),
        ("x.www.e.", RrType::A, "nxdomain 0"),
        ("f.", RrType::A, "outside"),
        (".", RrType::NS, "outside"),
    ] {
        assert_eq!(shape(&table, qname, qtype), expected, "{qname} {qtype}");
    }
}

#[test]
fn zones_are_found_whatever_their_depths_and_order() {
    let shallow = zone_e();
    let deep = records(&[("a.b.f.", RrType::SOA, SOA), ("a.b.f.", RrType::NS, NS)]);
    let (e, f) = (name("e."), name("a.b.f."));
    for turned in [false, true] {
        let mut zones = [(&e, &shallow), (&f, &deep)];
        if turned {
            zones.reverse();
        }
        let table = NameTable::build(&zones.map(|(origin, records)| ZoneInput {
            origin,
            records,
            services: vec![],
            epochs: &[],
        }));
        let (of_e, of_f) = (
            format!("nxdomain {}", u8::from(turned)),
            format!("nxdomain {}", u8::from(!turned)),
        );
        for (qname, expected) in [
            ("no.e.", of_e.as_str()),
            ("x.y.z.no.e.", &of_e),
            ("no.a.b.f.", &of_f),
            ("b.f.", "outside"),
            ("x.y.z.b.f.", "outside"),
        ] {
            assert_eq!(shape(&table, qname, RrType::A), expected, "{qname}");
        }
    }
}

#[test]
fn a_child_zone_takes_over_and_its_parent_answers_ds() {
    let parent = zone_e();
    let child = records(&[
        ("cut.e.", RrType::SOA, SOA),
        ("cut.e.", RrType::NS, NS),
        ("www.cut.e.", RrType::A, &[192, 0, 2, 9]),
    ]);
    let (e, cut) = (name("e."), name("cut.e."));
    let table = NameTable::build(&[
        ZoneInput {
            origin: &e,
            records: &parent,
            services: vec![],
            epochs: &[],
        },
        ZoneInput {
            origin: &cut,
            records: &child,
            services: vec![],
            epochs: &[],
        },
    ]);
    assert_eq!(shape(&table, "www.cut.e.", RrType::A), "hit A 1");
    assert_eq!(shape(&table, "no.cut.e.", RrType::A), "nxdomain 1");
    assert_eq!(shape(&table, "cut.e.", RrType::NS), "hit NS 1");
    assert_eq!(shape(&table, "cut.e.", RrType::DS), "hit DS 1");
}

#[test]
fn names_in_rdata_are_shortened_to_the_origin() {
    let records = zone_e();
    let table = table(&records);
    let Some((_, Lookup::Hit(soa))) = table.lookup(b"\x01e\0", RrType::SOA) else {
        panic!("no SOA")
    };
    assert_eq!(table.pointers(&soa), [15u16, 19].map(u16::to_ne_bytes));
    assert_eq!(&table.block(&soa)[12..21], b"\x02ns\xc0\0\x01h\xc0\0");
    let Some((_, Lookup::Hit(ns))) = table.lookup(b"\x01e\0", RrType::NS) else {
        panic!("no NS")
    };
    let addresses: Vec<_> = table.target_addresses(&ns, 0).collect();
    assert_eq!((addresses.len(), addresses[0].1), (1, false));
    let Some((_, Lookup::Referral(cut, _))) = table.lookup(b"\x03cut\x01e\0", RrType::A) else {
        panic!("no cut")
    };
    assert!(
        table
            .target_addresses(&cut, 0)
            .all(|(set, glue)| glue && set.rtype == RrType::A)
    );
}

#[test]
fn duplicates_that_differ_in_case_are_served_once() {
    let records = records(&[
        ("e.", RrType::SOA, SOA),
        ("e.", RrType::NS, NS),
        ("e.", RrType::NS, b"\x02NS\x01E\0"),
        ("e.", RrType::MX, b"\0\x41\x02ns\x01e\0"),
        ("e.", RrType::MX, b"\0\x61\x02ns\x01e\0"),
        ("e.", RrType::MX, b"\0\x61\x02nS\x01e\0"),
    ]);
    let table = table(&records);
    assert_eq!(shape(&table, "e.", RrType::NS), "hit NS 1");
    assert_eq!(shape(&table, "e.", RrType::MX), "hit MX 2");
}

#[test]
fn owners_are_the_names_that_have_something() {
    let records = zone_e();
    let (origin, www, epoch) = (name("e."), name("s.ent2.e."), name("_epoch.s.ent2.e."));
    let epochs = [(epoch, ServiceId(0))];
    let zone = ZoneInput {
        origin: &origin,
        records: &records,
        services: vec![(&www, ServiceId(0))],
        epochs: &epochs,
    };
    let table = NameTable::build(&[zone]);
    let mut owners: Vec<String> = table
        .owners()
        .map(|owner| crate::dns::Name::from_wire(owner).unwrap().to_string())
        .collect();
    owners.sort();
    let mut expected: Vec<String> = records
        .iter()
        .map(|record| record.owner_name().to_lowercase().to_string())
        .collect();
    expected.push("s.ent2.e.".to_owned());
    expected.sort();
    expected.dedup();
    assert_eq!(owners, expected);
    assert!(!owners.contains(&"ent.e.".to_owned()) && owners.len() < table.len());
}
