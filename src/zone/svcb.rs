//! SVCB and HTTPS rdata (RFC 9460).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::lexer::Token;
use super::words::{
    Bad, Words, append_string, base64, name_length, number, present_base64, quote, quoted,
};
use crate::dns::Name;

/// SvcParamKeys by number (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4).
const KEYS: &[&str] = &[
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
    "ohttp",
];
const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const OHTTP: u16 = 8;

/// Reads SvcPriority, TargetName and SvcParams into `out`.
pub(super) fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    out.extend_from_slice(
        &words
            .number::<u16>("priority", u16::MAX.into())?
            .to_be_bytes(),
    );
    words.name("target", out)?;
    let mut params: Vec<(u16, Token, Vec<u8>)> = Vec::new();
    while let Some(token) = words.next() {
        let (key, value) = read_param(token, words)?;
        params.push((key, token, value));
    }
    // "SvcParamKeys SHALL appear in increasing numeric order" on the wire, in any order in text (§2.1, §2.2).
    params.sort_by_key(|(key, ..)| *key);
    if let Some(pair) = params.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Bad::rdata(
            Some(pair[1].1),
            format!("{} is given twice", key_name(pair[1].0)),
        ));
    }
    let params_at = out.len();
    for (key, token, value) in &params {
        let length = u16::try_from(value.len())
            .map_err(|_| Bad::rdata(Some(*token), "the value is longer than 65535 octets"))?;
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
    check_params(&out[params_at..]).map_err(|(key, why)| {
        Bad::rdata(
            params
                .iter()
                .find(|(k, ..)| *k == key)
                .map(|(_, token, _)| *token),
            format!("{} {why}", key_name(key)),
        )
    })
}

/// Says whether `wire` is SVCB or HTTPS rdata.
pub(super) fn check_wire(wire: &[u8]) -> Result<(), String> {
    let target = wire.get(2..).ok_or("the priority is cut short")?;
    let params = &target[name_length(target).ok_or("the target is not an uncompressed name")?..];
    check_params(params).map_err(|(key, why)| format!("{} {why}", key_name(key)))
}

/// Rdata in presentation format; `None` of octets that are none.
pub(super) fn present(wire: &[u8]) -> Option<String> {
    check_wire(wire).ok()?;
    let (priority, after) = wire.split_first_chunk::<2>()?;
    let (target, mut params) = after.split_at_checked(name_length(after)?)?;
    let mut text = format!(
        "{} {}",
        u16::from_be_bytes(*priority),
        Name::from_wire(target)?
    );
    while let Some((head, rest)) = params.split_first_chunk::<4>() {
        let (key, length) = (
            u16::from_be_bytes([head[0], head[1]]),
            u16::from_be_bytes([head[2], head[3]]),
        );
        let value;
        (value, params) = rest.split_at_checked(length.into())?;
        text += &format!(" {}", key_name(key));
        if let Some(value) = present_value(key, value)? {
            text += &format!("={value}");
        }
    }
    Some(text)
}

