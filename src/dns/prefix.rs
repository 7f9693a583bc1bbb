//! Address prefixes: what Client Subnet options and maps speak of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address prefix with no bits set past its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Reason why a text is not a prefix.
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
            PrefixError::Length => {
                "has a prefix length that is not 0 … 32 (IPv4) or 0 … 128 (IPv6)"
            }
            PrefixError::HostBits => "has bits set past its prefix length",
        })
    }
}

impl std::error::Error for PrefixError {}

impl Prefix {
    /// `address`/`length`; an error when the length is too long or bits are set past it.
    #[inline]
    pub fn new(address: IpAddr, length: u8) -> Result<Prefix, PrefixError> {
        let prefix = Prefix::truncating(address, length).ok_or(PrefixError::Length)?;
        if prefix.address == address {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits)
        }
    }

    /// `address`/`length` with the bits past it cleared; `None` when the length is too long.
    #[inline]
    pub fn truncating(address: IpAddr, length: u8) -> Option<Prefix> {
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => {
                // Length 0 shifts by the whole width, which `<<` cannot.
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
        Prefix {
            address,
            length: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that are fixed: 0 … 32 or 0 … 128.
    pub fn length(self) -> u8 {
        self.length
    }

    /// True when `address` is of the same family and inside.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Prefix::truncating(address, self.length) == Some(self)
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
            return text
                .parse()
                .map(Prefix::host)
                .map_err(|_| PrefixError::Address);
        };
        let address = address.parse().map_err(|_| PrefixError::Address)?;
        // Checked here, since the standard library's reader takes "+24" too.
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PrefixError::Length);
        }
        Prefix::new(address, length.parse().map_err(|_| PrefixError::Length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_and_refuse() {
        assert_eq!(
            "192.0.2.0/24".parse::<Prefix>().unwrap().to_string(),
            "192.0.2.0/24"
        );
        assert_eq!("2001:db8::/32".parse::<Prefix>().unwrap().length(), 32);
        assert_eq!("192.0.2.1".parse::<Prefix>().unwrap().length(), 32);
        assert_eq!("192.0.2.1/24".parse::<Prefix>(), Err(PrefixError::HostBits));
        assert_eq!("192.0.2.0/33".parse::<Prefix>(), Err(PrefixError::Length));
        assert_eq!("192.0.2/24".parse::<Prefix>(), Err(PrefixError::Address));
        assert!(
            "0.0.0.0/0"
                .parse::<Prefix>()
                .unwrap()
                .contains("203.0.113.9".parse().unwrap())
        );
        assert!(
            !"::/0"
                .parse::<Prefix>()
                .unwrap()
                .contains("203.0.113.9".parse().unwrap())
        );
    }
}
