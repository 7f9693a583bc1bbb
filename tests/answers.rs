//! The wire engine against real zone text: every rule of the answers, each output parsed by hickory-proto.

mod common;

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::Message;
use meridian::answer::{
    DropReason, Query, Response, TCP_BUFFER, Transport, Worker, explain, respond,
};
use meridian::dataset::Snapshot;
use meridian::dns::{Name, RrType};
use meridian::model::WallTime;
use proptest::prelude::*;

const ZONE: &str = include_str!("answers.zone");

fn gtm() -> Arc<Snapshot> {
    common::snapshot(&[common::CONFIGURATION, ZONE].concat())
}

/// A query as octets: options as (code, data); `None` is no OPT.
#[derive(Debug, Clone)]
struct Ask {
    name: String,
    rtype: RrType,
    class: u16,
    flags: u16,
    udp_size: u16,
    dnssec_ok: bool,
    options: Option<Vec<(u16, Vec<u8>)>>,
}

impl Ask {
    fn new(name: &str, rtype: RrType) -> Ask {
        Ask {
            name: name.into(),
            rtype,
            class: 1,
            flags: 0x0100,
            udp_size: 1232,
            dnssec_ok: false,
            options: None,
        }
    }

    fn option(mut self, code: u16, data: &[u8]) -> Ask {
        self.options
            .get_or_insert_default()
            .push((code, data.to_vec()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let name = Name::from_text(&self.name, None).unwrap();
        let mut message = vec![0xab, 0xcd];
        message.extend(self.flags.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.options.is_some())]);
        message.extend(name.as_wire());
        message.extend(self.rtype.0.to_be_bytes());
        message.extend(self.class.to_be_bytes());
        if let Some(options) = &self.options {
            let data: Vec<u8> = options
                .iter()
                .flat_map(|(code, data)| {
                    [
                        &code.to_be_bytes()[..],
                        &(data.len() as u16).to_be_bytes(),
                        data,
                    ]
                    .concat()
                })
                .collect();
            message.extend([0, 0, 41]);
            message.extend(self.udp_size.to_be_bytes());
            message.extend([0, 0, if self.dnssec_ok { 0x80 } else { 0 }, 0]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        message
    }
}

fn send(
    snapshot: &Snapshot,
    bytes: &[u8],
    client: &str,
    transport: Transport,
) -> Result<Vec<u8>, DropReason> {
    let client: IpAddr = client.parse().unwrap();
    let mut out = vec![0; TCP_BUFFER];
    match respond(
        snapshot,
        &mut Worker::new(1),
        &Query::synthetic(bytes, client, transport),
        &mut out,
    ) {
        Response::Send(length) => Ok(out[..length].to_vec()),
        Response::Drop(reason) => Err(reason),
    }
}

/// An answer in one line: rcode, flags, then the records of each section.
fn show(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap_or_else(|e| panic!("{e}: {bytes:02x?}"));
    let meta = &message.metadata;
    let mut out = meridian::dns::Rcode(meta.response_code.into()).to_string();
    for (set, name) in [
        (meta.authoritative, " AA"),
        (meta.truncation, " TC"),
        (meta.recursion_available, " RA"),
    ] {
        out.push_str(if set { name } else { "" });
    }
    for (mark, section) in [
        (" |", &message.answers),
        (" / auth", &message.authorities),
        (" / add", &message.additionals),
    ] {
        if !section.is_empty() {
            out.push_str(mark);
        }
        for record in section {
            out.push_str(&format!(
                " {} {} {} {};",
                record.name,
                record.ttl,
                record.record_type(),
                record.data
            ));
        }
    }
    out.trim_end_matches(';').to_owned()
}

fn ask(snapshot: &Snapshot, ask: &Ask) -> String {
    show(&send(snapshot, &ask.bytes(), "203.0.113.5", Transport::Udp).unwrap())
}

#[test]
fn static_names() {
    let snapshot = gtm();
    let soa =
        "/ auth gtm.example. 30 SOA ns1.gtm.example. hostmaster.gtm.example. 1 3600 600 604800 30";
    for (name, rtype, expected) in [
        (
            "text.gtm.example.",
            RrType::TXT,
            "NOERROR AA | text.gtm.example. 300 TXT onetwo",
        ),
        (
            "nothing.gtm.example.",
            RrType::A,
            &format!("NXDOMAIN AA {soa}"),
        ),
        ("ent.gtm.example.", RrType::A, &format!("NOERROR AA {soa}")),
        (
            "mail.gtm.example.",
            RrType::AAAA,
            &format!("NOERROR AA {soa}"),
        ),
        (
            "gtm.example.",
            RrType::NS,
            "NOERROR AA | gtm.example. 3600 NS ns1.gtm.example.; gtm.example. 3600 NS ns.elsewhere.example.; / add ns1.gtm.example. 3600 A 192.0.2.53; ns1.gtm.example. 3600 AAAA 2001:db8::53",
        ),
        (
            "gtm.example.",
            RrType::MX,
            "NOERROR AA | gtm.example. 300 MX 10 mail.gtm.example.; gtm.example. 300 MX 20 mail.elsewhere.example.; / add mail.gtm.example. 300 A 192.0.2.25",
        ),
        (
            "_s._tcp.gtm.example.",
            RrType::SRV,
            "NOERROR AA | _s._tcp.gtm.example. 300 SRV 0 0 80 mail.gtm.example.; / add mail.gtm.example. 300 A 192.0.2.25",
        ),
        (
            "y.wild.gtm.example.",
            RrType::A,
            "NOERROR AA | y.wild.gtm.example. 300 A 192.0.2.7",
        ),
        (
            "x.wild.gtm.example.",
            RrType::A,
            &format!("NOERROR AA {soa}"),
        ),
        (
            "z.y.wild.gtm.example.",
            RrType::A,
            "NOERROR AA | z.y.wild.gtm.example. 300 A 192.0.2.7",
        ),
        (
            "text.gtm.example.",
            RrType::ANY,
            "NOERROR AA | text.gtm.example. 3600 HINFO RFC8482 ",
        ),
        (
            "www.gtm.example.",
            RrType::ANY,
            "NOERROR AA | www.gtm.example. 3600 HINFO RFC8482 ",
        ),
        (
            "c2.gtm.example.",
            RrType::ANY,
            "NOERROR AA | c2.gtm.example. 300 CNAME text.gtm.example.",
        ),
        (
            "www.gtm.example.",
            RrType::TXT,
            "NOERROR AA | www.gtm.example. 300 TXT beside a service",
        ),
        ("elsewhere.example.", RrType::A, "REFUSED"),
        (".", RrType::NS, "REFUSED"),
        ("gtm.example.", RrType::AXFR, "REFUSED"),
        ("gtm.example.", RrType::IXFR, "REFUSED"),
    ] {
        assert_eq!(
            ask(&snapshot, &Ask::new(name, rtype)).trim_end(),
            expected.trim_end(),
            "{name} {rtype}"
        );
    }
}

#[test]
fn aliases_are_chased_through_static_names_only() {
    let snapshot = gtm();
    for (name, rtype, expected) in [
        (
            "c1.gtm.example.",
            RrType::TXT,
            "NOERROR AA | c1.gtm.example. 300 CNAME c2.gtm.example.; c2.gtm.example. 300 CNAME text.gtm.example.; text.gtm.example. 300 TXT onetwo",
        ),
        (
            "c1.gtm.example.",
            RrType::CNAME,
            "NOERROR AA | c1.gtm.example. 300 CNAME c2.gtm.example.",
        ),
        (
            "out.gtm.example.",
            RrType::A,
            "NOERROR AA | out.gtm.example. 300 CNAME www.elsewhere.example.",
        ),
        (
            "tosvc.gtm.example.",
            RrType::A,
            "NOERROR AA | tosvc.gtm.example. 300 CNAME www.gtm.example.",
        ),
        (
            "dangle.gtm.example.",
            RrType::A,
            "NXDOMAIN AA | dangle.gtm.example. 300 CNAME nothing.gtm.example.; / auth gtm.example. 30 SOA ns1.gtm.example. hostmaster.gtm.example. 1 3600 600 604800 30",
        ),
    ] {
        let got = ask(&snapshot, &Ask::new(name, rtype));
        assert_eq!(got, expected, "{name} {rtype}");
    }
    let dname = ask(&snapshot, &Ask::new("a.d.gtm.example.", RrType::A));
    assert!(
        dname.starts_with("NOERROR AA | d.gtm.example. 300 DNAME"),
        "{dname}"
    );
    let made = "; a.d.gtm.example. 300 CNAME a.target.gtm.example.; a.target.gtm.example. 300 A 192.0.2.66";
    assert!(dname.ends_with(made), "{dname}");
    let chain = ask(&snapshot, &Ask::new("l1.gtm.example.", RrType::TXT));
    assert_eq!(chain.matches("CNAME").count(), 8, "{chain}");
    assert!(!chain.contains("TXT"), "{chain}");
}

/// What NSD and Knot answer, but for ANY, which ends at the CNAME as at a static one.
#[test]
fn a_cname_asked_below_a_dname_is_the_one_that_the_dname_makes() {
    // hickory knows the type by its number only, and shows its rdata in base64: target.gtm.example.
    const TARGET: &str = "BnRhcmdldANndG0HZXhhbXBsZQA=";
    let snapshot = gtm();
    let made = |name: &str| {
        format!(
            "| d.gtm.example. 300 DNAME {TARGET}; {name}.d.gtm.example. 300 CNAME {name}.target.gtm.example."
        )
    };
    let soa = "; / auth gtm.example. 30 SOA ns1.gtm.example. hostmaster.gtm.example. 1 3600 600 604800 30";
    for (name, rtype, rcode, rest) in [
        ("a", RrType::CNAME, "NOERROR", ""),
        ("nothing", RrType::CNAME, "NOERROR", ""),
        ("a", RrType::ANY, "NOERROR", ""),
        ("nothing", RrType::ANY, "NOERROR", ""),
        ("a", RrType::DNAME, "NOERROR", soa),
        ("a", RrType::DS, "NOERROR", soa),
        ("a", RrType::MX, "NOERROR", soa),
        ("nothing", RrType::A, "NXDOMAIN", soa),
    ] {
        let got = ask(
            &snapshot,
            &Ask::new(&format!("{name}.d.gtm.example."), rtype),
        );
        assert_eq!(
            got,
            format!("{rcode} AA {}{rest}", made(name)),
            "{name} {rtype}"
        );
    }
    assert_eq!(
        ask(&snapshot, &Ask::new("d.gtm.example.", RrType::DNAME)),
        format!("NOERROR AA | d.gtm.example. 300 DNAME {TARGET}")
    );
    assert_eq!(
        ask(&snapshot, &Ask::new("d.gtm.example.", RrType::CNAME)),
        format!("NOERROR AA {}", &soa[2..])
    );
}

#[test]
fn delegations_have_their_glue_and_the_parent_answers_ds() {
    let snapshot = gtm();
    let referral = "NOERROR / auth cut.gtm.example. 3600 NS ns.cut.gtm.example.; cut.gtm.example. 3600 NS ns1.gtm.example.; / add ns.cut.gtm.example. 3600 A 192.0.2.99; ns1.gtm.example. 3600 A 192.0.2.53; ns1.gtm.example. 3600 AAAA 2001:db8::53";
    assert_eq!(
        ask(&snapshot, &Ask::new("www.cut.gtm.example.", RrType::A)),
        referral
    );
    assert_eq!(
        ask(&snapshot, &Ask::new("www.cut.gtm.example.", RrType::TXT)),
        referral,
        "data below a delegation is not served"
    );
    assert_eq!(
        ask(&snapshot, &Ask::new("cut.gtm.example.", RrType::NS)),
        referral
    );
    let ds = ask(&snapshot, &Ask::new("cut.gtm.example.", RrType::DS));
    assert!(
        ds.starts_with("NOERROR AA | cut.gtm.example. 3600 DS"),
        "{ds}"
    );
    let soa = ask(&snapshot, &Ask::new("gtm.example.", RrType::DS));
    assert!(
        soa.starts_with("NOERROR AA / auth gtm.example. 30 SOA"),
        "{soa}"
    );
}

#[test]
fn services_follow_the_client() {
    let snapshot = gtm();
    let from = |client: &str, name: &str, rtype| {
        show(
            &send(
                &snapshot,
                &Ask::new(name, rtype).bytes(),
                client,
                Transport::Udp,
            )
            .unwrap(),
        )
    };
    assert_eq!(
        from("203.0.113.5", "www.gtm.example.", RrType::A),
        "NOERROR AA | www.gtm.example. 20 A 192.0.2.10"
    );
    assert_eq!(
        from("198.51.100.5", "www.gtm.example.", RrType::A),
        "NOERROR AA | www.gtm.example. 20 A 192.0.2.30"
    );
    assert_eq!(
        from("198.51.100.5", "www.gtm.example.", RrType::AAAA),
        "NOERROR AA | www.gtm.example. 20 AAAA 2001:db8::30"
    );
    assert_eq!(
        from("10.1.2.3", "www.gtm.example.", RrType::A),
        "NOERROR AA | www.gtm.example. 20 A 192.0.2.30"
    );
    let alias = "NOERROR AA | alias.gtm.example. 20 CNAME lb.cloud.example.";
    for rtype in [
        RrType::A,
        RrType::AAAA,
        RrType::TXT,
        RrType::CNAME,
        RrType::ANY,
    ] {
        assert_eq!(
            from("203.0.113.5", "alias.gtm.example.", rtype),
            alias,
            "{rtype}"
        );
    }
    // An alias inside a border that excludes its first pool.
    assert_eq!(
        from("10.1.2.3", "alias.gtm.example.", RrType::A),
        alias.replace("lb.", "lb2.")
    );
    assert!(from("203.0.113.5", "v4.gtm.example.", RrType::AAAA).starts_with("NOERROR AA / auth"));
    let app = from("203.0.113.5", "any.app.gtm.example.", RrType::A);
    assert_eq!(
        (
            app.matches("192.0.2.1").count(),
            app.matches("192.0.2.2").count()
        ),
        (1, 1),
        "{app}"
    );
}

/// The scope in an answer whose last option is ECS with `octets` address octets.
fn scope(bytes: &[u8], octets: usize) -> u8 {
    bytes[bytes.len() - octets - 1]
}

#[test]
fn client_subnet_is_echoed_with_the_scope_that_decided() {
    let snapshot = gtm();
    let dublin = [0, 1, 24, 0, 203, 0, 113];
    let get = |name: &str, rtype, data: &[u8]| {
        send(
            &snapshot,
            &Ask::new(name, rtype).option(8, data).bytes(),
            "198.51.100.5",
            Transport::Udp,
        )
        .unwrap()
    };
    let answer = get("www.gtm.example.", RrType::A, &dublin);
    assert!(show(&answer).contains("192.0.2.10"));
    assert!((1..=24).contains(&scope(&answer, 3)));
    // Source 0: the transport address decides, and the scope is 0.
    let answer = get("www.gtm.example.", RrType::A, &[0, 1, 0, 0]);
    assert!(show(&answer).contains("192.0.2.30"));
    assert_eq!(scope(&answer, 0), 0);
    for (name, rtype) in [
        ("text.gtm.example.", RrType::TXT),
        ("nothing.gtm.example.", RrType::A),
        ("www.cut.gtm.example.", RrType::A),
        ("elsewhere.example.", RrType::A),
    ] {
        let answer = get(name, rtype, &dublin);
        assert_eq!(
            &answer[answer.len() - 7..],
            &[0, 1, 24, 0, 203, 0, 113],
            "{name}"
        );
    }
    // A map that draws borders makes weighted answers depend on the client too.
    assert!(
        scope(
            &get("v4.gtm.example.", RrType::A, &[0, 1, 24, 0, 10, 1, 2]),
            3
        ) > 0
    );
    let malformed = get("www.gtm.example.", RrType::A, &[0, 1, 24, 0, 203, 0]);
    assert_eq!(show(&malformed), "FORMERR");
    assert_eq!(
        malformed[malformed.len() - 2..],
        [0, 0],
        "the bad option is not echoed"
    );
}

#[test]
fn header_bits_and_edns() {
    let snapshot = gtm();
    let flags = |flags: u16| {
        let bytes = Ask {
            flags,
            ..Ask::new("text.gtm.example.", RrType::TXT)
        }
        .bytes();
        send(&snapshot, &bytes, "203.0.113.5", Transport::Udp)
            .map(|answer| u16::from_be_bytes([answer[2], answer[3]]))
    };
    assert_eq!(flags(0), Ok(0x8400));
    assert_eq!(flags(0x0100), Ok(0x8500), "RD is copied");
    assert_eq!(flags(0x0010), Ok(0x8400), "CD is cleared");
    assert_eq!(
        flags(0x04e0),
        Ok(0x8400),
        "AA, RA, Z and AD of a query are not"
    );
    assert_eq!(flags(0x8000), Err(DropReason::NotAQuery));
    assert_eq!(flags(0x2000), Ok(0xa004), "NOTIFY: NOTIMP");
    assert_eq!(flags(0x2010), Ok(0xa004), "and CD is cleared there, too");
    let case = send(
        &snapshot,
        &Ask::new("tExT.gTm.exAmple.", RrType::TXT).bytes(),
        "203.0.113.5",
        Transport::Udp,
    )
    .unwrap();
    assert!(
        case.windows(5).any(|w| w == b"\x04tExT"),
        "the question keeps its case"
    );
    let nsid = Ask::new("text.gtm.example.", RrType::TXT).option(3, b"");
    let answer = send(&snapshot, &nsid.bytes(), "203.0.113.5", Transport::Udp).unwrap();
    assert!(answer.ends_with(b"\0\x03\0\x09test-node"));
    let dnssec = Ask {
        dnssec_ok: true,
        options: Some(vec![]),
        ..Ask::new("text.gtm.example.", RrType::TXT)
    };
    let answer = send(&snapshot, &dnssec.bytes(), "203.0.113.5", Transport::Udp).unwrap();
    assert_eq!(
        answer[answer.len() - 11..],
        [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0],
        "DO is copied"
    );
    let mut bytes = Ask {
        options: Some(vec![]),
        ..Ask::new("text.gtm.example.", RrType::TXT)
    }
    .bytes();
    let version = bytes.len() - 5;
    bytes[version] = 1;
    let answer = send(&snapshot, &bytes, "203.0.113.5", Transport::Udp).unwrap();
    assert_eq!(show(&answer), "BADVERS");
}

/// The Extended DNS Error of an answer, and whether it has an OPT record at all.
fn extended_error(bytes: &[u8]) -> (bool, Option<u16>) {
    let message = Message::from_vec(bytes).unwrap_or_else(|e| panic!("{e}: {bytes:02x?}"));
    let Some(edns) = &message.edns else {
        return (false, None);
    };
    let option = edns
        .options()
        .as_ref()
        .iter()
        .find(|(code, _)| u16::from(*code) == 15)
        .map(|(_, option)| option.clone());
    let data = option.map(|option| Vec::<u8>::try_from(&option).unwrap());
    (
        true,
        data.map(|data| u16::from_be_bytes([data[0], data[1]])),
    )
}

#[test]
fn extended_errors_say_why_to_whoever_sent_an_opt_record() {
    let snapshot = gtm();
    let edns = |name: &str, rtype| Ask {
        options: Some(vec![]),
        ..Ask::new(name, rtype)
    };
    let told = |ask: &Ask| {
        extended_error(&send(&snapshot, &ask.bytes(), "203.0.113.5", Transport::Udp).unwrap())
    };
    for (ask, error) in [
        (edns("elsewhere.example.", RrType::A), Some(20)),
        (edns("gtm.example.", RrType::AXFR), Some(21)),
        (edns("gtm.example.", RrType::IXFR), Some(21)),
        (
            Ask {
                class: 4,
                ..edns("gtm.example.", RrType::A)
            },
            Some(21),
        ),
        (
            Ask {
                class: 3,
                ..edns("www.gtm.example.", RrType::TXT)
            },
            Some(18),
        ),
        (
            Ask {
                flags: 0x2000,
                ..edns("gtm.example.", RrType::SOA)
            },
            Some(21),
        ),
        (
            Ask {
                flags: 0x2800,
                ..edns("gtm.example.", RrType::SOA)
            },
            Some(21),
        ),
        (edns("www.gtm.example.", RrType::A), None),
        (edns("nothing.gtm.example.", RrType::A), None),
    ] {
        assert_eq!(told(&ask), (true, error), "{ask:?}");
        assert_eq!(
            told(&Ask {
                options: None,
                ..ask.clone()
            }),
            (false, None),
            "{ask:?}"
        );
    }
    let known = Ask {
        class: 3,
        ..edns("elsewhere.example.", RrType::TXT)
    };
    assert_eq!(
        extended_error(&send(&snapshot, &known.bytes(), "127.0.0.1", Transport::Udp).unwrap()),
        (true, Some(20))
    );
    // The scope stays the last octet but those of the address.
    let answer = send(
        &snapshot,
        &edns("elsewhere.example.", RrType::A)
            .option(8, &[0, 1, 24, 0, 203, 0, 113])
            .bytes(),
        "203.0.113.5",
        Transport::Udp,
    );
    assert!(
        answer
            .unwrap()
            .ends_with(&[0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113])
    );
}

#[test]
fn answers_from_the_last_good_files_are_marked_as_stale() {
    let mut dataset =
        Arc::into_inner(common::dataset(&[common::CONFIGURATION, ZONE].concat())).unwrap();
    dataset.last_good = true;
    let snapshot = meridian::publisher::Publisher::new(Arc::new(dataset)).snapshot();
    let told = |name: &str| {
        let ask = Ask {
            options: Some(vec![]),
            ..Ask::new(name, RrType::A)
        };
        extended_error(&send(&snapshot, &ask.bytes(), "203.0.113.5", Transport::Udp).unwrap())
    };
    assert_eq!(told("www.gtm.example."), (true, Some(3)));
    assert_eq!(told("nothing.gtm.example."), (true, Some(19)));
    assert_eq!(told("elsewhere.example."), (true, Some(20)));
}

#[test]
fn what_has_no_question_keeps_its_opt_record() {
    let snapshot = gtm();
    let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0];
    let message = [&[0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &opt].concat();
    let answer = send(&snapshot, &message, "203.0.113.5", Transport::Udp).unwrap();
    assert_eq!(
        answer,
        [&[0xab, 0xcd, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &opt].concat(),
        "FORMERR, and DO is copied"
    );
    let mut two = Ask {
        options: Some(vec![]),
        ..Ask::new("gtm.example.", RrType::A)
    }
    .bytes();
    two[5] = 2;
    assert_eq!(
        send(&snapshot, &two, "203.0.113.5", Transport::Udp)
            .unwrap()
            .len(),
        12,
        "an OPT that cannot be found"
    );
}

/// A TSIG record of hmac-sha256 with the owner `key`, and what comes behind its algorithm.
fn tsig(key: &[u8], class: u16, ttl: u32, rest: &[u8]) -> Vec<u8> {
    let rdata = [b"\x0bhmac-sha256\0", rest].concat();
    let fixed = [
        &250u16.to_be_bytes()[..],
        &class.to_be_bytes(),
        &ttl.to_be_bytes(),
        &(rdata.len() as u16).to_be_bytes(),
    ]
    .concat();
    [key, &fixed, &rdata].concat()
}

#[test]
fn signed_queries_get_badkey_and_malformed_signatures_formerr() {
    let snapshot = gtm();
    let time = [0, 0, 0x65, 1, 2, 3, 1, 44];
    let rest = [&time[..], &[0, 4, 9, 9, 9, 9], &[0xab, 0xcd, 0, 0, 0, 0]].concat();
    let signed = |opt: bool, records: &[Vec<u8>]| {
        let mut message = Ask {
            options: opt.then(Vec::new),
            ..Ask::new("www.gtm.example.", RrType::A)
        }
        .bytes();
        message[11] += records.len() as u8;
        records.iter().for_each(|record| message.extend(record));
        message
    };
    let get = |message: &[u8]| send(&snapshot, message, "203.0.113.5", Transport::Udp).unwrap();
    let good = tsig(b"\x03key\0", 255, 0, &rest);
    let refused = tsig(
        b"\x03key\0",
        255,
        0,
        &[&time[..], &[0, 0, 0xab, 0xcd, 0, 17, 0, 0]].concat(),
    );
    for opt in [true, false] {
        let answer = get(&signed(opt, std::slice::from_ref(&good)));
        assert_eq!(
            (answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]])),
            (9, 0),
            "NOTAUTH, nothing answered"
        );
        assert!(
            answer.ends_with(&refused),
            "unsigned, with BADKEY: {answer:02x?}"
        );
        assert_eq!(
            (answer[11], extended_error(&answer).0),
            (1 + u8::from(opt), opt)
        );
    }
    // The key's name may be compressed: "com" out of the question.
    let compressed = get(&signed(false, &[tsig(b"\x01k\xc0\x14", 255, 0, &rest)]));
    assert!(
        compressed.ends_with(&[b"\x01k\x07example\0", &refused[5..]].concat()),
        "{compressed:02x?}"
    );
    for (what, records) in [
        ("two", vec![good.clone(), good.clone()]),
        (
            "not the last",
            vec![good.clone(), b"\0\0\x29\x04\xd0\0\0\0\0\0\0".to_vec()],
        ),
        ("class IN", vec![tsig(b"\x03key\0", 1, 0, &rest)]),
        ("a TTL", vec![tsig(b"\x03key\0", 255, 1, &rest)]),
        (
            "a MAC cut off",
            vec![tsig(
                b"\x03key\0",
                255,
                0,
                &[&time[..], &[0, 40, 9, 9]].concat(),
            )],
        ),
        (
            "octets behind it",
            vec![tsig(b"\x03key\0", 255, 0, &[&rest[..], b"x"].concat())],
        ),
        ("a pointer forward", vec![tsig(b"\xc0\xff", 255, 0, &rest)]),
    ] {
        assert_eq!(show(&get(&signed(false, &records))), "FORMERR", "{what}");
    }
    let mut elsewhere = signed(false, std::slice::from_ref(&good));
    (elsewhere[7], elsewhere[11]) = (1, 0);
    assert_eq!(show(&get(&elsewhere)), "FORMERR", "in the answer section");
    // Without EDNS 512 octets must do, and a long key's name does not fit beside a long question.
    let label = [&[63][..], &[b'k'; 63]].concat();
    let long = [&label.repeat(3)[..], b"\x20", &[b'k'; 32], b"\0"].concat();
    let mut message = Ask::new(
        &format!(
            "{0}.{0}.{0}.{1}.gtm.example.",
            "w".repeat(63),
            "w".repeat(40)
        ),
        RrType::A,
    )
    .bytes();
    message[11] = 1;
    message.extend(tsig(&long, 255, 0, &rest));
    let answer = get(&message);
    assert_eq!(
        (answer[3] & 15, answer[2] & 2, answer[11]),
        (9, 2, 0),
        "{answer:02x?}"
    );
}

