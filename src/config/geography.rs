//! `[regions.*]` and `[maps.*]`.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::document::Item;
use super::kinds::{boolean, distance, distinct, integer, name_of, number, prefix_hint, text};
use super::names::Names;
use crate::diag::Diagnostics;
use crate::model::{Coordinates, Entry, MapSpec, Prefix, Region, RegionId};

/// Reads one `[regions.NAME]`.
pub(super) fn region(name: &str, item: &Item<'_>, out: &mut Diagnostics) -> Option<Region> {
    let mut t = item.table(out)?;
    let latitude = t.located(out, "latitude", number(-90.0..=90.0, "degrees"));
    let longitude = t.located(out, "longitude", number(-180.0..=180.0, "degrees"));
    let metro = t.optional(out, "metro", text);
    let labels = t.optional(out, "labels", labels).unwrap_or_default();
    let bias = t.optional(out, "bias", bias).unwrap_or(0);
    let capacity = t.optional(out, "capacity", number(0.0..=1e15, ""));
    let coordinates = match (latitude, longitude) {
        (Some(latitude), Some(longitude)) => Some(Coordinates {
            latitude: latitude.value,
            longitude: longitude.value,
        }),
        (Some(alone), None) | (None, Some(alone)) if t.sound() => {
            out.error(
                "half-coordinates",
                alone.at,
                item.path.clone(),
                "the region has only one of `latitude` and `longitude`",
            )
            .hint("set both, or neither");
            None
        }
        _ => None,
    };
    t.finish(out).then(|| Region {
        name: name.to_owned(),
        coordinates,
        metro,
        labels,
        bias,
        capacity,
    })
}

/// A region of which only the name is known: it stands in messages for one that is wrong.
pub(super) fn named(name: &str) -> Region {
    Region {
        name: name.to_owned(),
        coordinates: None,
        metro: None,
        labels: BTreeMap::new(),
        bias: 0,
        capacity: None,
    }
}

fn bias(item: &Item<'_>, out: &mut Diagnostics) -> Option<i8> {
    let DeValue::Integer(_) = item.value else {
        item.wrong_type(out, "a whole number from -99 to 99");
        return None;
    };
    // Exact: a whole number within the range.
    number(-99.0..=99.0, "")(item, out).map(|bias| bias as i8)
}

fn labels(item: &Item<'_>, out: &mut Diagnostics) -> Option<BTreeMap<String, String>> {
    let t = item.table(out)?;
    let labels: Vec<_> = t
        .items()
        .map(|(name, item)| text(&item, out).map(|value| (name.to_owned(), value)))
        .collect();
    labels.into_iter().collect()
}

/// Reads one `[maps.NAME]`.
pub(super) fn map(
    name: &str,
    item: &Item<'_>,
    regions: &Names,
    out: &mut Diagnostics,
) -> Option<MapSpec> {
    let mut t = item.table(out)?;
    let networks = t
        .optional(out, "networks", |item, out| {
            entries(item, regions, network, "network", out)
        })
        .unwrap_or_default();
    let asns = t
        .optional(out, "asns", |item, out| {
            entries(item, regions, asn, "AS number", out)
        })
        .unwrap_or_default();
    let subdivisions = t
        .optional(out, "subdivisions", |item, out| {
            entries(item, regions, subdivision, "subdivision", out)
        })
        .unwrap_or_default();
    let countries = t
        .optional(out, "countries", |item, out| {
            entries(item, regions, country, "country", out)
        })
        .unwrap_or_default();
    let continents = t
        .optional(out, "continents", |item, out| {
            entries(item, regions, continent, "continent", out)
        })
        .unwrap_or_default();
    let by_distance = t.optional(out, "by_distance", boolean).unwrap_or(true);
    let distance_steps = t
        .optional(out, "distance_steps", integer(1..=100, ""))
        .unwrap_or(4);
    let within = t.optional(out, "within", distance);
    let rest = t
        .optional(out, "rest", |item, out| region_list(item, regions, out))
        .unwrap_or_default();
    t.finish(out).then(|| MapSpec {
        name: name.to_owned(),
        at: item.key_at(),
        networks: networks.into_iter().collect(),
        asns,
        subdivisions,
        countries,
        continents,
        by_distance,
        distance_steps: u8::try_from(distance_steps).expect("in the range read"),
        within,
        rest,
    })
}

/// Warns where a map goes by distance and some regions have no place on the globe. Where none has
/// one and no map asks for it in so many words, distance is not what the operator has in mind.
pub(super) fn warn_without_coordinates(
    map: &MapSpec,
    item: &Item<'_>,
    regions: &[Region],
    out: &mut Diagnostics,
) {
    let Some(mut t) = item.table(&mut Diagnostics::default()) else {
        return;
    };
    if let Some(within) = t.item("within") {
        check_within(map, &within, regions, out);
    }
    let written = t.item("by_distance");
    let asked = written.as_ref().and_then(|item| item.value.as_bool());
    let nowhere: Vec<_> = regions
        .iter()
        .filter(|r| r.coordinates.is_none())
        .map(|r| r.name.as_str())
        .collect();
    if asked == Some(false)
        || nowhere.is_empty()
        || (asked.is_none() && nowhere.len() == regions.len())
    {
        return;
    }
    let at = written.as_ref().map_or(item.key_at(), Item::at);
    let nowhere = nowhere.join(", ");
    let message = format!(
        "map \"{}\" ranks regions by distance, but these have no coordinates and come last: {nowhere}",
        map.name
    );
    out.warning("no-coordinates", at, item.path.clone(), message)
        .hint("give each region `latitude` and `longitude`, or set by_distance = false");
}

