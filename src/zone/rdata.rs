//! Rdata from text and the check of rdata given in hex: a table, one row a type.
//!
//! Types whose rdata holds names or strings are read here, since hickory's text reader takes `\DDD`
//! for octal and knows no octets beyond UTF-8. What is plain numbers and base64 goes through hickory.
//! Any type may be written in the form of RFC 3597 §5, `\# length hex`; that of a type known here
//! is then held to its row.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

use super::words::{Bad, Words, append_string, hex, hickory_rdata, name_length, number, seconds};
use super::{loc, svcb};
use crate::dns::RrType;

/// A type's rdata.
pub(super) enum Shape {
    /// Field by field.
    Fields(&'static [Field]),
    /// SvcPriority, TargetName, SvcParams (RFC 9460 §2).
    Svcb,
    /// A place on earth (RFC 1876).
    Loc,
    /// Read by hickory; words from the given one on are joined first.
    Hickory(usize),
}

/// A field of rdata, with what it is called in messages.
#[derive(Clone, Copy)]
pub(super) enum Field {
    V4,
    V6,
    U8(&'static str),
    U16(&'static str),
    U32(&'static str),
    /// Seconds, with units if wanted.
    Time(&'static str),
    /// A DNSSEC algorithm: a number or its mnemonic (RFC 4034 §A.1).
    Algorithm,
    Name(&'static str),
    /// One character string.
    String(&'static str),
    /// One or more character strings.
    Strings,
    /// A CAA tag: a character string of letters and digits (RFC 8659 §4.1).
    Tag,
    /// A string without length octet, up to the end of the rdata.
    Rest(&'static str),
    /// Hex, possibly in several words, up to the end of the rdata.
    Hex(&'static str),
}

use Field::{Algorithm, Hex, Rest, String as Str, Strings, Tag, Time, U8, U16, U32, V4, V6};

const SHAPES: &[(RrType, Shape)] = &[
    (RrType::A, Shape::Fields(&[V4])),
    (RrType::AAAA, Shape::Fields(&[V6])),
    (RrType::NS, Shape::Fields(&[Field::Name("name server")])),
    (RrType::CNAME, Shape::Fields(&[Field::Name("target")])),
    (RrType::DNAME, Shape::Fields(&[Field::Name("target")])),
    (RrType::PTR, Shape::Fields(&[Field::Name("target")])),
    (
        RrType::MX,
        Shape::Fields(&[U16("preference"), Field::Name("mail server")]),
    ),
    (RrType::TXT, Shape::Fields(&[Strings])),
    (RrType::SPF, Shape::Fields(&[Strings])),
    (
        RrType::SRV,
        Shape::Fields(&[
            U16("priority"),
            U16("weight"),
            U16("port"),
            Field::Name("target"),
        ]),
    ),
    (
        RrType::SOA,
        Shape::Fields(&[
            Field::Name("primary name server"),
            Field::Name("mailbox"),
            U32("serial"),
            Time("refresh"),
            Time("retry"),
            Time("expire"),
            Time("minimum"),
        ]),
    ),
    (RrType::HINFO, Shape::Fields(&[Str("CPU"), Str("OS")])),
    (
        RrType::CAA,
        Shape::Fields(&[U8("flags"), Tag, Rest("value")]),
    ),
    (
        RrType::NAPTR,
        Shape::Fields(&[
            U16("order"),
            U16("preference"),
            Str("flags"),
            Str("services"),
            Str("regular expression"),
            Field::Name("replacement"),
        ]),
    ),
    (
        RrType::URI,
        Shape::Fields(&[U16("priority"), U16("weight"), Rest("target")]),
    ),
    (
        RrType::DS,
        Shape::Fields(&[U16("key tag"), Algorithm, U8("digest type"), Hex("digest")]),
    ),
    (
        RrType::CDS,
        Shape::Fields(&[U16("key tag"), Algorithm, U8("digest type"), Hex("digest")]),
    ),
    (
        RrType::SSHFP,
        Shape::Fields(&[U8("algorithm"), U8("fingerprint type"), Hex("fingerprint")]),
    ),
    (
        RrType::TLSA,
        Shape::Fields(&[
            U8("usage"),
            U8("selector"),
            U8("matching type"),
            Hex("certificate data"),
        ]),
    ),
    (
        RrType::SMIMEA,
        Shape::Fields(&[
            U8("usage"),
            U8("selector"),
            U8("matching type"),
            Hex("certificate data"),
        ]),
    ),
    (
        RrType::RP,
        Shape::Fields(&[Field::Name("mailbox"), Field::Name("text name")]),
    ),
    (
        RrType::AFSDB,
        Shape::Fields(&[U16("subtype"), Field::Name("host")]),
    ),
    (
        RrType::KX,
        Shape::Fields(&[U16("preference"), Field::Name("exchanger")]),
    ),
    // Of no use any more, but their names are compressed on the wire (RFC 3597 §4): they must be names.
    (RrType::MD, Shape::Fields(&[Field::Name("host")])),
    (RrType::MF, Shape::Fields(&[Field::Name("host")])),
    (RrType::MB, Shape::Fields(&[Field::Name("host")])),
    (RrType::MG, Shape::Fields(&[Field::Name("mailbox")])),
    (RrType::MR, Shape::Fields(&[Field::Name("mailbox")])),
    (
        RrType::MINFO,
        Shape::Fields(&[Field::Name("mailbox"), Field::Name("error mailbox")]),
    ),
    (RrType::LOC, Shape::Loc),
    (RrType::SVCB, Shape::Svcb),
    (RrType::HTTPS, Shape::Svcb),
    (RrType::CERT, Shape::Hickory(3)),
    (RrType::OPENPGPKEY, Shape::Hickory(0)),
    (RrType::CSYNC, Shape::Hickory(usize::MAX)),
];

/// True for types that can be read from text other than in the form of RFC 3597.
pub(super) fn is_readable(rtype: RrType) -> bool {
    shape(rtype).is_some()
}

/// Reads the rdata of an entry into `out`, uncompressed wire format.
pub(super) fn read(rtype: RrType, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    if rtype == RrType::SOA
        && let [_, mailbox, rest @ ..] = words.tokens
        && rest.len() == 4
        && number(mailbox.text(words.text), u32::MAX.into()).is_some()
    {
        return Err(Bad::rdata(
            Some(*mailbox),
            format!(
                "the mailbox is missing: {} stands in its place",
                words.quote(*mailbox)
            ),
        )
        .hint("write it after the primary name server: ns1 hostmaster 1 3600 600 604800 20"));
    }
    if words
        .peek()
        .is_some_and(|token| !token.quoted && token.text(words.text) == r"\#")
    {
        read_generic(rtype, words, out)?;
    } else {
        match shape(rtype) {
            Some(Shape::Fields(fields)) => fields
                .iter()
                .try_for_each(|field| read_field(*field, words, out))?,
            Some(Shape::Svcb) => svcb::read(words, out)?,
            Some(Shape::Loc) => loc::read(words, out)?,
            Some(Shape::Hickory(joined_from)) => read_by_hickory(rtype, *joined_from, words, out)?,
            None => unreachable!("the parser asks is_readable first"),
        }
    }
    if let Some(extra) = words.next() {
        return Err(Bad::rdata(
            Some(extra),
            format!("{} is more than {rtype} takes", words.quote(extra)),
        ));
    }
    if out.len() > usize::from(u16::MAX) {
        return Err(Bad::rdata(
            None,
            format!(
                "the rdata has {} octets, more than the 65535 a record can carry",
                out.len()
            ),
        ));
    }
    Ok(())
}

/// Says whether `wire` is rdata of `rtype`; any octets are of a type not known here.
pub(super) fn check_wire(rtype: RrType, wire: &[u8]) -> Result<(), String> {
    match shape(rtype) {
        Some(Shape::Fields(fields)) => {
            let mut rest = wire;
            for field in *fields {
                rest = check_field(*field, rest)
                    .ok_or_else(|| format!("the {} is cut short or invalid", field.name()))?;
            }
            if rest.is_empty() {
                Ok(())
            } else {
                Err(format!("{} octets are left over", rest.len()))
            }
        }
        Some(Shape::Svcb) => svcb::check_wire(wire),
        Some(Shape::Loc) => loc::check_wire(wire).map_err(|why| why.to_string()),
        Some(Shape::Hickory(_)) | None => {
            let length = u16::try_from(wire.len())
                .map_err(|_| "it is longer than 65535 octets".to_owned())?;
            let mut decoder = BinDecoder::new(wire);
            RData::read(
                &mut decoder,
                RecordType::from(rtype.0),
                Restrict::new(length),
            )
            .map(drop)
            .map_err(|e| e.to_string())
        }
    }
}

pub(super) fn shape(rtype: RrType) -> Option<&'static Shape> {
    SHAPES
        .iter()
        .find(|(known, _)| *known == rtype)
        .map(|(_, shape)| shape)
}

fn read_field(field: Field, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    match field {
        V4 => out.extend_from_slice(
            &words
                .address::<Ipv4Addr>("IPv4 address", "192.0.2.1")?
                .octets(),
        ),
        V6 => out.extend_from_slice(
            &words
                .address::<Ipv6Addr>("IPv6 address", "2001:db8::1")?
                .octets(),
        ),
        U8(what) => out.push(words.number(what, u8::MAX.into())?),
        U16(what) => {
            out.extend_from_slice(&words.number::<u16>(what, u16::MAX.into())?.to_be_bytes())
        }
        U32(what) => {
            out.extend_from_slice(&words.number::<u32>(what, u32::MAX.into())?.to_be_bytes())
        }
        Time(what) => {
            let token = words.expect(what)?;
            let time = seconds(token.text(words.text)).map_err(|why| {
                Bad::rdata(
                    Some(token),
                    format!("the {what} {} {why}", words.quote(token)),
                )
            })?;
            out.extend_from_slice(&time.secs().to_be_bytes());
        }
        Algorithm => out.push(algorithm(words)?),
        Field::Name(what) => words.name(what, out)?,
        Str(what) => words.string(what, out)?,
        Tag => read_tag(words, out)?,
        Strings => {
            words.string("text", out)?;
            while words.peek().is_some() {
                words.string("text", out)?;
            }
        }
        Rest(what) => {
            let token = words.expect(what)?;
            append_string(token, words.text, out)?;
        }
        Hex(what) => read_hex(what, words, out)?,
    }
    Ok(())
}

/// Reads the tag of a CAA record.
fn read_tag(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    let start = out.len();
    let token = words.peek();
    words.string("tag", out)?;
    let tag = &out[start + 1..];
    if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
        return Err(
            Bad::rdata(token, "the tag of a CAA record is letters and digits")
                .hint("for example issue, issuewild or iodef"),
        );
    }
    Ok(())
}

/// Reads all words that are left as hexadecimal digits, one octet at least.
fn read_hex(what: &str, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    let token = words.peek();
    let digits = words.rest();
    match hex(&digits) {
        Some(octets) if !octets.is_empty() => {
            out.extend_from_slice(&octets);
            Ok(())
        }
        _ if digits.is_empty() => Err(Bad::rdata(None, format!("the {what} is missing"))),
        _ => Err(Bad::rdata(
            token,
            format!("the {what} is not an even number of hexadecimal digits"),
        )),
    }
}

/// The next word as a DNSSEC algorithm.
fn algorithm(words: &mut Words<'_>) -> Result<u8, Bad> {
    const MNEMONICS: &[(&str, u8)] = &[
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("ECC", 4),
        ("RSASHA1", 5),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ];
    match words.peek().and_then(|token| {
        MNEMONICS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(token.text(words.text)))
    }) {
        Some((_, value)) => {
            words.next();
            Ok(*value)
        }
        None => words.number("algorithm", u8::MAX.into()),
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            V4 | V6 => "address",
            U8(what)
            | U16(what)
            | U32(what)
            | Time(what)
            | Field::Name(what)
            | Str(what)
            | Rest(what)
            | Hex(what) => what,
            Algorithm => "algorithm",
            Strings => "text",
            Tag => "tag",
        }
    }
}

/// Checks `field` at the start of `wire`, and returns what follows it.
fn check_field(field: Field, wire: &[u8]) -> Option<&[u8]> {
    match field {
        V4 | U32(_) => wire.get(4..),
        V6 => wire.get(16..),
        U8(_) | Algorithm => wire.get(1..),
        U16(_) => wire.get(2..),
        Time(_) => (*wire.first()? < 0x80).then(|| wire.get(4..))?,
        Field::Name(_) => wire.get(name_length(wire)?..),
        Str(_) => wire.get(1 + usize::from(*wire.first()?)..),
        Tag => {
            let rest = check_field(Str("tag"), wire)?;
            let tag = &wire[1..wire.len() - rest.len()];
            (!tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric)).then_some(rest)
        }
        Strings => {
            let mut rest = check_field(Str("text"), wire)?;
            while !rest.is_empty() {
                rest = check_field(Str("text"), rest)?;
            }
            Some(rest)
        }
        Rest(_) => Some(&[]),
        Hex(_) => (!wire.is_empty()).then_some(&[]),
    }
}

/// `\# length hex…` (RFC 3597 §5).
fn read_generic(rtype: RrType, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    let mark = words.next();
    let length: usize = words.number("length after \\#", u16::MAX.into())?;
    let first = words.peek();
    let digits = words.rest();
    let octets = hex(&digits).ok_or_else(|| {
        Bad::rdata(
            first,
            "the rdata after \\# is not an even number of hexadecimal digits",
        )
    })?;
    if octets.len() != length {
        return Err(Bad::rdata(
            mark,
            format!("\\# says {length} octets, {} follow", octets.len()),
        ));
    }
    check_wire(rtype, &octets).map_err(|why| {
        Bad::rdata(
            mark,
            format!("the octets after \\# are no {rtype} rdata: {why}"),
        )
    })?;
    out.extend_from_slice(&octets);
    Ok(())
}

fn read_by_hickory(
    rtype: RrType,
    joined_from: usize,
    words: &mut Words<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let first = words.peek();
    let mut text = String::new();
    let mut index = 0;
    while let Some(token) = words.next() {
        let word = token.text(words.text);
        // Nothing in these types needs more, and hickory's own reader of tokens is not to see quotes or comments.
        if token.quoted
            || !word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-'))
        {
            return Err(Bad::rdata(
                Some(token),
                format!("{} does not belong into {rtype} rdata", words.quote(token)),
            ));
        }
        if index > 0 && index <= joined_from {
            text.push(' ');
        }
        text.push_str(word);
        index += 1;
    }
    let wire =
        hickory_rdata(RecordType::from(rtype.0), &text).map_err(|why| Bad::rdata(first, why))?;
    check_wire(rtype, &wire).map_err(|why| Bad::rdata(first, why))?;
    out.extend_from_slice(&wire);
    Ok(())
}