#[test]
fn what_does_not_fit_is_truncated_at_whole_rrsets() {
    let snapshot = gtm();
    let big = Ask::new("big.gtm.example.", RrType::TXT);
    let plain = send(&snapshot, &big.bytes(), "203.0.113.5", Transport::Udp).unwrap();
    assert_eq!(show(&plain), "NOERROR AA TC");
    let edns = Ask {
        options: Some(vec![]),
        ..big.clone()
    };
    let answer = send(&snapshot, &edns.bytes(), "203.0.113.5", Transport::Udp).unwrap();
    assert!(answer.len() <= 1232 && show(&answer).matches("TXT").count() == 3);
    let small = Ask {
        udp_size: 600,
        ..edns
    };
    let answer = send(&snapshot, &small.bytes(), "203.0.113.5", Transport::Udp).unwrap();
    assert_eq!(show(&answer), "NOERROR AA TC");
    assert_eq!(
        answer[answer.len() - 11..answer.len() - 8],
        [0, 0, 41],
        "OPT stays"
    );
    assert_eq!(
        show(&send(&snapshot, &big.bytes(), "203.0.113.5", Transport::Tcp).unwrap())
            .matches("TXT")
            .count(),
        3
    );
}

#[test]
fn in_domain_glue_that_does_not_fit_sets_tc_and_other_additionals_do_not() {
    let servers = 20;
    let glue: String = (0..servers)
        .map(|i| {
            format!("cut NS ns{i}.cut\nns{i}.cut A 192.0.2.{i}\nns{i}.cut AAAA 2001:db8::{i}\n")
        })
        .collect();
    let mx: String = (0..servers)
        .map(|i| format!("@ MX {i} m{i}\nm{i} A 192.0.2.{i}\nm{i} AAAA 2001:db8::{i}\n"))
        .collect();
    let zone = format!(
        "--- zones/e.toml\nzone = \"e.example\"\nrecords = '''\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.53\n{glue}{mx}'''\n"
    );
    let snapshot = common::snapshot(&[common::CONFIGURATION, &zone].concat());
    let referral = ask(
        &snapshot,
        &Ask {
            options: Some(vec![]),
            udp_size: 900,
            ..Ask::new("www.cut.e.example.", RrType::A)
        },
    );
    assert!(referral.starts_with("NOERROR TC / auth"), "{referral}");
    let mx = ask(
        &snapshot,
        &Ask {
            options: Some(vec![]),
            udp_size: 900,
            ..Ask::new("e.example.", RrType::MX)
        },
    );
    assert!(
        mx.starts_with("NOERROR AA | ") && mx.contains("/ add"),
        "{mx}"
    );
}

