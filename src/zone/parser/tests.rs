use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::IncludeError;
use super::*;
use crate::diag::Severity;
use crate::zone::MasterText;
use crate::zone::rdata::check_wire;

/// Files by name; a path is looked up as it is written.
struct Files(BTreeMap<&'static str, String>);

impl Include for Files {
    fn read(&mut self, path: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
        let none = || IncludeError {
            rule: "include-failed",
            message: "no such file".to_owned(),
            hint: None,
        };
        self.0
            .get(path)
            .map(|text| input(path, text))
            .ok_or_else(none)
    }
}

fn input(file: &str, text: &str) -> Input {
    Input::whole(file, Arc::<str>::from(text).into())
}

fn origin() -> Name {
    Name::from_text("gtm.example.", None).unwrap()
}

fn parse_with(text: &str, files: &[(&'static str, &str)]) -> (Records, Diagnostics) {
    let mut files = Files(
        files
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect(),
    );
    let mut diagnostics = Diagnostics::default();
    let records = parse(&input("z", text), &origin(), &mut files, &mut diagnostics);
    (records, diagnostics)
}

/// One line a record: owner, TTL, type, rdata in hex.
fn lines(records: &Records) -> Vec<String> {
    records
        .iter()
        .map(|r| {
            let hex: String = r.rdata.iter().map(|b| format!("{b:02x}")).collect();
            format!(
                "{} {} {} {hex}",
                r.owner_name().relative_to(&origin()),
                r.ttl,
                r.rtype
            )
        })
        .collect()
}

fn read(text: &str) -> Vec<String> {
    let (records, diagnostics) = parse_with(text, &[]);
    let messages: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(messages.is_empty(), "{messages:#?}");
    lines(&records)
}

fn messages(text: &str) -> Vec<String> {
    parse_with(text, &[])
        .1
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn owners_ttls_and_classes_stand_in_every_legal_order() {
    assert_eq!(
        read(
            "$TTL 1h30m\n@ IN 60 A 192.0.2.1 ; one\n\t1w2d in A 192.0.2.2\n A (\n 192.0.2.3 )\n\
             b.gtm.example. CLASS1 TYPE1 192.0.2.4\r\n$ORIGIN sub\nc A 192.0.2.5\nIN A 192.0.2.6\n60 A 192.0.2.7"
        ),
        [
            "@ 60 A c0000201",
            "@ 777600 A c0000202",
            "@ 5400 A c0000203",
            "b 5400 A c0000204",
            "c.sub 5400 A c0000205",
            "IN.sub 5400 A c0000206",
            "60.sub 5400 A c0000207",
        ]
    );
}

#[test]
fn a_ttl_is_inherited_and_a_first_soa_lends_its_minimum() {
    assert_eq!(
        read("a 5 A 192.0.2.1\nb A 192.0.2.2"),
        ["a 5 A c0000201", "b 5 A c0000202"]
    );
    let (records, diagnostics) = parse_with("@ SOA . . 1 2 3 4 20\na A 192.0.2.2", &[]);
    assert_eq!(lines(&records)[1], "a 20 A c0000202");
    assert_eq!(
        diagnostics
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "z:1:3: warning[ttl-from-soa]: @ SOA: no TTL is written, so the SOA gets its own minimum, 20 (write $TTL above it)"
        ]
    );
}

#[test]
fn every_type_is_read_to_its_wire_form() {
    let gtm = "0367746d076578616d706c6500";
    for (text, wire) in [
        ("AAAA 2001:db8::1", "20010db8000000000000000000000001"),
        ("NS ns", &format!("026e73{gtm}")),
        ("CNAME @", gtm),
        ("DNAME a.", "016100"),
        (r"PTR a\.b\099.", "04612e626300"),
        ("MX 10 .", "000a00"),
        (
            r#"TXT "a;\"b" c\ d "" \255é"#,
            "04613b22620363206400 03ffc3a9",
        ),
        ("SRV 1 2 3 a.", "000100020003016100"),
        (
            "SOA ns a. 1 2 3s 1m ( 5\n ) ; c",
            &format!("026e73{gtm} 016100 00000001 00000002 00000003 0000003c 00000005"),
        ),
        ("HINFO PC \"a b\"", "025043 03612062"),
        (
            "CAA 128 issue \"ca.example; x\"",
            "80056973737565 63612e6578616d706c653b2078",
        ),
        (
            r#"NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:\\1@a!" ."#,
            "0001000201750745 32552b736970 0f215e2e2a24217369703a5c31406121 00",
        ),
        ("URI 1 2 \"a:b\"", "00010002613a62"),
        ("DS 1 ED25519 2 0aF b", "00010f020afb"),
        ("SSHFP 4 2 0a 0b", "04020a0b"),
        ("TLSA 3 1 1 0a\n", "0301010a"),
        ("SMIMEA 3 1 1 0a", "0301010a"),
        ("RP a. b.", "016100016200"),
        ("CERT 1 2 3 AQ ID", "00010002030102 03"),
        ("OPENPGPKEY AQID", "010203"),
        ("CSYNC 66 3 A NS AAAA", "00000042 0003 0004 60000008"),
        (
            r#"HTTPS 1 . port=443 alpn="h2,h\\,3" key667=a\098"#,
            "000100 00010007 026832 03682c33 00030002 01bb 029b0002 6162",
        ),
        ("SVCB 0 a.", "0000016100"),
        (
            "HTTPS 1 . ipv6hint=::1 mandatory=port,alpn ipv4hint=192.0.2.1,192.0.2.2 alpn=h2 port=1 no-default-alpn ech=AQID dohpath=/x ohttp",
            "000100 00000004 00010003 00010003 026832 00020000 00030002 0001 00040008 c0000201c0000202 00050003 010203 \
             00060010 00000000000000000000000000000001 00070002 2f78 00080000",
        ),
        (r"TYPE65400 \# 3 0102 03", "010203"),
        (r"TYPE65400 \# 0", ""),
        (r"A \# 4 c0000201", "c0000201"),
        (r"DNSKEY \# 5 0100030d01", "0100030d01"),
    ] {
        let got = read(&format!("a 1 {text}"));
        assert_eq!(got.len(), 1, "{text}");
        assert_eq!(
            got[0].rsplit(' ').next().unwrap(),
            wire.replace(' ', ""),
            "{text}"
        );
    }
}

#[test]
fn an_error_says_where_what_and_why_and_spoils_its_own_entry_only() {
    let column = "a line that starts in the first column starts with an owner name, then TTL, class and type";
    let generic = "a type without a name is written as TYPE65400 \\# 3 010203 (RFC 3597)";
    for (entry, message) in [
        ("a 1 A 192.0.2.256", "z:2:7: error[bad-rdata]: a A: \"192.0.2.256\" is not an IPv4 address (write it like 192.0.2.1)".to_owned()),
        ("a 1 A", "z:2:5: error[bad-rdata]: a A: the IPv4 address is missing".to_owned()),
        ("a 1 A 192.0.2.1 x", "z:2:17: error[bad-rdata]: a A: \"x\" is more than A takes".to_owned()),
        ("a 1 MX ten b", "z:2:8: error[bad-rdata]: a MX: the preference \"ten\" is not a number from 0 to 65535".to_owned()),
        ("a 1 MX +1 b", "z:2:8: error[bad-rdata]: a MX: the preference \"+1\" is not a number from 0 to 65535".to_owned()),
        ("a 1 MX 1", "z:2:8: error[bad-rdata]: a MX: the mail server is missing".to_owned()),
        (
            "a 1 NS b..c",
            "z:2:8: error[bad-name]: a NS: \"b..c\" is not a name: the name has an empty label (two dots in a row, or a leading dot)"
                .to_owned(),
        ),
        (
            "bücher 1 A 192.0.2.1",
            "z:2:1: error[bad-name]: bücher A: the name \"bücher\" has characters outside ASCII (write the label in its \
             ASCII form, xn--…, or its octets as \\DDD)"
                .to_owned(),
        ),
        ("\"a\" 1 A 192.0.2.1", "z:2:1: error[bad-name]: a A: \"a\" is a quoted string where a name is due".to_owned()),
        (
            "a 1 SOA b c 1 2 3 4 1x",
            "z:2:21: error[bad-rdata]: a SOA: the minimum \"1x\" is not a number of seconds, nor one with units like 1h30m".to_owned(),
        ),
        ("a 2147483648 A 192.0.2.1", "z:2:3: error[bad-ttl]: a A: the TTL \"2147483648\" is more than 2147483647 seconds".to_owned()),
        (
            "A 192.0.2.1",
            format!("z:2:3: error[bad-ttl]: A: the TTL \"192.0.2.1\" is not a number of seconds, nor one with units like 1h30m ({column})"),
        ),
        ("a 1 CH A 192.0.2.1", "z:2:5: error[class-not-in]: a A: the class \"CH\" is not served, only IN (leave the class out, or write IN)".to_owned()),
        ("a 1 IN", format!("z:2:5: error[no-type]: a: the entry has no record type ({column})")),
        ("a", format!("z:2:1: error[no-type]: a: the entry has no record type ({column})")),
        ("a 1 FOO bar", format!("z:2:5: error[unknown-type]: a: \"FOO\" is not a record type ({column}; {generic})")),
        (
            "a 1 APL 1:192.0.2.0/24",
            "z:2:5: error[type-not-read]: a APL: APL is record type 42, and its text form is not read here (write it in the \
             form of RFC 3597: TYPE42 \\# <length> <hex>; it is served as it stands)"
                .to_owned(),
        ),
        (
            "a 1 ANAME b",
            "z:2:5: error[aname]: a ANAME: ANAME records are not served (write a service instead: [services.NAME] with \
             endpoints that are addresses or names ending in a dot)"
                .to_owned(),
        ),
        ("a 1 ANY b", "z:2:5: error[meta-type]: a ANY: ANY is a type of queries and messages, no zone holds records of it".to_owned()),
        (r"a 1 A \# 3 c00002", "z:2:7: error[bad-rdata]: a A: the octets after \\# are no A rdata: the address is cut short or invalid".to_owned()),
        (r"a 1 A \# 4 c00002", "z:2:7: error[bad-rdata]: a A: \\# says 4 octets, 3 follow".to_owned()),
        (r"a 1 TYPE9999 \# 1 c", "z:2:19: error[bad-rdata]: a TYPE9999: the rdata after \\# is not an even number of hexadecimal digits".to_owned()),
        (
            r"a 1 TXT \300",
            "z:2:9: error[bad-rdata]: a TXT: a backslash must be followed by a character or three digits up to 255".to_owned(),
        ),
        (
            r#"a 1 TXT x="y""#,
            "z:2:9: error[bad-rdata]: a TXT: a quote inside a string (put quotes around the whole string, and write a quote inside it as \\\")"
                .to_owned(),
        ),
        (
            "a 1 HTTPS 1 . foo=1",
            "z:2:15: error[bad-rdata]: a HTTPS: \"foo\" is not a SvcParam (known are mandatory, alpn, no-default-alpn, port, \
             ipv4hint, ech, ipv6hint, dohpath, ohttp; any other is written as keyNNNNN)"
                .to_owned(),
        ),
        ("a 1 HTTPS 1 . port=1 port=2", "z:2:22: error[bad-rdata]: a HTTPS: port is given twice".to_owned()),
        ("a 1 HTTPS 1 . mandatory=alpn", "z:2:15: error[bad-rdata]: a HTTPS: mandatory lists a key that is not there".to_owned()),
        ("a 1 HTTPS 1 . no-default-alpn", "z:2:15: error[bad-rdata]: a HTTPS: no-default-alpn needs alpn beside it".to_owned()),
        ("a 1 HTTPS 1 . ipv4hint=::1", "z:2:15: error[bad-rdata]: a HTTPS: ipv4hint is not a list of IPv4 addresses".to_owned()),
        ("a 1 OPENPGPKEY %", "z:2:16: error[bad-rdata]: a OPENPGPKEY: \"%\" does not belong into OPENPGPKEY rdata".to_owned()),
        ("a 1 DS 1 1 1 abc", "z:2:14: error[bad-rdata]: a DS: the digest is not an even number of hexadecimal digits".to_owned()),
        (
            "a 1 CAA 0 \"\" x",
            "z:2:11: error[bad-rdata]: a CAA: the tag of a CAA record is letters and digits (for example issue, issuewild or iodef)".to_owned(),
        ),
        ("a 1 A 192.0.2.1)", "z:2:16: error[parenthesis]: a A: this parenthesis was never opened (write \\) for one in a name)".to_owned()),
        (
            "a 1 TXT \"b",
            "z:2:9: error[string-not-closed]: a TXT: the quoted string does not end on its line (close it, and write a quote inside it as \\\")"
                .to_owned(),
        ),
        (
            "a 1 TXT b\x07",
            "z:2:9: error[control-character]: a TXT: the control character \\007 (remove it, or write \\007 if it is meant)".to_owned(),
        ),
        ("$TTL soon", "z:2:6: error[bad-ttl]: the TTL \"soon\" is not a number of seconds, nor one with units like 1h30m".to_owned()),
        ("$ORIGIN", "z:2:1: error[bad-directive]: $ORIGIN takes one name ($ORIGIN example.com.)".to_owned()),
        (
            "$GENERATE 1-9 a$",
            "z:2:1: error[bad-directive]: $GENERATE takes a range, an owner, a type and rdata ($GENERATE 1-254 host-$ A \
             192.0.2.$)"
                .to_owned(),
        ),
        ("$ORGIN a.", "z:2:1: error[unknown-directive]: \"$ORGIN\" is not a directive (did you mean $ORIGIN?)".to_owned()),
        ("$INCLUDE x", "z:2:10: error[include-failed]: cannot include \"x\": no such file".to_owned()),
    ] {
        let text = format!("x 1 A 192.0.2.9\n{entry}\ny 1 A 192.0.2.8\n");
        let (records, diagnostics) = parse_with(&text, &[]);
        let got: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(got, [message], "{entry}");
        assert_eq!(lines(&records), ["x 1 A c0000209", "y 1 A c0000208"], "{entry}");
    }
}

#[test]
fn an_open_parenthesis_a_missing_owner_and_a_missing_ttl_are_found() {
    assert_eq!(
        messages("a 1 A 192.0.2.1\nb 1 TXT ( x\nc 1 A 192.0.2.1\n"),
        [
            "z:2:9: error[parenthesis]: b TXT: this parenthesis is never closed (everything after it was taken for part of one record)"
        ]
    );
    assert_eq!(
        messages(" 1 A 192.0.2.1\n"),
        [
            "z:1:2: error[no-owner]: A: the line starts with a blank, but there is no owner name before it (write the \
          name in the first column; @ is the zone itself)"
        ]
    );
    assert_eq!(
        messages("a A 192.0.2.1\n"),
        [
            "z:1:3: error[no-ttl]: a A: the record has no TTL, and neither $TTL nor a record before it gives one (write $TTL 1h \
          above the first record)"
        ]
    );
}

#[test]
fn a_long_string_and_long_rdata_are_refused() {
    let text = format!("a 1 TXT {}", "x".repeat(256));
    assert_eq!(
        messages(&text),
        [
            "z:1:9: error[bad-rdata]: a TXT: the text has 256 octets, and one string holds at most 255 (write it as several \
          quoted strings one after the other; readers join them)"
        ]
    );
    let text = format!("a 1 TXT {}", format!("{} ", "x".repeat(255)).repeat(256));
    assert!(
        messages(&text)[0]
            .contains("the rdata has 65536 octets, more than the 65535 a record can carry"),
        "{:?}",
        messages(&text)
    );
}

#[test]
fn positions_count_from_the_file_the_text_stands_in() {
    let mut diagnostics = Diagnostics::default();
    let text = Input {
        line_offset: 4,
        column_offset: 13,
        ..input("z.toml", "é 1 A x\nb 1 TXT é y=\"\n  1 A 192.0.2.1")
    };
    let records = parse(
        &text,
        &origin(),
        &mut Files(BTreeMap::new()),
        &mut diagnostics,
    );
    let at: Vec<_> = diagnostics.iter().map(|d| d.at.to_string()).collect();
    assert_eq!(at, ["z.toml:5:14", "z.toml:6:11"]);
    assert_eq!(records.get(0).at().to_string(), "z.toml:7:3");
}

#[test]
fn an_include_reads_another_file_and_gives_origin_and_owner_back() {
    let (records, diagnostics) = parse_with(
        "$TTL 5\na A 192.0.2.1\n$INCLUDE f sub\n A 192.0.2.2\nb A 192.0.2.3\n$INCLUDE \"g h\"\n",
        &[
            ("f", "x A 192.0.2.4\n$ORIGIN y\n$TTL 6\nz A 192.0.2.5"),
            ("g h", "@ A 192.0.2.6"),
        ],
    );
    assert_eq!(diagnostics.iter().count(), 0);
    assert_eq!(
        lines(&records),
        [
            "a 5 A c0000201",
            "x.sub 5 A c0000204",
            "z.y.sub 6 A c0000205",
            "a 6 A c0000202",
            "b 6 A c0000203",
            "@ 6 A c0000206"
        ]
    );
    assert_eq!(records.get(2).at().to_string(), "f:4:1");
    assert_eq!(records.get(3).at().to_string(), "z:4:2");
}

#[test]
fn an_include_that_includes_itself_is_named_with_its_chain() {
    let (_, diagnostics) = parse_with(
        "$INCLUDE f",
        &[("f", "$INCLUDE g\n"), ("g", "\n$INCLUDE f\n")],
    );
    let got: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        got,
        ["g:2:10: error[include-loop]: f includes itself: f → g → f"]
    );
    let files = [
        "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "17", "18",
    ];
    let texts: Vec<_> = files
        .windows(2)
        .map(|pair| (pair[0], format!("$INCLUDE {}", pair[1])))
        .collect();
    let texts: Vec<_> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .chain([("18", "")])
        .collect();
    let (_, diagnostics) = parse_with("$INCLUDE 1", &texts);
    let got: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        got,
        [
            "16:1:10: error[include-too-deep]: includes nest more than 16 deep: \
          z → 1 → 2 → 3 → 4 → 5 → 6 → 7 → 8 → 9 → 10 → 11 → 12 → 13 → 14 → 15 → 16 → 17"
        ]
    );
}

#[test]
fn nonsense_ends_after_a_hundred_errors() {
    let got = messages(&"this is not a zone\n".repeat(1000));
    assert_eq!(got.len(), 101);
    assert_eq!(
        got[100],
        "z:101:6: error[too-many-errors]: more than 100 errors in this zone; the rest is not read (fix those above first; is \
         this a master file at all?)"
    );
}

/// A label that hickory reads as we do: it takes `\DDD` for octal, and lower-cases what it reads.
fn label() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,5}(-[a-z0-9]{1,4})?"
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => label(),
        2 => (label(), label()).prop_map(|(a, b)| format!("{a}.{b}")),
        1 => (label(), label()).prop_map(|(a, b)| format!("{a}.{b}.")),
        1 => label().prop_map(|a| format!("_{a}._tcp")),
    ]
}

