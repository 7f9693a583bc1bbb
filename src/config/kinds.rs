//! Readers of values: one function per kind, which reads a key's value or reports what is wrong
//! with it.
//!
//! Each takes its range or choices and gives a reader for [`super::document::Table::optional`], so
//! that a section of the configuration reads as a table: key, kind, range, default.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::document::Item;
use super::names::Names;
use crate::diag::{Diagnostics, did_you_mean};
use crate::model::{Prefix, PrefixError, Share, ShareError};

/// A string that is not empty.
pub(super) fn text(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let text = item.string(out, "a string")?;
    if text.is_empty() {
        item.error(out, "empty-value", "the value is empty");
        return None;
    }
    Some(text.to_owned())
}

/// `true` or `false`.
pub(super) fn boolean(item: &Item<'_>, out: &mut Diagnostics) -> Option<bool> {
    match item.value {
        DeValue::Boolean(value) => Some(*value),
        DeValue::String(text) if **text == *"true" || **text == *"false" => {
            item.wrong_type(out, "true or false")
                .hint(format!("write {text} without quotes"));
            None
        }
        _ => {
            item.wrong_type(out, "true or false");
            None
        }
    }
}

/// A whole number inside `range`; `unit` completes the messages (`"seconds"`, or empty).
pub(super) fn integer(
    range: RangeInclusive<u32>,
    unit: &'static str,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<u32> {
    move |item, out| {
        let expected = || {
            format!(
                "a whole number{} from {} to {}",
                of(unit),
                range.start(),
                range.end()
            )
        };
        let DeValue::Integer(number) = item.value else {
            let unquoted = item
                .value
                .as_str()
                .filter(|text| text.parse::<u32>().is_ok());
            let diagnostic = item.wrong_type(out, &expected());
            if let Some(number) = unquoted {
                diagnostic.hint(format!("write {number} without quotes"));
            }
            return None;
        };
        let value = u32::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|value| range.contains(value));
        if value.is_none() {
            out_of_range(item, out, range.start(), range.end(), unit);
        }
        value
    }
}

/// A number, with or without a fraction, inside `range`.
pub(super) fn number(
    range: RangeInclusive<f64>,
    unit: &'static str,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<f64> {
    move |item, out| {
        let value = match item.value {
            // Whole numbers beyond 2^53 lose their last digits, and no range reaches as far.
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(|n| n as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => {
                item.wrong_type(
                    out,
                    &format!(
                        "a number{} from {} to {}",
                        of(unit),
                        range.start(),
                        range.end()
                    ),
                );
                return None;
            }
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            out_of_range(item, out, range.start(), range.end(), unit);
        }
        value
    }
}

/// A share, as in `"20%"`; 0 … 1.
pub(super) fn percentage(item: &Item<'_>, out: &mut Diagnostics) -> Option<f64> {
    let text = text(item, out)?;
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.parse::<f64>().ok());
    let share = number
        .filter(|number| (0.0..=100.0).contains(number))
        .map(|number| number / 100.0);
    if share.is_none() {
        item.error(
            out,
            "out-of-range",
            format!("\"{text}\" is not a percentage from 0% to 100%"),
        )
        .hint("write it like \"20%\"");
    }
    share
}