#[test]
fn class_ch_tells_the_server_and_why() {
    let snapshot = gtm();
    let chaos = |name: &str, client, transport| {
        show(
            &send(
                &snapshot,
                &Ask {
                    class: 3,
                    ..Ask::new(name, RrType::TXT)
                }
                .bytes(),
                client,
                transport,
            )
            .unwrap(),
        )
    };
    assert_eq!(
        chaos("id.server.", "203.0.113.5", Transport::Udp),
        "NOERROR AA | id.server. 0 TXT test-node"
    );
    assert_eq!(
        chaos("hostname.bind.", "203.0.113.5", Transport::Udp),
        "NOERROR AA | hostname.bind. 0 TXT test-node"
    );
    assert!(chaos("version.bind.", "203.0.113.5", Transport::Udp).contains("meridian "));
    assert_eq!(
        chaos("www.gtm.example.", "203.0.113.5", Transport::Tcp),
        "REFUSED",
        "only clients inside why_from may ask why"
    );
    let why = chaos("www.gtm.example.", "127.0.0.1", Transport::Tcp);
    assert!(why.contains("dublin: taken"), "{why}");
    assert_eq!(
        chaos("www.elsewhere.example.", "127.0.0.1", Transport::Udp),
        "REFUSED"
    );
    let closed = common::snapshot(
        &[
            &common::CONFIGURATION.replace("why_from = [\"127.0.0.0/8\"]\n", ""),
            ZONE,
        ]
        .concat(),
    );
    let loopback = Ask {
        class: 3,
        ..Ask::new("www.gtm.example.", RrType::TXT)
    };
    let refused = send(&closed, &loopback.bytes(), "127.0.0.1", Transport::Tcp).unwrap();
    assert_eq!(
        show(&refused),
        "REFUSED",
        "a forwarder on this host asks from loopback: nobody is told unless why_from says so"
    );
    let other = Ask {
        class: 4,
        ..Ask::new("text.gtm.example.", RrType::TXT)
    };
    assert_eq!(ask(&snapshot, &other), "REFUSED");
}

