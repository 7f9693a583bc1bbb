//! LOC rdata: a place on earth and how exactly it is known (RFC 1876).

use std::fmt;

use super::lexer::Token;
use super::words::{Bad, Words};

/// The equator and the prime meridian, in thousandths of a second of arc (RFC 1876 §2).
const ZERO: i64 = 1 << 31;
/// Thousandths of a second in a degree.
const DEGREE: i64 = 3_600_000;
/// The base of altitudes, 100 000 m below the WGS 84 spheroid, in centimetres.
const BASE: i64 = 10_000_000;
/// Octets of version 0.
const LENGTH: usize = 16;

/// Reads `d1 [m1 [s1]] N|S d2 [m2 [s2]] E|W alt[m] [size[m] [hp[m] [vp[m]]]]` into `out` (RFC 1876
/// §3).
pub(super) fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    let latitude = angle(words, "latitude", 90, ['N', 'S'])?;
    let longitude = angle(words, "longitude", 180, ['E', 'W'])?;
    let token = words.expect("altitude")?;
    let altitude = centimetres(token.text(words.text))
        .map(|altitude| altitude + BASE)
        .and_then(|altitude| u32::try_from(altitude).ok())
        .ok_or_else(|| {
            wrong(
                words,
                token,
                "altitude",
                "metres from -100000.00 to 42849672.95",
            )
        })?;
    // "If omitted, size defaults to 1m, horizontal precision defaults to 10000m, and vertical
    // precision defaults to 10m."
    let size = precision(words, "size", 100)?;
    let horizontal = precision(words, "horizontal precision", 1_000_000)?;
    let vertical = precision(words, "vertical precision", 1000)?;
    out.extend_from_slice(&[0, size, horizontal, vertical]);
    for number in [latitude, longitude, altitude] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// Octets that are no LOC rdata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadLoc {
    Empty,
    /// Version 0 with this many octets.
    Length(usize),
    Precision,
    Angle,
}

impl fmt::Display for BadLoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLoc::Empty => f.write_str("it is empty"),
            BadLoc::Length(length) => write!(f, "it has {length} octets, not {LENGTH}"),
            BadLoc::Precision => f.write_str("a size or precision is out of range"),
            BadLoc::Angle => f.write_str("the latitude or longitude is out of range"),
        }
    }
}

/// Checks that `wire` is LOC rdata. Versions other than 0 have a form of their own, so any octets
/// pass.
pub(super) fn check_wire(wire: &[u8]) -> Result<(), BadLoc> {
    if *wire.first().ok_or(BadLoc::Empty)? != 0 {
        return Ok(());
    }
    let wire: &[u8; LENGTH] = wire.try_into().map_err(|_| BadLoc::Length(wire.len()))?;
    // "two four-bit unsigned integers … each ranging from zero to nine".
    for octet in &wire[1..4] {
        if octet >> 4 > 9 || octet & 15 > 9 {
            return Err(BadLoc::Precision);
        }
    }
    let (latitude, longitude) = (number(wire, 4) - ZERO, number(wire, 8) - ZERO);
    if latitude.abs() > 90 * DEGREE || longitude.abs() > 180 * DEGREE {
        return Err(BadLoc::Angle);
    }
    Ok(())
}

/// The 32-bit number at octet `at`.
fn number(wire: &[u8; LENGTH], at: usize) -> i64 {
    let octets = wire[at..at + 4].try_into().expect("four octets");
    u32::from_be_bytes(octets).into()
}

/// Rdata in presentation format; `None` of octets that have none.
pub(super) fn present(rdata: &[u8]) -> Option<String> {
    check_wire(rdata).ok()?;
    let wire: &[u8; LENGTH] = rdata.try_into().ok()?;
    // Nothing times a power of ten is nothing, which is written in one way.
    let unusual = |octet: &u8| *octet < 16 && *octet != 0;
    if wire[0] != 0 || wire[1..4].iter().any(unusual) {
        return None;
    }
    Some(
        [
            show_angle(number(wire, 4) - ZERO, ['N', 'S']),
            show_angle(number(wire, 8) - ZERO, ['E', 'W']),
            show_metres(number(wire, 12) - BASE),
            show_precision(wire[1]),
            show_precision(wire[2]),
            show_precision(wire[3]),
        ]
        .join(" "),
    )
}