fn ttl() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        (0u32..100_000).prop_map(|t| t.to_string()),
        Just("1h30m".to_owned()),
        Just("2W".to_owned())
    ]
}

fn known_rdata() -> impl Strategy<Value = String> {
    let hex = "([0-9a-f]{2}){1,20}";
    prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|a| format!("A {a}")),
        any::<std::net::Ipv6Addr>().prop_map(|a| format!("AAAA {a}")),
        name().prop_map(|n| format!("NS {n}")),
        name().prop_map(|n| format!("CNAME {n}")),
        name().prop_map(|n| format!("PTR {n}")),
        (any::<u16>(), name()).prop_map(|(p, n)| format!("MX {p} {n}")),
        (any::<u16>(), any::<u16>(), any::<u16>(), name())
            .prop_map(|(a, b, c, n)| format!("SRV {a} {b} {c} {n}")),
        (name(), name(), any::<u32>(), 0u32..1 << 31)
            .prop_map(|(m, r, s, t)| format!("SOA {m} {r} ( {s} 1h\n {t} 1w\n 20 )")),
        proptest::collection::vec("\"[a-zA-Z0-9 ;()=.@$]{0,30}\"", 1..4)
            .prop_map(|s| format!("TXT {}", s.join(" "))),
        ("[a-z]{1,9}", "[a-z.;= ]{1,30}")
            .prop_map(|(tag, value)| format!("CAA 128 {tag} \"{value}\"")),
        ("[A-Z]{1,9}", "[A-Za-z ]{1,9}").prop_map(|(cpu, os)| format!("HINFO \"{cpu}\" \"{os}\"")),
        (
            any::<u16>(),
            "[usap]?",
            "[A-Z+a-z]{0,9}",
            "[!^.*$a-z:@]{0,20}"
        )
            .prop_map(|(order, flags, services, regexp)| format!(
                "NAPTR {order} 7 \"{flags}\" \"{services}\" \"{regexp}\" ."
            )),
        (any::<u16>(), any::<u8>(), hex)
            .prop_map(|(tag, digest, data)| format!("DS {tag} 13 {digest} {data}")),
        (any::<u8>(), hex).prop_map(|(algorithm, data)| format!("SSHFP {algorithm} 1 {data}")),
        (any::<u8>(), hex).prop_map(|(usage, data)| format!("TLSA {usage} 1 1 {data}")),
        (any::<u8>(), hex).prop_map(|(usage, data)| format!("SMIMEA {usage} 1 1 {data}")),
        "([A-Za-z0-9+/]{4}){1,20}".prop_map(|data| format!("OPENPGPKEY {data}")),
        (any::<u16>(), "([A-Za-z0-9+/]{4}){1,20}")
            .prop_map(|(tag, data)| format!("CERT 1 {tag} 8 {data}")),
        any::<u32>().prop_map(|serial| format!("CSYNC {serial} 3 A NS AAAA")),
        (
            1u16..,
            any::<u16>(),
            any::<std::net::Ipv4Addr>(),
            any::<std::net::Ipv6Addr>()
        )
            .prop_map(|(p, port, v4, v6)| format!(
                "HTTPS {p} . alpn=h2,h3 port={port} ipv4hint={v4} ipv6hint={v6}"
            )),
    ]
}