/// `within` compares distances, so there must be some.
fn check_within(map: &MapSpec, within: &Item<'_>, regions: &[Region], out: &mut Diagnostics) {
    let placed = regions
        .iter()
        .filter(|region| region.coordinates.is_some())
        .count();
    if !map.by_distance {
        let message = "`within` does nothing with by_distance = false: distances are not compared";
        out.warning("useless-key", within.key_at(), within.path.clone(), message)
            .hint("remove one of the two");
    } else if placed < 2 {
        let number = if placed == 0 { "no" } else { "only one" };
        let message = format!("`within` compares distances, but {number} region has coordinates");
        out.error(
            "within-without-coordinates",
            within.key_at(),
            within.path.clone(),
            message,
        )
        .hint("give the regions `latitude` and `longitude`");
    }
}

/// Reads the entries of one source; `key` reads what they are found by, or says why it is wrong.
fn entries<K: Ord>(
    item: &Item<'_>,
    regions: &Names,
    key: impl Fn(&str) -> Result<K, (String, String)>,
    what: &str,
    out: &mut Diagnostics,
) -> Option<BTreeMap<K, Entry>> {
    let mut entries = BTreeMap::new();
    let mut sound = true;
    for (name, item) in item.table(out)?.items() {
        let entry = entry(&item, regions, out);
        match key(name) {
            Err((message, hint)) => {
                sound = false;
                let diagnostic =
                    out.error("bad-map-key", item.key_at(), item.path.clone(), message);
                diagnostic.hint(hint);
            }
            Ok(key) => {
                sound &= entry.is_some();
                if entry.and_then(|entry| entries.insert(key, entry)).is_some() {
                    sound = false;
                    let message =
                        format!("the {what} \"{name}\" already has an entry in another spelling");
                    out.error("listed-twice", item.key_at(), item.path.clone(), message)
                        .hint(format!("keep one entry for each {what}"));
                }
            }
        }
    }
    sound.then_some(entries)
}

fn entry(item: &Item<'_>, regions: &Names, out: &mut Diagnostics) -> Option<Entry> {
    match item.value {
        DeValue::Array(_) => region_list(item, regions, out).map(Entry::Prefer),
        DeValue::Table(_) => {
            let mut t = item.table(out)?;
            let hint =
                "write { only = [\"REGION\", …] } for a border, or a plain list for a preference";
            let only = t.required(out, "only", hint, |item, out| {
                region_list(item, regions, out)
            });
            t.finish(out).then_some(Entry::Only(only?))
        }
        _ => {
            let diagnostic = item.wrong_type(out, "a list of regions, or { only = [ … ] }");
            if item.value.as_str().is_some() {
                diagnostic.hint(format!("put it in brackets: [{}]", item.written()));
            }
            None
        }
    }
}

fn region_list(item: &Item<'_>, regions: &Names, out: &mut Diagnostics) -> Option<Vec<RegionId>> {
    let read = name_of(regions);
    let list = distinct(
        |item, out| read(item, out).map(RegionId::from_index),
        "region",
    )(item, out)?;
    if list.is_empty() {
        item.error(out, "empty-value", "the list of regions is empty")
            .hint("name at least one region, or remove the key");
        return None;
    }
    Some(list)
}

fn network(text: &str) -> Result<Prefix, (String, String)> {
    text.parse::<Prefix>().map_err(|problem| {
        let hint = prefix_hint(text)
            .unwrap_or_else(|| "write it like \"192.0.2.0/24\" or \"2001:db8::/32\"".to_owned());
        (format!("\"{text}\" {problem}"), hint)
    })
}

fn asn(text: &str) -> Result<u32, (String, String)> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| {
            let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
            let hint = if digits.parse::<u32>().is_ok() {
                format!("write \"{digits}\"")
            } else {
                "write it like \"64500\"".to_owned()
            };
            (
                format!("\"{text}\" is not an AS number (0 to 4294967295, digits only)"),
                hint,
            )
        })
}

fn country(text: &str) -> Result<String, (String, String)> {
    let code = text.to_ascii_uppercase();
    let hint = || "use two letters of ISO 3166-1, such as \"DE\" or \"US\"".to_owned();
    match code.as_str() {
        "UK" => Err((
            "\"UK\" is not a country code".to_owned(),
            "the United Kingdom is \"GB\"".to_owned(),
        )),
        _ if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) => Ok(code),
        _ => Err((format!("\"{text}\" is not a country code"), hint())),
    }
}

fn subdivision(text: &str) -> Result<String, (String, String)> {
    let code = text.to_ascii_uppercase();
    let good = code.split_once('-').is_some_and(|(country_code, part)| {
        country(country_code).is_ok()
            && (1..=3).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    let hint = || {
        "use ISO 3166-2: the country, a hyphen and the subdivision, such as \"US-CA\"".to_owned()
    };
    if good {
        Ok(code)
    } else {
        Err((format!("\"{text}\" is not a subdivision code"), hint()))
    }
}

fn continent(text: &str) -> Result<String, (String, String)> {
    let code = text.to_ascii_uppercase();
    match code.as_str() {
        "AF" | "AN" | "AS" | "EU" | "NA" | "OC" | "SA" => Ok(code),
        _ => Err((
            format!("\"{text}\" is not a continent"),
            "use one of AF, AN, AS, EU, NA, OC, SA".to_owned(),
        )),
    }
}