/// Names worth asking for, and some that are not there.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "gtm.example.",
            "www.gtm.example.",
            "WWW.gtm.example.",
            "v4.gtm.example.",
            "alias.gtm.example.",
            "c1.gtm.example.",
            "l1.gtm.example.",
            "out.gtm.example.",
            "dangle.gtm.example.",
            "big.gtm.example.",
            "cut.gtm.example.",
            "deep.er.cut.gtm.example.",
            "d.gtm.example.",
            "a.d.gtm.example.",
            "ent.gtm.example.",
            "q.wild.gtm.example.",
            "q.app.gtm.example.",
            ".",
            "example.",
            "id.server.",
            "version.bind.",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9]{1,63}(\\.[a-z*]{1,20}){0,3}\\.d\\.gtm\\.example\\.",
        "[a-z]{1,10}(\\.[a-z*]{1,20}){0,3}\\.gtm\\.example\\.",
        "[a-z]{1,10}\\.",
    ]
}

fn asks() -> impl Strategy<Value = Ask> {
    let types = prop_oneof![
        prop::sample::select(vec![
            1u16, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 65, 251, 252, 255
        ]),
        any::<u16>()
    ];
    let ecs = prop_oneof![
        (0u8..=32).prop_map(|source| [
            &[0, 1, source, 0][..],
            &vec![0; usize::from(source.div_ceil(8))]
        ]
        .concat()),
        (0u8..=128).prop_map(|source| [
            &[0, 2, source, 0][..],
            &vec![0; usize::from(source.div_ceil(8))]
        ]
        .concat()),
        prop::collection::vec(any::<u8>(), 0..24),
    ];
    let option = prop_oneof![
        ecs.prop_map(|data| (8u16, data)),
        Just((3u16, vec![])),
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..40))
    ];
    let class = prop_oneof![8 => Just(1u16), 1 => Just(3u16), 1 => any::<u16>()];
    let options = prop::option::of(prop::collection::vec(option, 0..4));
    (
        names(),
        types,
        class,
        any::<u16>(),
        any::<u16>(),
        any::<bool>(),
        options,
    )
        .prop_map(
            |(name, rtype, class, flags, udp_size, dnssec_ok, options)| Ask {
                name,
                rtype: RrType(rtype),
                class,
                flags: flags & 0x07ff,
                udp_size,
                dnssec_ok,
                options,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn hickory_reads_every_answer(question in asks(), client in any::<IpAddr>(), tcp in any::<bool>()) {
        thread_local!(static SNAPSHOT: Arc<Snapshot> = gtm());
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let bytes = question.bytes();
        let answer = SNAPSHOT.with(|snapshot| send(snapshot, &bytes, &client.to_string(), transport)).unwrap();
        let limit = match (&question.options, tcp) {
            (_, true) => 65535,
            (None, _) => 512,
            (Some(_), _) => usize::from(question.udp_size).clamp(512, 1232),
        };
        prop_assert!(answer.len() <= limit, "{} octets, limit {limit}", answer.len());
        let message = Message::from_vec(&answer).map_err(|e| TestCaseError::fail(format!("{e}: {answer:02x?}")))?;
        prop_assert_eq!(message.metadata.id, 0xabcd);
        prop_assert_eq!(message.queries.len(), 1);
        let asked = Name::from_text(&question.name, None).unwrap();
        prop_assert_eq!(&answer[12..12 + asked.as_wire().len()], asked.as_wire(), "the question, octet for octet");
        prop_assert_eq!(message.edns.is_some(), question.options.is_some());
    }
}

/// A snapshot whose plans are missing: every question about a service is an error in the program.
#[test]
fn a_why_that_panics_costs_its_answer_and_not_the_thread() {
    let good = gtm();
    let broken = Snapshot::of(good.dataset.clone(), Vec::new());
    let mut worker = Worker::new(1);
    let question = Ask {
        class: 3,
        ..Ask::new("www.gtm.example.", RrType::TXT)
    }
    .bytes();
    let query = Query::synthetic(&question, "127.0.0.1".parse().unwrap(), Transport::Udp);
    let mut out = vec![0; TCP_BUFFER];
    for (snapshot, rcode, panics) in [
        (&*good, 0, 0),
        (&broken, 2, 1),
        (&good, 0, 1),
        (&broken, 2, 2),
    ] {
        let Response::Send(length) = respond(snapshot, &mut worker, &query, &mut out) else {
            panic!("no answer")
        };
        assert_eq!((out[3] & 15, length > 12), (rcode, rcode == 0));
        assert_eq!(worker.counters.panics.get(), panics);
    }
}

/// Hickory's parser reads none of these, and the checks of zones accept them all.
#[test]
fn why_shows_any_rdata_that_a_zone_may_have() {
    let records = r#"
odd    60 NAPTR 1 1 "!" "x" "" .
svc    60 HTTPS 1 . alpn="\255\254"
null   60 TYPE10 \# 0
to     60 CNAME null
mail   60 MX 10 odd
new    60 TYPE65400 \# 3 010203
text   60 TXT "a \"b\" \\ \007" "c"
"#;
    let zone = format!(
        "--- zones/z.toml\nzone = \"z.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 192.0.2.53\nodd 60 A 192.0.2.1{records}'''\n"
    );
    let snapshot = common::snapshot(&[common::CONFIGURATION, &zone].concat());
    for (name, rtype, expected) in [
        ("odd", RrType::NAPTR, r#"1 1 "!" "x" "" ."#),
        ("svc", RrType::HTTPS, r#"1 . alpn="\255\254""#),
        ("null", RrType(10), r"\# 0"),
        ("to", RrType(10), r"null.z.example. \# 0"),
        ("mail", RrType::MX, "10 odd.z.example."),
        ("new", RrType(65400), r"\# 3 010203"),
        ("text", RrType::TXT, r#""a \"b\" \\ \007" "c""#),
        ("@", RrType::SOA, "ns1.z.example. h.z.example. 1 2 3 4 5"),
    ] {
        let name =
            Name::from_text(name, Some(&Name::from_text("z.example.", None).unwrap())).unwrap();
        let explanation = explain(
            &snapshot,
            &name,
            Some(rtype),
            "192.0.2.0/24".parse().unwrap(),
            0,
            WallTime::default(),
        );
        assert_eq!(
            (
                explanation.rcode.as_str(),
                explanation.answers.join(" ").as_str(),
                explanation.ttl
            ),
            ("NOERROR", expected, 60)
        );
    }
}