fn zone_text() -> impl Strategy<Value = String> {
    let entry = prop_oneof![
        12 => (prop_oneof![3 => name(), 1 => Just("@".to_owned()), 1 => Just(String::new())], ttl(), "(IN)?", known_rdata())
            .prop_map(|(owner, ttl, class, rdata)| format!("{owner} {ttl} {class} {rdata} ; {owner}\n")),
        1 => label().prop_map(|origin| format!("$ORIGIN {origin}.gtm.example.\n")),
        1 => (0u32..99_999).prop_map(|ttl| format!("$TTL {ttl}\n")),
        1 => Just("\n  ; nothing\n".to_owned()),
    ];
    proptest::collection::vec(entry, 1..30)
        .prop_map(|entries| format!("@ 60 NS ns\n{}", entries.concat()))
}

/// Owner in lower case, type, TTL, rdata.
type Row = (String, u16, u32, Vec<u8>);

fn ours(records: &Records) -> Vec<Row> {
    let lower = |r: super::super::Record<'_>| {
        (
            r.owner_name().to_lowercase().to_string(),
            r.rtype.0,
            r.ttl.secs(),
            r.rdata.to_vec(),
        )
    };
    records.iter().map(lower).collect()
}

fn hickorys(text: &str) -> Result<Vec<Row>, String> {
    use hickory_proto::rr::Name as HickoryName;
    use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
    use hickory_proto::serialize::txt::Parser as HickoryParser;

    let origin = HickoryName::from_ascii("gtm.example.").unwrap();
    let (_, sets) = HickoryParser::new(text, None, Some(origin))
        .parse()
        .map_err(|why| why.to_string())?;
    let mut out = Vec::new();
    for record in sets.values().flat_map(|set| set.records_without_rrsigs()) {
        let mut wire = Vec::new();
        let mut encoder = BinEncoder::new(&mut wire);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        record
            .data
            .emit(&mut encoder)
            .map_err(|why| why.to_string())?;
        let owner = Name::from_text(&record.name.to_ascii(), None)
            .unwrap()
            .to_lowercase()
            .to_string();
        out.push((owner, record.record_type().into(), record.ttl, wire));
    }
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Everything that hickory's parser reads, ours reads to the same records. Hickory keeps one
    /// record of equal ones, one CNAME and one SOA a name, with one TTL a set: so ours may have
    /// more, never others.
    #[test]
    fn hickory_agrees_on_what_both_know(text in zone_text()) {
        let (records, diagnostics) = parse_with(&text, &[]);
        let messages: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
        prop_assert!(messages.is_empty(), "{messages:?}\n{text}");
        let ours = ours(&records);
        match hickorys(&text) {
            Ok(theirs) => {
                for record in &theirs {
                    prop_assert!(ours.contains(record), "{record:?} is hickory's alone in\n{text}");
                }
                for (owner, rtype, _, rdata) in &ours {
                    let single = matches!(*rtype, 5 | 6);
                    let found = theirs.iter().any(|(o, t, _, r)| o == owner && t == rtype && (single || r == rdata));
                    prop_assert!(found, "{owner} {rtype} {rdata:?} is ours alone in\n{text}");
                }
            }
            Err(why) => prop_assert!(why.contains("SOA is already specified") || why.contains("CNAME"), "{why}\n{text}"),
        }
    }

    /// Whatever the text is, there is no panic and every record read is a valid one.
    #[test]
    fn arbitrary_text_gives_valid_records_only(text in arbitrary_text()) {
        let (records, _) = parse_with(&text, &[("f", "a A 192.0.2.1\n$INCLUDE f"), ("g", &text)]);
        for record in records.iter() {
            prop_assert!(Name::from_wire(record.owner).is_some());
            prop_assert_eq!(check_wire(record.rtype, record.rdata), Ok(()), "{} in {}", record.rtype, text);
        }
    }
}

