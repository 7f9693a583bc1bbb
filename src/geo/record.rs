//! One record of an MMDB, in any of the layouts that are understood.
//!
//! - GeoIP2 and GeoLite2 City and Country, DB-IP: `continent.code`, `country.iso_code`,
//!   `subdivisions[].iso_code`, `location.latitude`, `location.longitude`.
//! - IPinfo: `continent_code` or a two-letter `continent`, `country_code` or a two-letter
//!   `country`, `latitude`/`lat`, `longitude`/`lng` (numbers or texts).
//! - A record with a country and no continent has the continent that the country is on.
//! - ASN: `autonomous_system_number`, or `asn` as a number or `"AS64500"`.
//!
//! Fields that are missing or make no sense (a country of three letters, a latitude of 200) are
//! unknown; fields of a foreign type make the record one that is left out.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::continents::continent_of;
use super::location::{Code, Location, Subdivision};
use crate::model::Coordinates;

/// A record of a City or Country MMDB.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct CityRecord {
    continent: Place,
    country: Place,
    continent_code: Place,
    country_code: Place,
    subdivisions: Vec<Place>,
    location: Point,
    #[serde(alias = "lat")]
    latitude: Number,
    #[serde(alias = "lng")]
    longitude: Number,
}

/// A record of an ASN MMDB.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct AsnRecord {
    autonomous_system_number: Number,
    asn: Number,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Point {
    latitude: Number,
    longitude: Number,
}

impl CityRecord {
    /// Converts the record to a location.
    pub(super) fn location(&self) -> Location {
        let code = |layouts: [&Place; 2]| layouts.iter().find_map(|place| Code::new(place.code()));
        let country = code([&self.country_code, &self.country]);
        let part = |place: Option<&Place>| Subdivision::new(country?, place?.code());
        let (subdivision, wider) = (
            part(self.subdivisions.last()),
            part(self.subdivisions.first()),
        );
        let coordinates = coordinates(&self.location.latitude, &self.location.longitude)
            .or_else(|| coordinates(&self.latitude, &self.longitude));
        Location {
            continent: code([&self.continent_code, &self.continent])
                .or_else(|| continent_of(country?)),
            country,
            subdivision: subdivision.or(wider),
            wider_subdivision: wider.filter(|wider| subdivision.is_some_and(|s| s != *wider)),
            coordinates,
        }
    }
}

impl AsnRecord {
    /// The AS number; 0 where it has none.
    pub(super) fn asn(&self) -> u32 {
        let number = self
            .autonomous_system_number
            .0
            .or(self.asn.0)
            .unwrap_or(0.0);
        if number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0 {
            // In range and whole, so exact.
            number as u32
        } else {
            0
        }
    }
}

fn coordinates(latitude: &Number, longitude: &Number) -> Option<Coordinates> {
    let (latitude, longitude) = (latitude.0?, longitude.0?);
    let in_range = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
    in_range.then_some(Coordinates {
        latitude,
        longitude,
    })
}

/// A continent, country or subdivision: a map with a code in it, or the code itself. Codes have at
/// most three bytes; anything longer is a name and stays empty.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    bytes: [u8; 3],
    length: u8,
}

impl Place {
    fn new(text: &str) -> Place {
        let mut place = Place::default();
        if text.len() <= 3 && text.is_ascii() {
            place.bytes[..text.len()].copy_from_slice(text.as_bytes());
            // Three octets at most.
            place.length = text.len() as u8;
        }
        place
    }

    fn code(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length as usize]).expect("only ASCII is stored")
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        struct PlaceVisitor;
        impl<'de> Visitor<'de> for PlaceVisitor {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place: a map with a code, or the code")
            }

            fn visit_str<E>(self, text: &str) -> Result<Place, E> {
                Ok(Place::new(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Place, A::Error> {
                let mut place = Place::default();
                while let Some(key) = map.next_key::<&str>()? {
                    match key {
                        "code" | "iso_code" => place = Place::new(map.next_value::<&str>()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(place)
            }
        }
        deserializer.deserialize_any(PlaceVisitor)
    }
}

/// A number, or a text that holds one; an AS number may have its `AS` before it.
#[derive(Debug, Default)]
struct Number(Option<f64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a text that holds one")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number(Some(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(Some(number as f64)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(Some(number as f64)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Number, E> {
                Ok(Number(text.strip_prefix("AS").unwrap_or(text).parse().ok()))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}
