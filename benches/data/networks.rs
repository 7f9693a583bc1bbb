//! Location networks: disjoint prefixes like those of a city database, each with a place drawn at
//! random. Neighbours have nothing in common, so they merge less than real ones do.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;

use super::{ATLAS, Country, region_of};

/// The default number of networks, and that of the large database; a quarter of each is IPv6.
pub(crate) const NETWORKS: usize = 400_000;
/// See [`NETWORKS`].
pub(crate) const LARGE: usize = 1_600_000;

/// A prefix and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// The address, its first bit the highest one: IPv4 in the upper 32 bits.
    pub(crate) bits: u128,
    pub(crate) length: u8,
    pub(crate) v6: bool,
    /// Index into [`ATLAS`].
    pub(crate) country: u8,
    /// Distinguishes the places of a country.
    city: u8,
}

impl Network {
    pub(crate) fn country(&self) -> &'static Country {
        &ATLAS[usize::from(self.country)]
    }

    /// The index of the region that the map gives its clients first.
    pub(crate) fn region(&self) -> usize {
        region_of(self.country())
    }
}

/// `bits` as an address.
pub(crate) fn address(bits: u128, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(bits.into())
    } else {
        IpAddr::V4(((bits >> 96) as u32).into())
    }
}

/// `count` networks in the order of their addresses, IPv4 first.
pub(crate) fn networks(count: usize) -> Vec<Network> {
    let mut random = fastrand::Rng::with_seed(0x6e65_7473);
    let mut all = Vec::with_capacity(count);
    let (v6, v4) = (count / 4, count - count / 4);
    divide(
        &mut random,
        &v4_blocks(v4),
        Shape {
            length: 16,
            longest: 24,
            v6: false,
        },
        v4,
        &mut all,
    );
    let blocks = v6_blocks(&mut random, v6);
    divide(
        &mut random,
        &blocks,
        Shape {
            length: 32,
            longest: 48,
            v6: true,
        },
        v6,
        &mut all,
    );
    all
}

/// The lengths of a family's blocks and of the smallest networks in them.
#[derive(Clone, Copy)]
struct Shape {
    length: u8,
    longest: u8,
    v6: bool,
}

/// The /16s of public unicast IPv4 that `count` networks are put into: all, or every so many.
fn v4_blocks(count: usize) -> Vec<u128> {
    let special = |block: u32| {
        let (first, second) = (block >> 8, block & 255);
        matches!(first, 0 | 10 | 127)
            || matches!(
                (first, second),
                (100, 64..=127) | (169, 254) | (172, 16..=31)
            )
            || matches!(
                (first, second),
                (192, 0 | 88 | 168) | (198, 18 | 19 | 51) | (203, 0)
            )
    };
    let public: Vec<u32> = (0..224 << 8).filter(|block| !special(*block)).collect();
    let step = (public.len() / count.div_ceil(4).max(1)).max(1);
    public
        .into_iter()
        .step_by(step)
        .map(|block| u128::from(block) << 112)
        .collect()
}

/// The /32s of IPv6 that `count` networks are put into, out of the registries' large blocks.
fn v6_blocks(random: &mut fastrand::Rng, count: usize) -> Vec<u128> {
    let mut blocks = BTreeSet::new();
    while blocks.len() < count.div_ceil(2) {
        let registry = [0x2400u128, 0x2600, 0x2800, 0x2a00, 0x2c00][random.usize(..5)];
        blocks.insert(registry << 112 | u128::from(random.u16(..)) << 96);
    }
    blocks.into_iter().collect()
}

/// Puts `count` networks into `blocks`, about as many into each.
fn divide(
    random: &mut fastrand::Rng,
    blocks: &[u128],
    shape: Shape,
    count: usize,
    all: &mut Vec<Network>,
) {
    for (index, block) in blocks.iter().enumerate() {
        let share = (index + 1) * count / blocks.len() - index * count / blocks.len();
        split(random, *block, shape, share, all);
    }
}

/// Splits the prefix of `shape.length` bits at `bits` into `count` networks.
fn split(
    random: &mut fastrand::Rng,
    bits: u128,
    shape: Shape,
    count: usize,
    all: &mut Vec<Network>,
) {
    let half = 1usize << (shape.longest - shape.length) >> 1;
    // IPv6 has holes: in three of four splits everything is in one half.
    let hole = shape.v6 && count <= half && random.u8(..4) > 0;
    match count {
        0 => {}
        1 if !hole => {
            let (country, city) = (random.u8(..ATLAS.len() as u8), random.u8(..50));
            all.push(Network {
                bits,
                length: shape.length,
                v6: shape.v6,
                country,
                city,
            });
        }
        _ => {
            let left = if hole {
                count * random.usize(..2)
            } else {
                random
                    .usize(1..count)
                    .clamp(count.saturating_sub(half), half)
            };
            let lower = Shape {
                length: shape.length + 1,
                ..shape
            };
            split(random, bits, lower, left, all);
            split(
                random,
                bits | 1 << (127 - shape.length),
                lower,
                count - left,
                all,
            );
        }
    }
}

/// Writes `networks` as an address plan for `meridian geoip build`.
pub(crate) fn write_plan(networks: &[Network], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "network,continent,country,subdivision,city,latitude,longitude"
    )?;
    for network in networks {
        let (country, city) = (network.country(), u32::from(network.city));
        // Places of a country lie within a few degrees of its middle.
        let (north, east) = (f64::from(city % 7) - 3.0, f64::from(city % 9) - 4.0);
        writeln!(
            out,
            "{}/{},{},{},{}-{},{} {city},{},{}",
            address(network.bits, network.v6),
            network.length,
            country.continent,
            country.code,
            country.code,
            city % 12,
            country.code,
            country.latitude + north,
            country.longitude + east,
        )?;
    }
    Ok(())
}

/// Region of each address of a family, as runs: the measure for the scopes of answers.
pub(crate) struct Territory {
    /// First address of each run, and the region; neighbours differ.
    runs: Vec<(u128, usize)>,
}

impl Territory {
    /// Territory of the networks of one family; addresses in none get the first region.
    pub(crate) fn new(networks: &[Network], v6: bool) -> Territory {
        let mut runs = vec![(0, 0)];
        let mut push = |start, region| match runs.last_mut() {
            Some(last) if last.1 == region => {}
            Some(last) if last.0 == start => last.1 = region,
            _ => runs.push((start, region)),
        };
        for network in networks.iter().filter(|network| network.v6 == v6) {
            push(network.bits, network.region());
            push(network.bits + (1 << (128 - u32::from(network.length))), 0);
        }
        // What became equal to the run before when its start was overwritten is merged now.
        runs.dedup_by(|next, before| next.1 == before.1);
        Territory { runs }
    }

    /// Length of the largest prefix around the address in which every address gets the same region.
    /// A shorter scope in an answer would be wrong: a cache would hand the answer to other clients.
    pub(crate) fn scope(&self, bits: u128) -> u8 {
        let next = self.runs.partition_point(|(start, _)| *start <= bits);
        let apart = |other: u128| 1 + (bits ^ other).leading_zeros() as u8;
        let before = match self.runs[next - 1].0 {
            0 => 0,
            start => apart(start - 1),
        };
        before.max(self.runs.get(next).map_or(0, |(start, _)| apart(*start)))
    }
}
