//! The content of the MMDBs in a compact flat form.

use std::net::IpAddr;

use super::location::Location;
use super::mmdb::{self, Database, GeoError, Skipped};
use super::runs::Networks;

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
    /// The kinds of data that the databases have at all.
    known: Known,
    /// Records that cannot be read, by file.
    skipped: Vec<(Database, Skipped)>,
    /// The time at which each file says that it was made, in seconds since 1970.
    built: Vec<(Database, u64)>,
}

/// The kinds of data that the files have of any address at all.
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

impl Locations {
    /// Reads the content of a City or Country MMDB, of an ASN MMDB, or of both.
    pub fn read(city: Option<&[u8]>, asn: Option<&[u8]>) -> Result<Locations, GeoError> {
        let (places, cities, of_city) = mmdb::read_city(city)?;
        let (asns, of_asn) = mmdb::read_asn(asn)?;
        let built = [(Database::City, city), (Database::Asn, asn)];
        let built = built
            .into_iter()
            .filter_map(|(database, bytes)| Some((database, mmdb::built(bytes?)?)))
            .collect();
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
            built,
        })
    }

    /// The time at which each file says that it was made, in seconds since 1970; a file that does not
    /// say it is left out.
    pub fn built(&self) -> &[(Database, u64)] {
        &self.built
    }

    /// Returns the kinds of data that the files have of any address: the sources of a map for other
    /// kinds match nobody.
    pub fn known(&self) -> Known {
        self.known
    }

    /// Records that cannot be read, of each file that has some.
    pub fn skipped(&self) -> &[(Database, Skipped)] {
        &self.skipped
    }

    /// Location of `address`; `None` when nothing is known. An IPv4 address inside an IPv6 one is
    /// not looked for: that depends on the length of the client's prefix, which maps know.
    pub fn locate(&self, address: IpAddr) -> Option<&Location> {
        match self.cities.find(address) {
            0 => None,
            place => Some(&self.places[place as usize]),
        }
    }

    /// The IPv4 addresses from 0.0.0.0 on, as runs with one location each: the first address, and
    /// the location where one is known.
    pub fn v4_runs(&self) -> impl Iterator<Item = (u32, Option<&Location>)> {
        let runs = self.cities.v4.iter();
        runs.map(|(start, place)| {
            let known = (place != 0).then(|| &self.places[place as usize]);
            (start, known)
        })
    }

    /// The AS number that announces `address`, where it is known.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        Some(self.asns.find(address)).filter(|asn| *asn != 0)
    }
}