/// A share of a whole inside `range`, read as the decimal that is written.
pub(super) fn share(
    range: RangeInclusive<Share>,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<Share> {
    move |item, out| {
        let read = match item.value {
            DeValue::Integer(number) if number.radix() == 10 => {
                Share::from_decimal(number.as_str())
            }
            DeValue::Float(number) => Share::from_decimal(number.as_str()),
            DeValue::Integer(_) => Err(ShareError::NoShare),
            _ => {
                item.wrong_type(
                    out,
                    &format!("a number from {} to {}", range.start(), range.end()),
                );
                return None;
            }
        };
        let value = read.ok().filter(|value| range.contains(value));
        if read == Err(ShareError::TooFine) {
            item.error(
                out,
                "out-of-range",
                format!(
                    "{} has more than nine digits after the decimal point",
                    item.written()
                ),
            )
            .hint("a share is exact to a billionth: drop the last digits");
        } else if value.is_none() {
            out_of_range(item, out, range.start(), range.end(), "");
        }
        value
    }
}

/// A duration such as `"500ms"` inside `range`.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<Duration> {
    move |item, out| {
        let (least, most) = (
            humantime::format_duration(*range.start()),
            humantime::format_duration(*range.end()),
        );
        let DeValue::String(text) = item.value else {
            let number = matches!(item.value, DeValue::Integer(_) | DeValue::Float(_))
                .then(|| item.written());
            let diagnostic = item.wrong_type(out, "a duration in quotes, with its unit,");
            diagnostic.hint(match number {
                Some(number) => {
                    format!("write \"{number}s\" for seconds, \"{number}ms\" for milliseconds")
                }
                None => "write it like \"500ms\", \"10s\" or \"2m\"".to_owned(),
            });
            return None;
        };
        let Ok(value) = humantime::parse_duration(text) else {
            let diagnostic = item.error(
                out,
                "bad-duration",
                format!("{} is not a duration", item.written()),
            );
            diagnostic.hint("write a number and its unit: \"500ms\", \"10s\", \"2m\", \"1h 30m\"");
            return None;
        };
        if !range.contains(&value) {
            out_of_range(item, out, least, most, "");
            return None;
        }
        Some(value)
    }
}

/// A distance such as `"300km"` in kilometres, at most half the earth's circumference.
pub(super) fn distance(item: &Item<'_>, out: &mut Diagnostics) -> Option<f64> {
    const UNITS: [(&str, f64); 3] = [("km", 1.0), ("mi", 1.609_344), ("m", 0.001)];
    const HALF_AROUND: f64 = 20_040.0;
    let text = item.string(out, "a distance")?;
    let value = UNITS.iter().find_map(|(unit, kilometres)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * kilometres)
    });
    let Some(value) = value else {
        item.error(
            out,
            "bad-distance",
            format!("{} is not a distance", item.written()),
        )
        .hint("write a number and its unit: \"300km\", \"500m\", \"200mi\"");
        return None;
    };
    if !(0.0..=HALF_AROUND).contains(&value) {
        out_of_range(item, out, "0km", format!("{HALF_AROUND}km"), "");
        return None;
    }
    Some(value)
}

/// One of a few words, each with what it stands for.
pub(super) fn one_of<T: Copy>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<T> {
    move |item, out| {
        let all = || {
            choices
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let text = item.string(out, &format!("one of {}", all()))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let diagnostic = item.error(
            out,
            "unknown-value",
            format!("\"{text}\" is not one of {}", all()),
        );
        if let Some(near) = did_you_mean(text, choices.iter().map(|(name, _)| *name)) {
            diagnostic.hint(format!("did you mean \"{near}\"?"));
        }
        None
    }
}

/// An IPv4 or IPv6 address.
pub(super) fn address(item: &Item<'_>, out: &mut Diagnostics) -> Option<IpAddr> {
    let text = item.string(out, "an IPv4 or IPv6 address")?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let message = format!("\"{text}\" is not an IPv4 or IPv6 address");
    let diagnostic = item.error(out, "bad-address", message);
    if text.parse::<SocketAddr>().is_ok() {
        diagnostic.hint("leave the port out: the check has a `port` of its own");
    } else if text.parse::<Prefix>().is_ok() {
        diagnostic.hint("leave the prefix length out: one address is expected");
    } else if text.starts_with('[') {
        diagnostic.hint("write an IPv6 address without brackets");
    }
    None
}

/// A prefix such as `192.0.2.0/24`, or an address alone.
pub(super) fn prefix(item: &Item<'_>, out: &mut Diagnostics) -> Option<Prefix> {
    let text = item.string(out, "a prefix such as \"192.0.2.0/24\"")?;
    let diagnostic = match text.parse::<Prefix>() {
        Ok(prefix) => return Some(prefix),
        Err(problem) => item.error(out, "bad-prefix", format!("\"{text}\" {problem}")),
    };
    if let Some(hint) = prefix_hint(text) {
        diagnostic.hint(hint);
    }
    None
}

/// The hint for a prefix with bits set past its length.
pub(super) fn prefix_hint(text: &str) -> Option<String> {
    let Err(PrefixError::HostBits) = text.parse::<Prefix>() else {
        return None;
    };
    let (address, length) = text.split_once('/')?;
    let mended = Prefix::truncating(address.parse().ok()?, length.parse().ok()?)?;
    Some(format!("did you mean \"{mended}\"?"))
}

/// An address with a port to listen on, such as `0.0.0.0:53` or `[::]:53`.
pub(super) fn socket(item: &Item<'_>, out: &mut Diagnostics) -> Option<SocketAddr> {
    let text = item.string(out, "an address with its port")?;
    if let Ok(socket) = text.parse() {
        return Some(socket);
    }
    let diagnostic = item.error(
        out,
        "bad-address",
        format!("\"{text}\" is not an address with its port"),
    );
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => diagnostic.hint(format!("add the port: \"{address}:53\"")),
        Ok(IpAddr::V6(address)) => {
            diagnostic.hint(format!("add brackets and the port: \"[{address}]:53\""))
        }
        Err(_) => diagnostic.hint("write it like \"0.0.0.0:53\" or \"[::]:53\""),
    };
    None
}

