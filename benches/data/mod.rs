//! The world that the benchmarks serve and ask about: regions, a map, location networks and zones.
//! All of it is made here from a fixed seed, so that every run, the load generator and the servers
//! beside Meridian see the same; nothing is downloaded.

#![allow(
    dead_code,
    reason = "the benchmarks, the load generator and the tests each use their part"
)]

pub(crate) mod files;
pub(crate) mod networks;

/// The zone of every workload but one.
pub(crate) const ZONE: &str = "bench.example";
/// The zone of the other: names `n0000000` and up.
pub(crate) const MILLION_ZONE: &str = "million.example";

/// Number of static names (`s000`), names by location (`g0000`), weighted names (`w000`) and names
/// with two addresses (`p000`) in [`ZONE`].
pub(crate) const STATIC_NAMES: usize = 200;
/// See [`STATIC_NAMES`].
pub(crate) const GEO_NAMES: usize = 1000;
/// See [`STATIC_NAMES`].
pub(crate) const WEIGHTED_NAMES: usize = 100;
/// See [`STATIC_NAMES`].
pub(crate) const PAIR_NAMES: usize = 100;
/// The weights of a weighted name's addresses 192.0.2.1 to 192.0.2.4.
pub(crate) const WEIGHTS: [u32; 4] = [10, 20, 30, 40];

/// A place where the services run; its address is 192.0.2.1 plus its index in [`REGIONS`].
pub(crate) struct Region {
    pub(crate) name: &'static str,
    /// Degrees north.
    pub(crate) latitude: f64,
    /// Degrees east.
    pub(crate) longitude: f64,
}

/// The first is the one for clients of unknown location.
pub(crate) const REGIONS: [Region; 8] = [
    Region {
        name: "ashburn",
        latitude: 39.04,
        longitude: -77.49,
    },
    Region {
        name: "hillsboro",
        latitude: 45.52,
        longitude: -122.99,
    },
    Region {
        name: "saopaulo",
        latitude: -23.55,
        longitude: -46.63,
    },
    Region {
        name: "dublin",
        latitude: 53.35,
        longitude: -6.26,
    },
    Region {
        name: "frankfurt",
        latitude: 50.11,
        longitude: 8.68,
    },
    Region {
        name: "mumbai",
        latitude: 19.08,
        longitude: 72.88,
    },
    Region {
        name: "singapore",
        latitude: 1.35,
        longitude: 103.82,
    },
    Region {
        name: "tokyo",
        latitude: 35.68,
        longitude: 139.69,
    },
];

/// Entries of the map for continents: code and index of the nearest region.
pub(crate) const CONTINENTS: [(&str, usize); 6] = [
    ("NA", 0),
    ("SA", 2),
    ("EU", 4),
    ("AF", 3),
    ("AS", 6),
    ("OC", 6),
];

/// Entries of the map for countries that differ from their continent.
pub(crate) const COUNTRIES: [(&str, usize); 13] = [
    ("MX", 1),
    ("GT", 1),
    ("IE", 3),
    ("GB", 3),
    ("PT", 3),
    ("ES", 3),
    ("JP", 7),
    ("KR", 7),
    ("TW", 7),
    ("IN", 5),
    ("PK", 5),
    ("BD", 5),
    ("LK", 5),
];

/// A country that networks are in.
pub(crate) struct Country {
    pub(crate) code: &'static str,
    pub(crate) continent: &'static str,
    latitude: f64,
    longitude: f64,
}

const fn country(
    code: &'static str,
    continent: &'static str,
    latitude: i16,
    longitude: i16,
) -> Country {
    Country {
        code,
        continent,
        latitude: latitude as f64,
        longitude: longitude as f64,
    }
}

/// About the middle of each.
pub(crate) const ATLAS: [Country; 48] = [
    country("US", "NA", 39, -98),
    country("CA", "NA", 56, -106),
    country("MX", "NA", 23, -102),
    country("GT", "NA", 15, -90),
    country("CR", "NA", 10, -84),
    country("PA", "NA", 9, -80),
    country("BR", "SA", -14, -51),
    country("AR", "SA", -38, -63),
    country("CL", "SA", -35, -71),
    country("CO", "SA", 4, -72),
    country("PE", "SA", -9, -75),
    country("UY", "SA", -33, -56),
    country("IE", "EU", 53, -8),
    country("GB", "EU", 55, -3),
    country("PT", "EU", 39, -8),
    country("ES", "EU", 40, -4),
    country("FR", "EU", 46, 2),
    country("DE", "EU", 51, 10),
    country("NL", "EU", 52, 5),
    country("CH", "EU", 47, 8),
    country("IT", "EU", 42, 12),
    country("PL", "EU", 52, 19),
    country("SE", "EU", 60, 18),
    country("NO", "EU", 60, 8),
    country("FI", "EU", 61, 26),
    country("GR", "EU", 39, 22),
    country("RO", "EU", 46, 25),
    country("UA", "EU", 48, 31),
    country("TR", "AS", 39, 35),
    country("IL", "AS", 31, 35),
    country("AE", "AS", 24, 54),
    country("IN", "AS", 20, 78),
    country("PK", "AS", 30, 69),
    country("BD", "AS", 24, 90),
    country("LK", "AS", 7, 81),
    country("CN", "AS", 35, 104),
    country("TW", "AS", 24, 121),
    country("JP", "AS", 36, 138),
    country("KR", "AS", 36, 128),
    country("TH", "AS", 15, 101),
    country("VN", "AS", 14, 108),
    country("ID", "AS", -1, 114),
    country("AU", "OC", -25, 134),
    country("NZ", "OC", -41, 174),
    country("ZA", "AF", -30, 22),
    country("EG", "AF", 27, 30),
    country("NG", "AF", 9, 8),
    country("KE", "AF", 0, 38),
];

/// The region for clients in the country: what its own entry says, else that of its continent.
pub(crate) fn region_of(country: &Country) -> usize {
    let own = COUNTRIES.iter().find(|(code, _)| *code == country.code);
    let entry = own.or_else(|| {
        CONTINENTS
            .iter()
            .find(|(code, _)| *code == country.continent)
    });
    entry.expect("every continent of the atlas is in the map").1
}

/// The list that a map entry for `region` has: itself, then the two first others.
pub(crate) fn order(region: usize) -> [&'static str; 3] {
    let mut others = REGIONS
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != region)
        .map(|(_, other)| other.name);
    let mut next = || others.next().expect("there are eight regions");
    [REGIONS[region].name, next(), next()]
}

/// The address of a region's only endpoint.
pub(crate) fn region_address(region: usize) -> std::net::Ipv4Addr {
    [192, 0, 2, 1 + region as u8].into()
}

/// The address of the static name `number`, and of the name `number` of [`MILLION_ZONE`].
pub(crate) fn static_address(number: usize) -> std::net::Ipv4Addr {
    [198, 51, 100, (number % 256) as u8].into()
}
