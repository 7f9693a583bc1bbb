//! What is known about where addresses are: the MMDBs' content in a compact flat form.

use std::fmt;
use std::net::IpAddr;

use super::mmdb::{self, Database, GeoError, Skipped};
use super::runs::{V4Runs, V6Runs};
use crate::model::Coordinates;

/// Where a client is, as far as the MMDB says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Location {
    /// AF AN AS EU NA OC SA.
    pub continent: Option<Code>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<Code>,
    /// ISO 3166-2, the smallest subdivision there is (`FR-75`).
    pub subdivision: Option<Subdivision>,
    /// The largest subdivision, where there is more than one (`FR-IDF`).
    pub wider_subdivision: Option<Subdivision>,
    /// Degrees.
    pub coordinates: Option<Coordinates>,
}

/// A code of two upper-case letters or digits: a country or a continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code([u8; 2]);

impl Code {
    /// `None` when `text` is not of that form.
    pub fn new(text: &str) -> Option<Code> {
        let bytes: [u8; 2] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|b| is_code_byte(*b))
            .then_some(Code(bytes))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("codes are ASCII")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ISO 3166-2 code: a country, a hyphen, and one to three upper-case letters or digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subdivision {
    bytes: [u8; 6],
    length: u8,
}

impl Subdivision {
    /// Of `country`, the part after the hyphen; `None` when that is not of its form.
    pub fn new(country: Code, part: &str) -> Option<Subdivision> {
        if part.is_empty() || part.len() > 3 || !part.bytes().all(is_code_byte) {
            return None;
        }
        let mut bytes = [country.0[0], country.0[1], b'-', 0, 0, 0];
        bytes[3..3 + part.len()].copy_from_slice(part.as_bytes());
        Some(Subdivision {
            bytes,
            length: 3 + part.len() as u8,
        })
    }

    /// The code, country included.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length as usize]).expect("codes are ASCII")
    }
}

impl fmt::Display for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything that one City or Country MMDB, one ASN MMDB, or both say.
///
/// Lives as long as the files do not change: maps are compiled from it, and `why` looks into it.
#[derive(Debug)]
pub struct Locations {
    /// The distinct locations; the first is the unknown one.
    pub(super) places: Vec<Location>,
    /// Client → index into `places`.
    pub(super) cities: Networks,
    /// Client → AS number, 0 where it is not known.
    pub(super) asns: Networks,
    /// What is known of anybody.
    known: Known,
    /// Records that cannot be read, by file.
    skipped: Vec<(Database, Skipped)>,
}

/// What the files say of any address at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// A continent, or a country that is on one.
    pub continents: bool,
    /// A country.
    pub countries: bool,
    /// A subdivision.
    pub subdivisions: bool,
    /// Coordinates.
    pub coordinates: bool,
    /// An AS number.
    pub asns: bool,
}

impl Known {
    fn of(places: &[Location], asns: &Networks) -> Known {
        Known {
            continents: places.iter().any(|place| place.continent.is_some()),
            countries: places.iter().any(|place| place.country.is_some()),
            subdivisions: places.iter().any(|place| place.subdivision.is_some()),
            coordinates: places.iter().any(|place| place.coordinates.is_some()),
            asns: asns.v4.iter().any(|(_, asn)| asn != 0)
                || asns.v6.iter().any(|(_, asn)| asn != 0),
        }
    }
}

/// A table for both families.
#[derive(Debug)]
pub(super) struct Networks {
    pub(super) v4: V4Runs,
    pub(super) v6: V6Runs,
}

impl Networks {
    /// The value at `address`.
    fn find(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()).value,
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()).value,
        }
    }
}

impl Locations {
    /// Reads the content of a City or Country MMDB, of an ASN MMDB, or of both.
    pub fn read(city: Option<&[u8]>, asn: Option<&[u8]>) -> Result<Locations, GeoError> {
        let (places, cities, of_city) = mmdb::read_city(city)?;
        let (asns, of_asn) = mmdb::read_asn(asn)?;
        let skipped = [(Database::City, of_city), (Database::Asn, of_asn)];
        let skipped = skipped
            .into_iter()
            .filter_map(|(database, skipped)| Some((database, skipped?)))
            .collect();
        Ok(Locations {
            known: Known::of(&places, &asns),
            places,
            cities,
            asns,
            skipped,
        })
    }

    /// What the files say of any address at all: the sources of a map that are of anything else match nobody.
    pub fn known(&self) -> Known {
        self.known
    }

    /// Records that cannot be read, of each file that has some.
    pub fn skipped(&self) -> &[(Database, Skipped)] {
        &self.skipped
    }

    /// Where `address` is; `None` when nothing is known. An IPv4 address inside an IPv6 one is not
    /// looked for: that depends on the length of the client's prefix, which maps know.
    pub fn locate(&self, address: IpAddr) -> Option<&Location> {
        match self.cities.find(address) {
            0 => None,
            place => Some(&self.places[place as usize]),
        }
    }

    /// The AS number that announces `address`, where it is known.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        Some(self.asns.find(address)).filter(|asn| *asn != 0)
    }
}

fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_checked() {
        assert_eq!(Code::new("US").unwrap().as_str(), "US");
        assert_eq!(Code::new("us"), None);
        assert_eq!(Code::new("USA"), None);
        let us = Code::new("US").unwrap();
        assert_eq!(Subdivision::new(us, "CA").unwrap().as_str(), "US-CA");
        assert_eq!(
            Subdivision::new(Code::new("GB").unwrap(), "ENG")
                .unwrap()
                .as_str(),
            "GB-ENG"
        );
        assert_eq!(Subdivision::new(us, ""), None);
        assert_eq!(Subdivision::new(us, "LONG"), None);
        assert_eq!(Subdivision::new(us, "c"), None);
    }
}
