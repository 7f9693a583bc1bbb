//! Regions, maps and client prefixes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::RegionId;
use crate::diag::At;

/// A place where services run.
#[derive(Debug, Clone)]
pub struct Region {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is, where that is known.
    pub coordinates: Option<Coordinates>,
    /// Regions of one metro are equally near.
    pub metro: Option<String>,
    /// The operator's tags.
    pub labels: BTreeMap<String, String>,
    /// −99 … 99: grows (positive) or shrinks its catchment.
    pub bias: i8,
}

/// A point on the earth in degrees, latitude −90 … 90, longitude −180 … 180.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinates {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// An address prefix with no bits set past its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixError {
    /// The part before the slash is not an address.
    Address,
    /// The length is no number, or above 32 / 128.
    Length,
    /// Bits are set past the length.
    HostBits,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrefixError::Address => "is not an IPv4 or IPv6 address",
            PrefixError::Length => "has a prefix length that is not 0 … 32 (IPv4) or 0 … 128 (IPv6)",
            PrefixError::HostBits => "has bits set past its prefix length",
        })
    }
}

impl std::error::Error for PrefixError {}

impl Prefix {
    /// `address`/`length`; an error when the length is too long or bits are set past it.
    pub fn new(address: IpAddr, length: u8) -> Result<Prefix, PrefixError> {
        let prefix = Prefix::truncating(address, length).ok_or(PrefixError::Length)?;
        if prefix.address == address { Ok(prefix) } else { Err(PrefixError::HostBits) }
    }

    /// `address`/`length` with the bits past it cleared; `None` when the length is too long.
    pub fn truncating(address: IpAddr, length: u8) -> Option<Prefix> {
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Prefix { address, length })
    }

    /// A single address.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits are fixed: 0 … 32 or 0 … 128.
    pub fn length(self) -> u8 {
        self.length
    }

    /// True when `address` is of the same family and inside.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && Prefix::truncating(address, self.length) == Some(self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `192.0.2.0/24`, or an address alone as a single-address prefix.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Prefix::host).map_err(|_| PrefixError::Address);
        };
        let address = address.parse().map_err(|_| PrefixError::Address)?;
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PrefixError::Length);
        }
        Prefix::new(address, length.parse().map_err(|_| PrefixError::Length)?)
    }
}

/// One `[maps.NAME]`: client → region order, its sources most specific first.
#[derive(Debug, Clone)]
pub struct MapSpec {
    /// Its name in the configuration.
    pub name: String,
    /// Where the configuration has it.
    pub at: At,
    /// Source 1: longest prefix.
    pub networks: Vec<(Prefix, Entry)>,
    /// Source 2: AS number.
    pub asns: BTreeMap<u32, Entry>,
    /// Source 3: ISO 3166-2 codes, upper case (`US-CA`).
    pub subdivisions: BTreeMap<String, Entry>,
    /// Source 4: ISO 3166-1 alpha-2 codes, upper case.
    pub countries: BTreeMap<String, Entry>,
    /// Source 5: AF AN AS EU NA OC SA.
    pub continents: BTreeMap<String, Entry>,
    /// Source 6: great-circle distance, where client and regions have coordinates.
    pub by_distance: bool,
    /// How many steps by distance before `rest` takes over; at least 1.
    pub distance_steps: u8,
    /// Kilometres: regions nearer than nearest + within form one step.
    pub within: Option<f64>,
    /// Source 7: unknown location, and the tail of every shorter list.
    pub rest: Vec<RegionId>,
}

/// What one entry of a map says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// These first, then the rest.
    Prefer(Vec<RegionId>),
    /// A border: these, and no others.
    Only(Vec<RegionId>),
}

impl Entry {
    /// The regions it lists, best first.
    pub fn regions(&self) -> &[RegionId] {
        match self {
            Entry::Prefer(regions) | Entry::Only(regions) => regions,
        }
    }
}

/// Which regions a client may be sent to, best first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RegionOrder {
    /// Best first; the regions of one step are equally near and share by weight. Never an empty step.
    pub steps: Vec<Vec<RegionId>>,
    /// The border, where there is one; every region of `steps` is inside it.
    pub border: Option<RegionSet>,
}

/// A set of regions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RegionSet(Box<[u64]>);

impl RegionSet {
    /// True when `region` is in it.
    pub fn contains(&self, region: RegionId) -> bool {
        self.0.get(region.index() / 64).is_some_and(|word| word >> (region.index() % 64) & 1 == 1)
    }
}

impl FromIterator<RegionId> for RegionSet {
    fn from_iter<I: IntoIterator<Item = RegionId>>(regions: I) -> RegionSet {
        let mut words = Vec::new();
        for region in regions {
            let word = region.index() / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1u64 << (region.index() % 64);
        }
        RegionSet(words.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_and_refuse() {
        assert_eq!("192.0.2.0/24".parse::<Prefix>().unwrap().to_string(), "192.0.2.0/24");
        assert_eq!("2001:db8::/32".parse::<Prefix>().unwrap().length(), 32);
        assert_eq!("192.0.2.1".parse::<Prefix>().unwrap().length(), 32);
        assert_eq!("192.0.2.1/24".parse::<Prefix>(), Err(PrefixError::HostBits));
        assert_eq!("192.0.2.0/33".parse::<Prefix>(), Err(PrefixError::Length));
        assert_eq!("192.0.2/24".parse::<Prefix>(), Err(PrefixError::Address));
        assert!("0.0.0.0/0".parse::<Prefix>().unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(!"::/0".parse::<Prefix>().unwrap().contains("203.0.113.9".parse().unwrap()));
    }
}