/// Pieces of master files in disorder, and anything else.
fn arbitrary_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\n".to_owned()),
        Just(" ".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("\"".to_owned()),
        Just(";".to_owned()),
        Just("\\".to_owned()),
        Just("\\#".to_owned()),
        Just("@".to_owned()),
        Just("\n$INCLUDE ".to_owned()),
        Just("f".to_owned()),
        Just("g".to_owned()),
        Just("\n$ORIGIN ".to_owned()),
        Just("\n$TTL 60\n".to_owned()),
        Just("\na 1 ".to_owned()),
        known_rdata(),
        name(),
        "[A-Z]{1,10}",
        "[0-9a-f]{1,20}",
        "[ -~]{0,20}",
        any::<String>(),
        "TYPE[0-9]{1,5} \\\\# [0-9]{1,2} [0-9a-f]{0,30}",
    ];
    let generic = (
        prop_oneof![0u16..70, 97u16..110, 249u16..260, any::<u16>()],
        proptest::collection::vec(any::<u8>(), 0..40),
    )
        .prop_map(|(rtype, octets)| {
            let hex: String = octets.iter().map(|b| format!("{b:02x}")).collect();
            format!("\na 1 TYPE{rtype} \\# {} {hex}\n", octets.len())
        });
    proptest::collection::vec(prop_oneof![20 => pieces, 3 => generic], 0..60)
        .prop_map(|pieces| pieces.concat())
}