fn show_angle(signed: i64, directions: [char; 2]) -> String {
    let size = signed.abs();
    let (minutes, thousandths) = (size % DEGREE / 60_000, size % 60_000);
    format!(
        "{} {minutes} {}.{:03} {}",
        size / DEGREE,
        thousandths / 1000,
        thousandths % 1000,
        directions[usize::from(signed < 0)]
    )
}

fn show_metres(centimetres: i64) -> String {
    let sign = if centimetres < 0 { "-" } else { "" };
    let size = centimetres.abs();
    format!("{sign}{}.{:02}m", size / 100, size % 100)
}

fn show_precision(octet: u8) -> String {
    show_metres(i64::from(octet >> 4) * 10i64.pow(u32::from(octet & 15)))
}

/// Degrees, minutes and seconds up to the letter of the direction.
fn angle(words: &mut Words<'_>, what: &str, most: u32, directions: [char; 2]) -> Result<u32, Bad> {
    let expected = format!(
        "degrees up to {most}, minutes and seconds below 60, then {} or {}",
        directions[0], directions[1]
    );
    let units = [
        (DEGREE, i64::from(most) * 1000),
        (60_000, 59_000),
        (1000, 59_999),
    ];
    let mut total = 0;
    for part in 0..=units.len() {
        let token = words.expect(what)?;
        let text = token.text(words.text);
        let direction = directions
            .iter()
            .position(|letter| text.eq_ignore_ascii_case(letter.encode_utf8(&mut [0; 4])));
        if let Some(direction) = direction.filter(|_| part > 0) {
            if total > i64::from(most) * DEGREE {
                return Err(wrong(words, token, what, &expected));
            }
            let signed = if direction == 0 { total } else { -total };
            return Ok(u32::try_from(ZERO + signed).expect("at most 180 degrees"));
        }
        let decimals = if part == 2 { 3 } else { 0 };
        let value = units.get(part).zip(fixed(text, decimals));
        let ((unit, highest), value) = value.ok_or_else(|| wrong(words, token, what, &expected))?;
        let thousandths = value * if part == 2 { 1 } else { 1000 };
        if thousandths > *highest {
            return Err(wrong(words, token, what, &expected));
        }
        total += thousandths * unit / 1000;
    }
    Err(Bad::rdata(
        None,
        format!(
            "the {what} has no direction, {} or {}",
            directions[0], directions[1]
        ),
    ))
}

/// A size or precision, one digit and a power of ten of centimetres; `default` where it is not
/// written.
fn precision(words: &mut Words<'_>, what: &str, default: i64) -> Result<u8, Bad> {
    const MOST: i64 = 9_000_000_000;
    let value = match words.next() {
        None => default,
        Some(token) => centimetres(token.text(words.text))
            .filter(|value| (0..=MOST).contains(value))
            .ok_or_else(|| wrong(words, token, what, "metres from 0 to 90000000.00"))?,
    };
    let (mut digit, mut power) = (value, 0);
    while digit > 9 {
        digit /= 10;
        power += 1;
    }
    Ok(u8::try_from(digit << 4 | power).expect("two digits of four bits"))
}

/// Metres, with or without an `m` after them.
fn centimetres(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['m', 'M']).unwrap_or(text);
    match text.strip_prefix('-') {
        Some(text) => fixed(text, 2).map(|value| -value),
        None => fixed(text, 2),
    }
}

/// A decimal number with at most so many decimals, in units of the last one.
fn fixed(text: &str, decimals: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 10
        || fraction.len() > decimals
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

fn wrong(words: &Words<'_>, token: Token, what: &str, expected: &str) -> Bad {
    Bad::rdata(
        Some(token),
        format!("{} does not fit the {what}: {expected}", words.quote(token)),
    )
    .hint("write it like: 52 14 05 N 00 08 50 E 10m 1m 10000m 10m")
}