/// A path; a relative one is relative to `directory`.
pub(super) fn path(directory: &Path) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<PathBuf> {
    move |item, out| text(item, out).map(|text| directory.join(text))
}

/// A list of values of one kind; `None`, after reading all, where any of them is wrong.
pub(super) fn list<'d, T>(
    mut kind: impl FnMut(&Item<'d>, &mut Diagnostics) -> Option<T>,
) -> impl FnMut(&Item<'d>, &mut Diagnostics) -> Option<Vec<T>> {
    move |item, out| {
        // All are read before any is given up, so that each wrong one is reported.
        let values: Vec<Option<T>> = item
            .elements(out)?
            .iter()
            .map(|element| kind(element, out))
            .collect();
        values.into_iter().collect()
    }
}

/// A list of values of which each may stand only once.
pub(super) fn distinct<'d, T: Eq + Hash>(
    kind: impl FnMut(&Item<'d>, &mut Diagnostics) -> Option<T>,
    what: &'static str,
) -> impl FnMut(&Item<'d>, &mut Diagnostics) -> Option<Vec<T>> {
    let mut read = list(kind);
    move |item, out| {
        let values = read(item, out)?;
        let mut seen = HashSet::with_capacity(values.len());
        let repeated = values.iter().position(|value| !seen.insert(value));
        let Some(repeated) = repeated else {
            return Some(values);
        };
        let elements = item.elements(out)?;
        let element = &elements[repeated];
        element
            .error(
                out,
                "listed-twice",
                format!("{} is listed twice", element.written()),
            )
            .hint(format!("list each {what} once"));
        None
    }
}

/// The name of something defined elsewhere in the configuration, as its index.
pub(super) fn name_of<'a>(
    names: &'a Names,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<usize> + 'a {
    move |item, out| {
        let text = item.string(out, &format!("the name of a {}", names.what()))?;
        let found = names.find(text);
        if found.is_none() {
            let hint = names.hint(text);
            item.error(
                out,
                names.unknown_rule(),
                format!("there is no {} \"{text}\"", names.what()),
            )
            .hint(hint);
        }
        found
    }
}

fn out_of_range(
    item: &Item<'_>,
    out: &mut Diagnostics,
    least: impl Display,
    most: impl Display,
    unit: &str,
) {
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    item.error(
        out,
        "out-of-range",
        format!(
            "{} is outside the range {least} to {most}{unit}",
            item.written()
        ),
    );
}

fn of(unit: &str) -> String {
    if unit.is_empty() {
        String::new()
    } else {
        format!(" of {unit}")
    }
}