/// Generated lines are those that `named-compilezone` makes of the same lines.
#[test]
fn generate_makes_what_bind_makes() {
    let text = "$TTL 60\n$GENERATE 1-2 host-$ A 192.0.2.$\n$GENERATE 0-8/4 ${10,4,x}.a 300 IN CNAME b${-1,3}.$$.x.\\$\n\
        $GENERATE 1-2 m$ MX \"$0 mail-${0,2,o}\"\n$GENERATE 1-1 t$ TXT \"\\\"hello $\\\" world\"\n\
        $GENERATE 10-11 ${0,8,n}p PTR host-${0,0,N}\n$GENERATE 8-9 ${-9}d TXT x${-10,4,x}\n";
    let written = "$TTL 60\nhost-1 A 192.0.2.1\nhost-2 A 192.0.2.2\n000a.a 300 CNAME b-01.\\$.x.\\$\n000e.a 300 CNAME b003.\\$.x.\\$\n\
        0012.a 300 CNAME b007.\\$.x.\\$\nm1 MX 10 mail-01\nm2 MX 20 mail-02\nt1 TXT \"hello 1\" world\n\
        a.0.0.0.p PTR host-A\nb.0.0.0.p PTR host-B\n-1d TXT xfffffffe\n0d TXT xffffffff\n";
    assert_eq!(read(text), read(written));
    // Rdata of several words may stand as it is, too; and the owner before is that of the line
    // before.
    assert_eq!(
        read("$TTL 60\na A 192.0.2.1\n$GENERATE 1-1 m$ MX $0 m\n AAAA ::1"),
        read("$TTL 60\na A 192.0.2.1\nm1 MX 10 m\na AAAA ::1")
    );
    let (records, _) = parse_with("$TTL 60\n\n$GENERATE 1-2 a$ A 192.0.2.$\n", &[]);
    assert_eq!(
        records.get(1).at().to_string(),
        "z:3:1",
        "a record stands where it is made"
    );
}