/// A value in presentation format; of some keys there is none.
fn present_value(key: u16, value: &[u8]) -> Option<Option<String>> {
    fn listed<T: std::fmt::Display>(items: impl Iterator<Item = T>) -> String {
        items
            .map(|item| item.to_string())
            .collect::<Vec<_>>()
            .join(",")
    }
    Some(match key {
        NO_DEFAULT_ALPN | OHTTP => None,
        MANDATORY => Some(listed(
            value
                .as_chunks::<2>()
                .0
                .iter()
                .map(|key| key_name(u16::from_be_bytes(*key))),
        )),
        ALPN => {
            let (mut items, mut rest) = (Vec::new(), value);
            while let Some((length, tail)) = rest.split_first() {
                let item;
                (item, rest) = tail.split_at_checked(usize::from(*length))?;
                // A comma in an item is escaped in the list, and that escape in the string (RFC 9460 §A.1).
                if !items.is_empty() {
                    items.push(b',');
                }
                for octet in item {
                    if matches!(octet, b',' | b'\\') {
                        items.push(b'\\');
                    }
                    items.push(*octet);
                }
            }
            let plain = items
                .iter()
                .all(|octet| octet.is_ascii_alphanumeric() || b"-_./,".contains(octet));
            let quoted = quoted(&items);
            Some(if plain {
                quoted.trim_matches('"').to_owned()
            } else {
                quoted
            })
        }
        PORT => Some(u16::from_be_bytes(value.try_into().ok()?).to_string()),
        IPV4HINT => Some(listed(
            value
                .as_chunks::<4>()
                .0
                .iter()
                .map(|address| Ipv4Addr::from(*address)),
        )),
        IPV6HINT => Some(listed(
            value
                .as_chunks::<16>()
                .0
                .iter()
                .map(|address| Ipv6Addr::from(*address)),
        )),
        ECH => Some(present_base64(value)?),
        // It is reserved, and no key in text (RFC 9460 §14.3.2).
        u16::MAX => return None,
        _ if value.is_empty() => None,
        _ => Some(quoted(value)),
    })
}

/// Reads one SvcParam, `key` or `key=value`: its number, and its value in wire format.
fn read_param(token: Token, words: &Words<'_>) -> Result<(u16, Vec<u8>), Bad> {
    let written = token.text(words.text);
    let (name, value) = match written.split_once('=') {
        Some((name, value)) => (name, unescaped(value, token, words.text)?),
        None => (written, Vec::new()),
    };
    let Some(key) = key_number(name) else {
        let message = format!("{} is not a SvcParam", quote(name));
        return Err(Bad::rdata(Some(token), message).hint(format!(
            "known are {}; any other is written as keyNNNNN",
            KEYS.join(", ")
        )));
    };
    match wire_value(key, value) {
        Ok(wire) => Ok((key, wire)),
        Err(why) => Err(Bad::rdata(Some(token), format!("{name} {why}"))),
    }
}

/// The octets of a SvcParam's `value`, with which `token` ends: in quotes or not, its escapes resolved.
fn unescaped(value: &str, token: Token, text: &str) -> Result<Vec<u8>, Bad> {
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let inner = quoted.unwrap_or(value);
    // Tokens count octets in 32 bits, and these are part of one.
    let end = token.end - u32::from(quoted.is_some());
    let start = end - inner.len() as u32;
    let mut octets = Vec::new();
    let inner = Token {
        start,
        end,
        ..token
    };
    append_string(inner, text, &mut octets)?;
    Ok(octets)
}

/// The wire format of the value of SvcParam `key`, or what is wrong with it.
fn wire_value(key: u16, value: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let text = std::str::from_utf8(&value).ok();
    match key {
        MANDATORY => mandatory_keys(&value),
        ALPN => protocol_ids(&value),
        PORT => {
            let port = text.and_then(|text| number(text, u16::MAX.into()));
            let port = port.and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or("is not a number from 0 to 65535")?;
            Ok(port.to_be_bytes().to_vec())
        }
        IPV4HINT => addresses::<Ipv4Addr, 4>(&value, |address| address.octets())
            .ok_or("is not a list of IPv4 addresses"),
        IPV6HINT => addresses::<Ipv6Addr, 16>(&value, |address| address.octets())
            .ok_or("is not a list of IPv6 addresses"),
        ECH => text.and_then(base64).ok_or("is not base64"),
        _ => Ok(value),
    }
}

/// The value of `mandatory`: the numbers of its keys in ascending order (RFC 9460 §8).
fn mandatory_keys(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut keys = Vec::new();
    for name in split_list(value).ok_or("has an empty item")? {
        let key = std::str::from_utf8(&name).ok().and_then(key_number);
        keys.push(key.ok_or("lists what is not a SvcParam")?);
    }
    keys.sort_unstable();
    Ok(keys.iter().flat_map(|key| key.to_be_bytes()).collect())
}

