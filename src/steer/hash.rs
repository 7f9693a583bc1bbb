//! Weighted rendezvous hashing: every client has a score for each candidate, and the least wins.
//!
//! Scores are the same on every node, in every version, for ever: a change of anything here moves
//! clients. The formulas, on numbers of 64 bits that wrap:
//!
//! ```text
//! mix(x):          x ^= x >> 30; x *= bf58476d1ce4e5b9; x ^= x >> 27; x *= 94d049bb133111eb; x ^= x >> 31
//! key(name):       mix(FNV-1a(name)), FNV-1a starting at cbf29ce484222325 and multiplying by 100000001b3
//! client(prefix):  mix(family << 56 | length << 48 | its bits), family 4 or 6; 32 bits of IPv4, the first 48 of IPv6
//! score:           −log2(mix(client ^ key) / 2⁶⁴) / weight
//! ```
//!
//! `mix` is the finaliser of SplitMix64 (Steele, Lea, Flood 2014). With h uniform, −log2(h) is
//! exponential, and the least of exponentials divided by their weights falls on each by its weight;
//! when a candidate leaves, the scores of the others stay, and so do their clients (Thaler,
//! Ravishankar 1998; Schindelhauer, Schomaker 2005). Names are those of the configuration: a
//! region's as it is written there, an address in its canonical text, a target name in lower case
//! with its final dot.
//!
//! The logarithm is a table of whole numbers, made by squaring at compile time: floating-point
//! libraries differ between platforms.

use std::net::IpAddr;

use crate::model::{Prefix, Target};

/// Digits after the binary point of a logarithm.
const FRACTION: u32 = 48;
/// The table has 2^STEPS steps between 1 and 2, and straight lines between them: scores are off by
/// less than 2⁻²¹.
const STEPS: u32 = 10;
const TABLE: [u64; (1 << STEPS) + 1] = table();

/// The key of a name.
pub(super) fn key(name: &str) -> u64 {
    // FNV alone hardly moves the high bits for the last octets of a name, and scores are compared
    // by those; `mix` spreads them.
    let octets = name.bytes();
    mix(octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
    }))
}

/// The key of an endpoint.
pub(super) fn endpoint_key(target: &Target) -> u64 {
    match target {
        Target::Address(address) => key(&address.to_string()),
        Target::Name(name) => key(&name.to_lowercase().to_string()),
    }
}

/// The hash of a client, the same for all clients of `prefix`. IPv6 prefixes are at most /48.
#[inline]
pub fn client(prefix: Prefix) -> u64 {
    let (family, bits) = match prefix.address() {
        IpAddr::V4(v4) => (4, u64::from(v4.to_bits())),
        // 48 bits are left after the shift.
        IpAddr::V6(v6) => (6, (v6.to_bits() >> 80) as u64),
    };
    // Family and length take part, so that equal bits of a shorter prefix or of the other family
    // make another client.
    mix(family << 56 | u64::from(prefix.length()) << 48 | bits)
}

/// The score of `client` for the candidate with `key`, before it is divided by the weight; less is
/// better.
#[inline]
pub(super) fn draw(client: u64, key: u64) -> u64 {
    minus_log2(mix(client ^ key))
}

/// True when score `a.0` divided by weight `a.1` is less than that of `b`; weights are at least 1.
#[inline]
pub(super) fn less(a: (u64, u64), b: (u64, u64)) -> bool {
    // Crosswise products instead of quotients: nothing is rounded, and nothing overflows 128 bits.
    u128::from(a.0) * u128::from(b.1) < u128::from(b.0) * u128::from(a.1)
}

#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// −log2(x / 2⁶⁴), in units of 2^−FRACTION; of 0 as of 1.
#[inline]
fn minus_log2(x: u64) -> u64 {
    // Only 0 has 64 zeros; the bound keeps its shift defined, and it scores as 1 does.
    let zeros = x.leading_zeros().min(63);
    // What comes after the leading one, as a fraction of 64 bits.
    let fraction = (x << zeros) << 1;
    let step = (fraction >> (64 - STEPS)) as usize;
    // 24 bits of the rest: steps of the table differ by less than 2³⁹, so that the product below
    // stays under 2⁶³.
    let within = (fraction << STEPS) >> 40;
    let (low, high) = (TABLE[step], TABLE[step + 1]);
    let log2 = (u64::from(63 - zeros) << FRACTION) + low + (((high - low) * within) >> 24);
    (64 << FRACTION) - log2
}

/// log2(1 + i / 2^STEPS), in units of 2^−FRACTION: squaring a number doubles its logarithm, whose
/// digits so come out one by one.
const fn table() -> [u64; (1 << STEPS) + 1] {
    let mut table = [0; (1 << STEPS) + 1];
    let mut i = 0;
    while i < 1 << STEPS {
        // With 63 digits after the point.
        let mut x = ((1u128 << STEPS) + i as u128) << (63 - STEPS);
        let (mut log2, mut digit) = (0, 0);
        while digit < FRACTION {
            // The number is below 2⁶⁴ here, and its square below 2¹²⁸.
            x = (x * x) >> 63;
            log2 <<= 1;
            if x >= 1 << 64 {
                x >>= 1;
                log2 |= 1;
            }
            digit += 1;
        }
        table[i] = log2;
        i += 1;
    }
    // One entry past the last step: lookups take the straight line to the next.
    table[1 << STEPS] = 1 << FRACTION;
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(prefix: &str) -> u64 {
        client(prefix.parse().unwrap())
    }

    /// These numbers are part of the contract: other nodes, and other versions, must find the same.
    #[test]
    fn fixed_vectors() {
        assert_eq!(key("eu-west"), 0x6531_e356_1ec8_94e2);
        assert_eq!(
            endpoint_key(&Target::Address("2001:db8::10".parse().unwrap())),
            0xc763_ed75_5e93_47aa
        );
        assert_eq!(hashed("192.0.2.0/24"), 0x7eef_dbf4_66ab_7e9a);
        assert_eq!(hashed("192.0.0.0/16"), 0x6019_e5c3_7c62_3304);
        assert_eq!(hashed("2001:db8:1::/48"), 0xa765_abc6_50b5_308c);
        assert_eq!(
            draw(hashed("192.0.2.0/24"), key("eu-west")),
            0x0002_34a2_68e8_b30c
        );
        assert_eq!(minus_log2(u64::MAX), 0x0000_0000_0000_2e2e);
    }

    #[test]
    fn logarithms_are_those_of_arithmetic() {
        let mut random = fastrand::Rng::with_seed(1);
        let unit = (1u64 << FRACTION) as f64;
        for shift in 0..64 {
            for _ in 0..1000 {
                let x = (random.u64(..) >> shift).max(1);
                let expected = 64.0 - (x as f64).log2();
                assert!((minus_log2(x) as f64 / unit - expected).abs() < 4e-7, "{x}");
            }
        }
        assert_eq!(minus_log2(1 << 63), 1 << FRACTION);
        assert_eq!(minus_log2(1), 64 << FRACTION);
        assert_eq!(minus_log2(0), 64 << FRACTION);
    }
}