#[test]
fn generate_is_bounded() {
    let text = "$TTL 60\n$GENERATE 1-10 a$ A 192.0.2.1\n$GENERATE 1-1048576 b$ A 192.0.2.1\n";
    let (records, diagnostics) = parse_with(text, &[]);
    assert_eq!(records.len(), 10);
    assert_eq!(
        diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(),
        ["zone-too-large"]
    );
    let wrong = messages("$TTL 60\n$GENERATE 250-260 a$ A 192.0.2.$\n");
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].contains("for $ = 256: \"192.0.2.256\" is not an IPv4 address"),
        "{wrong:?}"
    );
}

/// The octets are those of `named-compilezone`, read back in its text form.
#[test]
fn loc_is_read_as_bind_reads_it() {
    let same = |a: &str, b: &str| {
        assert_eq!(
            read(&format!("x 60 LOC {a}")),
            read(&format!("x 60 LOC {b}"))
        )
    };
    let hex = |text: &str| {
        read(&format!("x 60 LOC {text}"))[0]
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    // The first example of RFC 1876 §4: cambridge-net.kei.com.
    assert_eq!(
        hex("42 21 54 N 71 06 18 W -24m 30m"),
        "0033161389172dd070be15f000988d20"
    );
    same(
        "52 14 05 N 00 08 50 E 10m",
        "52 14 5.000 N 0 8 50.000 E 10.00m 1m 10000m 10m",
    );
    same(
        "52 14 05.123 S 00 08 50.9 W -10.5m 1234.56m 20m 0.5",
        "52 14 5.123 S 0 8 50.900 W -10.50m 1000m 20m 0.50m",
    );
    same(
        "90 N 180 W 42849672.95m 90000000.00m 0m 0.01m",
        "90 0 0.000 N 180 0 0.000 W 42849672.95m 90000000m 0.00m 0.01m",
    );
    same(
        "32 7 19 S 116 2 25 E 10m 9999m 99.99m 100000m",
        "32 7 19.000 S 116 2 25.000 E 10.00m 9000m 90m 100000m",
    );
    same("1 n 2 e 0", r"\# 16 00121613 8036EE80 806DDD00 00989680");
    for wrong in [
        "91 N 0 E 0m",
        "90 0 0.001 N 0 E 0m",
        "1 60 N 0 E 0m",
        "1 2 60 N 0 E 0m",
        "1 2 3.1234 N 0 E 0m",
        "1 N 181 E 0m",
        "1 N 2 E",
        "1 N 2 E 42849672.96m",
        "1 N 2 E -100000.01m",
        "1 N 2 E 1.234m",
        "1 N 2 E 1m 90000000.01m",
        "N 0 E 0m",
        "1 2 3 4 N 0 E 0m",
        r"\# 16 00A216138036EE80806DDD0000989680",
        r"\# 4 00000000",
    ] {
        assert_eq!(messages(&format!("x 60 LOC {wrong}")).len(), 1, "{wrong}");
    }
}

#[test]
fn octets_that_are_not_utf_8_are_served_as_they_stand_in_strings_only() {
    let text = |octets: &[u8]| MasterText::from_octets(octets.to_vec()).unwrap();
    let read = |octets: &[u8]| {
        let mut diagnostics = Diagnostics::default();
        let records = parse(
            &Input::whole("z", text(octets)),
            &origin(),
            &mut Files(BTreeMap::new()),
            &mut diagnostics,
        );
        let rules: Vec<_> = diagnostics
            .iter()
            .map(|d| (d.severity, d.rule, d.at.line))
            .collect();
        (lines(&records), rules)
    };
    let warning = |line| (Severity::Warning, "not-utf8", line);
    assert_eq!(
        read(b"; Z\xfcrich\nt 60 TXT ok ; \xff"),
        (vec!["t 60 TXT 026f6b".to_owned()], vec![])
    );
    assert_eq!(
        read(b"t 60 TXT \"Z\xfc\" ok"),
        (vec!["t 60 TXT 025afc026f6b".to_owned()], vec![warning(1)])
    );
    assert_eq!(
        read(b"t 60 TXT \\\xfc\\\\\xfc\xff1").0,
        ["t 60 TXT 05fc5cfcff31"]
    );
    let (records, rules) = read(b"ok 60 A 192.0.2.1\nz\xfc 60 A 192.0.2.1\nx 60 CNAME z\xfc\n");
    assert_eq!(
        (records.len(), rules),
        (
            1,
            vec![
                (Severity::Error, "not-utf8", 2),
                (Severity::Error, "not-utf8", 3)
            ]
        )
    );
    assert!(
        MasterText::from_octets((128..=255).collect()).is_none(),
        "no text at all"
    );
}

#[test]
fn a_file_without_a_record_is_reported_without_a_word_of_it() {
    struct Secrets(bool);
    impl Include for Secrets {
        fn read(&mut self, path: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
            Ok(input(
                path,
                "root:$6$secret:19000:0:99999:7:::\nmachine secret login secret\n(secret\n",
            ))
        }
        fn accept(&mut self, _: &Input) {
            self.0 = true;
        }
        fn is_accepted(&self, file: &str) -> bool {
            file == "z"
        }
    }
    let mut secrets = Secrets(false);
    let mut diagnostics = Diagnostics::default();
    parse(
        &input("z", "$INCLUDE shadow\n"),
        &origin(),
        &mut secrets,
        &mut diagnostics,
    );
    let messages: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].starts_with("shadow:1:1: error[not-a-master-file]")
            && !messages[0].contains("secret"),
        "{messages:?}"
    );
    assert!(!secrets.0);
}

#[test]
fn what_is_included_again_and_again_is_bounded() {
    let big = format!("a 60 A 192.0.2.1\n;{}\n", "x".repeat(1 << 20));
    let includes: String = (0..150).map(|i| format!("$INCLUDE big n{i}\n")).collect();
    let (records, diagnostics) = parse_with(&includes, &[("big", &big)]);
    assert_eq!(
        records.len(),
        16,
        "the first, and again as often as 16 MiB allow"
    );
    assert_eq!(
        diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(),
        ["zone-too-large"]
    );
}