/// The value of `alpn`: each protocol behind its length (RFC 9460 §7.1.1).
fn protocol_ids(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut wire = Vec::new();
    for id in split_list(value).ok_or("has an empty item")? {
        let length = u8::try_from(id.len()).map_err(|_| "has an item of more than 255 octets")?;
        wire.push(length);
        wire.extend_from_slice(&id);
    }
    Ok(wire)
}

/// Says whether `wire` is SvcParams, and consistent (RFC 9460 §2.4.3, §8); the key that is at fault.
fn check_params(wire: &[u8]) -> Result<(), (u16, &'static str)> {
    let mut keys: Vec<u16> = Vec::new();
    let mut mandatory: &[u8] = &[];
    let mut rest = wire;
    while let [a, b, c, d, tail @ ..] = rest {
        let key = u16::from_be_bytes([*a, *b]);
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let value = tail.get(..length).ok_or((key, "is cut short"))?;
        rest = &tail[length..];
        if keys.last().is_some_and(|last| *last >= key) {
            return Err((key, "is not in increasing order"));
        }
        keys.push(key);
        check_value(key, value).map_err(|why| (key, why))?;
        if key == MANDATORY {
            mandatory = value;
        }
    }
    if !rest.is_empty() {
        return Err((
            keys.last().copied().unwrap_or(0),
            "is followed by octets that are no SvcParam",
        ));
    }
    for listed in mandatory
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    {
        if listed == MANDATORY || !keys.contains(&listed) {
            return Err((MANDATORY, "lists a key that is not there"));
        }
    }
    if keys.contains(&NO_DEFAULT_ALPN) && !keys.contains(&ALPN) {
        return Err((NO_DEFAULT_ALPN, "needs alpn beside it"));
    }
    Ok(())
}

fn check_value(key: u16, value: &[u8]) -> Result<(), &'static str> {
    let good = match key {
        MANDATORY => {
            let keys: Vec<&[u8]> = value.chunks(2).collect();
            !value.is_empty()
                && value.len().is_multiple_of(2)
                && keys.windows(2).all(|pair| pair[0] < pair[1])
        }
        ALPN => {
            let mut rest = value;
            while let Some((length, tail)) = rest.split_first() {
                match tail.get(usize::from(*length)..) {
                    Some(after) if *length > 0 => rest = after,
                    _ => return Err("has an item that is empty or cut short"),
                }
            }
            !value.is_empty()
        }
        NO_DEFAULT_ALPN | OHTTP => {
            return if value.is_empty() {
                Ok(())
            } else {
                Err("takes no value")
            };
        }
        PORT => value.len() == 2,
        IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
        ECH => !value.is_empty(),
        _ => true,
    };
    if good {
        Ok(())
    } else {
        Err("has a value that is empty, repeated or of the wrong length")
    }
}

fn key_number(name: &str) -> Option<u16> {
    if let Some(known) = KEYS.iter().position(|known| *known == name) {
        return u16::try_from(known).ok();
    }
    let digits = name.strip_prefix("key")?;
    // "without leading zeros" (§2.1); 65535 is reserved.
    let plain = digits == "0" || !digits.starts_with('0');
    if plain {
        number(digits, 65_534).and_then(|number| u16::try_from(number).ok())
    } else {
        None
    }
}

fn key_name(key: u16) -> String {
    KEYS.get(usize::from(key))
        .map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
}

/// A comma-separated list in which `\,` and `\\` stand for themselves (RFC 9460 §A.1); `None` with
/// an empty item.
fn split_list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => items.last_mut()?.push(*octets.next()?),
            other => items.last_mut()?.push(*other),
        }
    }
    items.iter().all(|item| !item.is_empty()).then_some(items)
}

fn addresses<T: std::str::FromStr, const N: usize>(
    value: &[u8],
    octets: fn(&T) -> [u8; N],
) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(value).ok()?;
    let parsed: Option<Vec<[u8; N]>> = text
        .split(',')
        .map(|item| item.parse().ok().map(|a| octets(&a)))
        .collect();
    Some(parsed?.concat())
}
