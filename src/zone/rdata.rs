//! Rdata from text and the check of rdata given in hex: a table, one row a type.
//!
//! Types whose rdata holds names or strings are read here, since hickory's text reader takes `\DDD`
//! for octal and knows no octets beyond UTF-8. What is plain numbers and base64 goes through hickory.
//! Any type may be written in the form of RFC 3597 §5, `\# length hex`; that of a type known here
//! is then held to its row.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, BinEncoder, Restrict};

use super::lexer::Token;
use super::{loc, svcb};
use crate::dns::{MAX_NAME, Name, RrType, Ttl, unescape};

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

/// What is wrong with rdata: where, the message, a hint.
#[derive(Debug)]
pub(super) struct Bad {
    /// The token that is wrong; `None` where one is missing at the end of the entry.
    pub(super) token: Option<Token>,
    pub(super) rule: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Bad {
    pub(super) fn rdata(token: Option<Token>, message: impl Into<String>) -> Bad {
        Bad {
            token,
            rule: "bad-rdata",
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Bad {
        Bad {
            hint: Some(hint.into()),
            ..self
        }
    }
}

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
        Some(Shape::Loc) => loc::check_wire(wire),
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

/// The words of an entry's rdata, one after the other.
pub(super) struct Words<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token],
    pub(super) origin: &'a Name,
    /// The zone's name as text, without its final dot.
    pub(super) zone: &'a str,
    /// Words that can be read and are hardly meant so.
    pub(super) odd: &'a mut Vec<(Token, Odd)>,
}

/// What is odd about a word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Odd {
    /// A relative name that ends like the zone's.
    Doubled,
    /// A mailbox with an `@`, as in mail addresses.
    AtSign,
    /// Octets that are not UTF-8.
    NotUtf8,
}

/// True for a name without final dot that ends like the zone's: its dot was most likely forgotten.
pub(super) fn is_doubled(written: &str, zone: &str) -> bool {
    let Some(before) = written.len().checked_sub(zone.len()) else {
        return false;
    };
    let (head, tail) = written.as_bytes().split_at(before);
    !zone.is_empty()
        && tail.eq_ignore_ascii_case(zone.as_bytes())
        && matches!(head.last(), None | Some(b'.'))
}

impl Words<'_> {
    pub(super) fn peek(&self) -> Option<Token> {
        self.tokens.first().copied()
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    /// The next word, `what` it is said to be when it is missing.
    pub(super) fn expect(&mut self, what: &str) -> Result<Token, Bad> {
        self.next()
            .ok_or_else(|| Bad::rdata(None, format!("the {what} is missing")))
    }

    /// The token as messages show it: in quotes, shortened.
    pub(super) fn quote(&self, token: Token) -> String {
        quote(token.text(self.text))
    }

    /// The next word as a number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, what: &str, highest: u64) -> Result<T, Bad> {
        let token = self.expect(what)?;
        number(token.text(self.text), highest)
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| {
                Bad::rdata(
                    Some(token),
                    format!(
                        "the {what} {} is not a number from 0 to {highest}",
                        self.quote(token)
                    ),
                )
            })
    }

    /// The next word as a name.
    pub(super) fn name(&mut self, what: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
        let token = self.expect(what)?;
        append_name(token, self.text, self.origin, out)?;
        let written = token.text(self.text);
        if is_doubled(written, self.zone) {
            self.odd.push((token, Odd::Doubled));
        } else if what.ends_with("mailbox") && written.len() > 1 && written.contains('@') {
            self.odd.push((token, Odd::AtSign));
        }
        Ok(())
    }

    /// Everything left, joined.
    fn rest(&mut self) -> String {
        std::mem::take(&mut self.tokens)
            .iter()
            .map(|token| token.text(self.text))
            .collect()
    }
}

/// Appends the name that `token` writes.
pub(super) fn append_name(
    token: Token,
    text: &str,
    origin: &Name,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let written = token.text(text);
    let bad = |rule, message: String| Bad {
        token: Some(token),
        rule,
        message,
        hint: None,
    };
    if token.quoted {
        return Err(bad(
            "bad-name",
            format!("{} is a quoted string where a name is due", quote(written)),
        ));
    }
    if !written.is_ascii() {
        return Err(bad(
            "bad-name",
            format!("the name {} has characters outside ASCII", quote(written)),
        )
        .hint("write the label in its ASCII form, xn--…, or its octets as \\DDD"));
    }
    Name::append_text(written, Some(origin), out).map_err(|why| {
        bad(
            "bad-name",
            format!("{} is not a name: {why}", quote(written)),
        )
    })
}

/// Decimal digits only, up to `highest`.
pub(super) fn number(text: &str, highest: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|value| *value <= highest)
}

