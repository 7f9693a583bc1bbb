//! IPv4 addresses inside IPv6 ones.
//!
//! A client that comes through a transition mechanism is where its IPv4 address is, so it is
//! looked up as that. Such a client is an IPv4 client in every respect: IPv6 entries of a map's
//! `networks` and IPv6 records of an MMDB that cover or fill these prefixes say nothing about it.
//! They are used only for client prefixes too short to hold a bit of the IPv4 address.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::Prefix;

/// An IPv6 prefix whose addresses hold IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Embedding {
    /// Its name, for messages.
    pub(super) name: &'static str,
    /// First address.
    pub(super) start: u128,
    /// Prefix length.
    pub(super) length: u8,
    /// The number of bits before the IPv4 address; `length`, except for Teredo.
    offset: u8,
    /// The mask with which the IPv4 address is XORed.
    mask: u32,
}

/// All of them, in the order of their addresses.
pub(super) const EMBEDDINGS: [Embedding; 5] = [
    // RFC 4291 §2.5.5.2
    Embedding {
        name: "IPv4-mapped addresses",
        start: 0xffff << 32,
        length: 96,
        offset: 96,
        mask: 0,
    },
    // RFC 2765 §2.1, IPv4-translated
    Embedding {
        name: "IPv4-translated addresses (SIIT)",
        start: 0xffff << 48,
        length: 96,
        offset: 96,
        mask: 0,
    },
    // RFC 6052 §2.1, the well-known prefix
    Embedding {
        name: "the NAT64 prefix",
        start: 0x64_ff9b << 96,
        length: 96,
        offset: 96,
        mask: 0,
    },
    // RFC 4380 §4: the client's address comes last, "obfuscated" by inverting its bits
    Embedding {
        name: "Teredo",
        start: 0x2001_0000 << 96,
        length: 32,
        offset: 96,
        mask: u32::MAX,
    },
    // RFC 3056 §2
    Embedding {
        name: "6to4",
        start: 0x2002 << 112,
        length: 16,
        offset: 16,
        mask: 0,
    },
];

impl Embedding {
    /// The first address after it.
    pub(super) fn end(&self) -> u128 {
        self.start + (1 << (128 - self.length))
    }

    fn contains(&self, address: u128) -> bool {
        (address ^ self.start) >> (128 - self.length) == 0
    }
}

/// The prefix that holds all of `address`/`length`.
pub(super) fn around(address: u128, length: u8) -> Option<&'static Embedding> {
    EMBEDDINGS
        .iter()
        .find(|e| e.length <= length && e.contains(address))
}

/// The IPv4 address in the client prefix `address`/`length`, and how many bits come before it;
/// `None` where the prefix holds no bit of one.
pub(super) fn unwrap(address: u128, length: u8) -> Option<(u32, u8)> {
    // Nearly every IPv6 client leaves here.
    if !matches!((address >> 112) as u16, 0 | 0x64 | 0x2001 | 0x2002) {
        return None;
    }
    let embedding = EMBEDDINGS
        .iter()
        .find(|e| e.offset < length && e.contains(address))?;
    // The 32 bits behind the offset: those before them are cut off on purpose.
    let inner = (address >> (96 - embedding.offset)) as u32;
    Some((inner ^ embedding.mask, embedding.offset))
}

/// Returns the prefix that a client's hash is made of, and the shortest scope in which it is the
/// same: the client's IPv4 /24 or IPv6 /48, or the client itself where that is shorter. An IPv4
/// address inside an IPv6 one counts as it does on maps.
#[inline]
pub fn hashed_prefix(client: Prefix) -> (Prefix, u8) {
    let short = |address: IpAddr, length: u8, most: u8| {
        Prefix::truncating(address, length.min(most))
            .expect("the length is at most that of the client's prefix")
    };
    match client.address() {
        IpAddr::V4(_) => (short(client.address(), client.length(), 24), 24),
        IpAddr::V6(address) => match unwrap(address.to_bits(), client.length()) {
            Some((inner, offset)) => (
                short(
                    Ipv4Addr::from(inner).into(),
                    (client.length() - offset).min(32),
                    24,
                ),
                offset + 24,
            ),
            None => (short(client.address(), client.length(), 48), 48),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn unwrapped(address: &str, length: u8) -> Option<(Ipv4Addr, u8)> {
        let address = address.parse::<Ipv6Addr>().unwrap().to_bits();
        unwrap(address, length).map(|(inner, offset)| (Ipv4Addr::from_bits(inner), offset))
    }

    #[test]
    fn every_mechanism_is_unwrapped() {
        let client = Ipv4Addr::new(192, 0, 2, 33);
        assert_eq!(unwrapped("::ffff:192.0.2.33", 128), Some((client, 96)));
        assert_eq!(unwrapped("::ffff:0:192.0.2.33", 128), Some((client, 96)));
        assert_eq!(unwrapped("64:ff9b::192.0.2.33", 128), Some((client, 96)));
        assert_eq!(unwrapped("2002:c000:221::", 56), Some((client, 16)));
        // The example of RFC 4380 §5.1 has its own client; this one is 192.0.2.33 inverted.
        assert_eq!(
            unwrapped("2001:0:4136:e378:8000:63bf:3fff:fdde", 128),
            Some((client, 96))
        );
    }

    #[test]
    fn a_prefix_without_ipv4_bits_is_ipv6() {
        assert_eq!(unwrapped("2002::", 16), None);
        assert_eq!(
            unwrapped("2002:c000::", 20),
            Some((Ipv4Addr::new(192, 0, 0, 0), 16))
        );
        assert_eq!(unwrapped("64:ff9b::", 96), None);
        assert_eq!(unwrapped("2001::", 56), None);
        assert_eq!(unwrapped("2001:db8::", 128), None);
        assert_eq!(unwrapped("::1", 128), None);
    }

    #[test]
    fn prefixes_are_in_order_and_apart() {
        assert!(
            EMBEDDINGS
                .windows(2)
                .all(|pair| pair[0].end() <= pair[1].start)
        );
    }
}
