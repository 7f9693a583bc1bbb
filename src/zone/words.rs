//! The words of an entry: numbers, names, strings and times as master files write them.

use std::fmt::Write;

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, BinEncoder, Restrict};

use super::lexer::Token;
use crate::dns::{MAX_LABEL, MAX_NAME, Name, Ttl, unescape};

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

/// An oddity of a word.
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
    pub(super) fn rest(&mut self) -> String {
        std::mem::take(&mut self.tokens)
            .iter()
            .map(|token| token.text(self.text))
            .collect()
    }
}

impl Words<'_> {
    /// The next word as an address.
    pub(super) fn address<T: std::str::FromStr>(
        &mut self,
        what: &str,
        example: &str,
    ) -> Result<T, Bad> {
        let token = self.expect(what)?;
        token.text(self.text).parse().map_err(|_| {
            Bad::rdata(
                Some(token),
                format!("{} is not an {what}", self.quote(token)),
            )
            .hint(format!("write it like {example}"))
        })
    }

    /// The next word as a character string: its length and its octets.
    pub(super) fn string(&mut self, what: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
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
}

/// A problem with rdata: its place, the message, a hint.
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

/// The length of the uncompressed name at the start of `wire`.
pub(super) fn name_length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*wire.get(at)?);
        at += 1 + length;
        if length > MAX_LABEL || at > MAX_NAME || at > wire.len() {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// `octets` in quotes.
pub(super) fn quoted(octets: &[u8]) -> String {
    let mut text = String::from("\"");
    for octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(*octet)]),
            b' '..=b'~' => text.push(char::from(*octet)),
            other => _ = write!(text, "\\{other:03}"),
        }
    }
    text + "\""
}

/// The rdata that hickory reads from `text`.
pub(super) fn hickory_rdata(rtype: RecordType, text: &str) -> Result<Vec<u8>, String> {
    let rdata = RData::try_from_str(rtype, text).map_err(|why| why.to_string())?;
    let mut wire = Vec::new();
    rdata
        .emit(&mut BinEncoder::new(&mut wire))
        .map_err(|why| why.to_string())?;
    Ok(wire)
}

/// Octets from hexadecimal digits.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    // A digit is below 16.
    let value = |digit: u8| char::from(digit).to_digit(16).map(|v| v as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| Some(value(pair[0])? << 4 | value(*pair.get(1)?)?))
        .collect()
}
