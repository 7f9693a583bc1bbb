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
    let networks = t.optional(out, "networks", entries(regions, network, "network"));
    let asns = t.optional(out, "asns", entries(regions, asn, "AS number"));
    let read = entries(regions, subdivision, "subdivision");
    let subdivisions = t.optional(out, "subdivisions", read);
    let countries = t.optional(out, "countries", entries(regions, country, "country"));
    let read = entries(regions, continent, "continent");
    let continents = t.optional(out, "continents", read);
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
        networks: networks.unwrap_or_default().into_iter().collect(),
        asns: asns.unwrap_or_default(),
        subdivisions: subdivisions.unwrap_or_default(),
        countries: countries.unwrap_or_default(),
        continents: continents.unwrap_or_default(),
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

/// A reader of the entries of one source; `key` reads what they are found by.
fn entries<'n, K: Ord + 'n>(
    regions: &'n Names,
    key: fn(&str) -> Result<K, BadKey>,
    what: &'static str,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<BTreeMap<K, Entry>> + 'n {
    move |item, out| {
        let mut entries = BTreeMap::new();
        let mut sound = true;
        for (name, item) in item.table(out)?.items() {
            let entry = entry(&item, regions, out);
            sound &= entry.is_some();
            match key(name) {
                Err(bad) => {
                    sound = false;
                    item.key_error(out, "bad-map-key", bad.message)
                        .hint(bad.hint);
                }
                Ok(key) => {
                    let Some(entry) = entry else { continue };
                    if entries.insert(key, entry).is_some() {
                        sound = false;
                        let message = format!(
                            "the {what} \"{name}\" already has an entry in another spelling"
                        );
                        item.key_error(out, "listed-twice", message)
                            .hint(format!("keep one entry for each {what}"));
                    }
                }
            }
        }
        sound.then_some(entries)
    }
}

/// A key of a map that cannot be read.
struct BadKey {
    message: String,
    hint: String,
}

impl BadKey {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> BadKey {
        BadKey {
            message: message.into(),
            hint: hint.into(),
        }
    }
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

fn network(text: &str) -> Result<Prefix, BadKey> {
    text.parse::<Prefix>().map_err(|problem| {
        let hint = prefix_hint(text)
            .unwrap_or_else(|| "write it like \"192.0.2.0/24\" or \"2001:db8::/32\"".to_owned());
        BadKey::new(format!("\"{text}\" {problem}"), hint)
    })
}

fn asn(text: &str) -> Result<u32, BadKey> {
    // `parse` takes a sign too.
    if text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(asn) = text.parse()
    {
        return Ok(asn);
    }
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let hint = match digits.parse::<u32>() {
        Ok(_) => format!("write \"{digits}\""),
        Err(_) => "write it like \"64500\"".to_owned(),
    };
    let message = format!("\"{text}\" is not an AS number (0 to 4294967295, digits only)");
    Err(BadKey::new(message, hint))
}

fn country(text: &str) -> Result<String, BadKey> {
    let code = text.to_ascii_uppercase();
    if code == "UK" {
        let message = "\"UK\" is not a country code";
        return Err(BadKey::new(message, "the United Kingdom is \"GB\""));
    }
    if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(code);
    }
    let message = format!("\"{text}\" is not a country code");
    let hint = "use two letters of ISO 3166-1, such as \"DE\" or \"US\"";
    Err(BadKey::new(message, hint))
}

fn subdivision(text: &str) -> Result<String, BadKey> {
    let code = text.to_ascii_uppercase();
    if let Some((country_code, part)) = code.split_once('-')
        && country(country_code).is_ok()
        && (1..=3).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Ok(code);
    }
    let message = format!("\"{text}\" is not a subdivision code");
    let hint = "use ISO 3166-2: the country, a hyphen and the subdivision, such as \"US-CA\"";
    Err(BadKey::new(message, hint))
}

fn continent(text: &str) -> Result<String, BadKey> {
    let code = text.to_ascii_uppercase();
    match code.as_str() {
        "AF" | "AN" | "AS" | "EU" | "NA" | "OC" | "SA" => Ok(code),
        _ => {
            let message = format!("\"{text}\" is not a continent");
            let hint = "use one of AF, AN, AS, EU, NA, OC, SA";
            Err(BadKey::new(message, hint))
        }
    }
}