/// A time: seconds, or numbers with units `w d h m s` (`1h30m`); `Err` says why not.
pub(super) fn seconds(text: &str) -> Result<Ttl, &'static str> {
    const NO_TIME: &str = "is not a number of seconds, nor one with units like 1h30m";
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value: u64 = rest[..digits].parse().map_err(|_| NO_TIME)?;
        let unit = match rest.as_bytes().get(digits) {
            None if digits == text.len() => 1,
            Some(b's' | b'S') => 1,
            Some(b'm' | b'M') => 60,
            Some(b'h' | b'H') => 3600,
            Some(b'd' | b'D') => 86_400,
            Some(b'w' | b'W') => 604_800,
            _ => return Err(NO_TIME),
        };
        total = total.saturating_add(value.saturating_mul(unit));
        rest = rest.get(digits + 1..).unwrap_or("");
    }
    if text.is_empty() {
        return Err(NO_TIME);
    }
    // "a number ranging from 0 to 2147483647" (RFC 2181 §8).
    u32::try_from(total)
        .ok()
        .and_then(Ttl::from_secs)
        .ok_or("is more than 2147483647 seconds")
}

/// Appends the octets of a string with its escapes resolved.
pub(super) fn append_string(token: Token, text: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
    let bytes = token.text(text).as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => {
                let (octet, length) = unescape(&bytes[i + 1..]).ok_or_else(|| {
                    Bad::rdata(
                        Some(token),
                        "a backslash must be followed by a character or three digits up to 255",
                    )
                })?;
                out.push(octet);
                i += 1 + length;
            }
            b'"' => {
                return Err(Bad::rdata(Some(token), "a quote inside a string").hint(
                    "put quotes around the whole string, and write a quote inside it as \\\"",
                ));
            }
            octet => {
                out.push(octet);
                i += 1;
            }
        }
    }
    Ok(())
}

/// Text as messages show it: in quotes, shortened to what fits a line.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Octets from base64.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    // OPENPGPKEY rdata is nothing but base64 (RFC 7929 §2.3).
    hickory_rdata(RecordType::OPENPGPKEY, text).ok()
}

/// Base64 of `octets`.
pub(super) fn present_base64(octets: &[u8]) -> Option<String> {
    let length = Restrict::new(u16::try_from(octets.len()).ok()?);
    RData::read(&mut BinDecoder::new(octets), RecordType::OPENPGPKEY, length)
        .ok()
        .map(|rdata| rdata.to_string())
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
        Algorithm => out.push(words.algorithm()?),
        Field::Name(what) => words.name(what, out)?,
        Str(what) => words.string(what, out)?,
        Tag => {
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
        }
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
        Hex(what) => {
            let token = words.peek();
            let digits = words.rest();
            match hex(&digits) {
                Some(octets) if !octets.is_empty() => out.extend_from_slice(&octets),
                _ if digits.is_empty() => {
                    return Err(Bad::rdata(None, format!("the {what} is missing")));
                }
                _ => {
                    return Err(Bad::rdata(
                        token,
                        format!("the {what} is not an even number of hexadecimal digits"),
                    ));
                }
            }
        }
    }
    Ok(())
}

impl Words<'_> {
    fn address<T: std::str::FromStr>(&mut self, what: &str, example: &str) -> Result<T, Bad> {
        let token = self.expect(what)?;
        token.text(self.text).parse().map_err(|_| {
            Bad::rdata(
                Some(token),
                format!("{} is not an {what}", self.quote(token)),
            )
            .hint(format!("write it like {example}"))
        })
    }

    fn string(&mut self, what: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
        let token = self.expect(what)?;
        let length_at = out.len();
        out.push(0);
        append_string(token, self.text, out)?;
        let length = out.len() - length_at - 1;
        // "a <character-string> is a single length octet followed by that number of characters" (RFC 1035 §3.3).
        out[length_at] = u8::try_from(length).map_err(|_| {
            Bad::rdata(
                Some(token),
                format!("the {what} has {length} octets, and one string holds at most 255"),
            )
            .hint("write it as several quoted strings one after the other; readers join them")
        })?;
        Ok(())
    }

    fn algorithm(&mut self) -> Result<u8, Bad> {
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
        match self.peek().and_then(|token| {
            MNEMONICS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(token.text(self.text)))
        }) {
            Some((_, value)) => {
                self.next();
                Ok(*value)
            }
            None => self.number("algorithm", u8::MAX.into()),
        }
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

/// What follows a valid `field` at the start of `wire`.
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

/// The length of the uncompressed name at the start of `wire`.
pub(super) fn name_length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*wire.get(at)?);
        at += 1 + length;
        if length > crate::dns::MAX_LABEL || at > MAX_NAME || at > wire.len() {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
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

pub(super) fn hickory_rdata(rtype: RecordType, text: &str) -> Result<Vec<u8>, String> {
    let rdata = RData::try_from_str(rtype, text).map_err(|why| why.to_string())?;
    let mut wire = Vec::new();
    rdata
        .emit(&mut BinEncoder::new(&mut wire))
        .map_err(|why| why.to_string())?;
    Ok(wire)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).map(|v| v as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| Some(value(pair[0])? << 4 | value(*pair.get(1)?)?))
        .collect()
}
