//! Questions, and what is right to answer.

use std::net::Ipv4Addr;

use super::super::data::networks::{Network, Territory, address, networks};
use super::super::data::{
    GEO_NAMES, MILLION_ZONE, PAIR_NAMES, STATIC_NAMES, WEIGHTED_NAMES, WEIGHTS, ZONE,
    region_address, static_address,
};
use super::check::{Expected, Subnet};

/// Kind of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// A static A record, without EDNS.
    Static,
    /// A name by location, with EDNS and a random client subnet: IPv4 /24, one in seven IPv6 /56.
    GeoEcs,
    /// A name by location, without EDNS: by the address that asks.
    Geo,
    /// A name with four weighted addresses, of which one is answered.
    Weighted,
    /// A name with two addresses, both answered.
    Pair,
    /// A random name that does not exist.
    Nxdomain,
    /// 70 % geo-ecs, 20 % static, 10 % nxdomain.
    Mix,
    /// A random one of very many names.
    Million,
}

impl Workload {
    fn needs_networks(self) -> bool {
        matches!(self, Workload::GeoEcs | Workload::Mix)
    }
}

/// Questions in a row, ready to be sent but for their id.
pub(crate) struct Pool {
    bytes: Vec<u8>,
    questions: Vec<Question>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    start: u32,
    length: u16,
    pub(crate) expected: Expected,
}

impl Pool {
    /// `count` questions of `workload`. `networks` is how many the server's location database was
    /// made of, `names` how many names the zone of [`Workload::Million`] has. Equal arguments give
    /// equal pools.
    pub(crate) fn new(
        workload: Workload,
        count: usize,
        network_count: usize,
        names: usize,
        seed: u64,
    ) -> Pool {
        let world = if workload.needs_networks() {
            networks(network_count)
        } else {
            Vec::new()
        };
        let mut writer = PoolWriter {
            random: fastrand::Rng::with_seed(seed),
            territories: [false, true].map(|v6| Territory::new(&world, v6)),
            v4: world.partition_point(|network| !network.v6),
            networks: world,
            names,
            pool: Pool {
                bytes: Vec::new(),
                questions: Vec::new(),
            },
        };
        (0..count).for_each(|_| writer.add(workload));
        writer.pool
    }

    pub(crate) fn len(&self) -> usize {
        self.questions.len()
    }

    pub(crate) fn question(&self, index: usize) -> &Question {
        &self.questions[index]
    }

    /// The message of a question, with id 0.
    pub(crate) fn message(&self, question: &Question) -> &[u8] {
        &self.bytes[question.start as usize..][..usize::from(question.length)]
    }
}

struct PoolWriter {
    random: fastrand::Rng,
    networks: Vec<Network>,
    /// Number of IPv4 ones; they come first.
    v4: usize,
    /// Territories of IPv4 and of IPv6.
    territories: [Territory; 2],
    names: usize,
    pool: Pool,
}

impl PoolWriter {
    fn add(&mut self, workload: Workload) {
        match workload {
            Workload::Static => {
                let number = self.random.usize(..STATIC_NAMES);
                self.ask(
                    &format!("s{number:03}"),
                    ZONE,
                    Expected::one(static_address(number)),
                    None,
                );
            }
            Workload::GeoEcs => self.add_geo(),
            Workload::Geo => {
                let number = self.random.usize(..GEO_NAMES);
                self.ask(
                    &format!("g{number:04}"),
                    ZONE,
                    Expected::one(region_address(0)),
                    None,
                );
            }
            Workload::Weighted => {
                let number = self.random.usize(..WEIGHTED_NAMES);
                let expected =
                    Expected::some(1, region_address(0), region_address(WEIGHTS.len() - 1));
                self.ask(&format!("w{number:03}"), ZONE, expected, None);
            }
            Workload::Pair => {
                let number = self.random.usize(..PAIR_NAMES);
                self.ask(
                    &format!("p{number:03}"),
                    ZONE,
                    Expected::some(2, region_address(0), region_address(1)),
                    None,
                );
            }
            Workload::Nxdomain => {
                let label: String = std::iter::repeat_with(|| self.random.lowercase())
                    .take(12)
                    .collect();
                self.ask(&label, ZONE, Expected::NXDOMAIN, None);
            }
            Workload::Mix => match self.random.u8(..10) {
                0..7 => self.add(Workload::GeoEcs),
                7..9 => self.add(Workload::Static),
                _ => self.add(Workload::Nxdomain),
            },
            Workload::Million => {
                let number = self.random.usize(..self.names);
                self.ask(
                    &format!("n{number:07}"),
                    MILLION_ZONE,
                    Expected::one(static_address(number)),
                    None,
                );
            }
        }
    }

    fn add_geo(&mut self) {
        let v6 = self.random.u8(..7) == 0 && self.v4 < self.networks.len();
        let among = if v6 {
            self.v4..self.networks.len()
        } else {
            0..self.v4
        };
        let network = self.networks[self.random.usize(among)];
        let length: u8 = if v6 { 56 } else { 24 };
        let inside = self.random.u128(..) >> network.length;
        let bits = (network.bits | inside) >> (128 - length) << (128 - length);
        let subnet = Subnet {
            v6,
            length,
            scope: self.territories[usize::from(v6)].scope(bits),
        };
        let number = self.random.usize(..GEO_NAMES);
        let expected = Expected {
            subnet: Some(subnet),
            ..Expected::one(region_address(network.region()))
        };
        self.ask(&format!("g{number:04}"), ZONE, expected, Some(bits));
    }

    /// Adds the question for the A records of `label.zone`, with a Client Subnet option (RFC 7871
    /// §6) of the address `client` where `expected` has one.
    fn ask(&mut self, label: &str, zone: &str, expected: Expected, client: Option<u128>) {
        let bytes = &mut self.pool.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(client.is_some())]);
        for label in std::iter::once(label).chain(zone.split('.')) {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        if let (Some(client), Some(subnet)) = (client, expected.subnet) {
            let octets: Vec<u8> = match address(client, subnet.v6) {
                std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
                std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            let octets = &octets[..usize::from(subnet.length / 8)];
            let data = 4 + octets.len() as u8;
            // OPT: root, type 41, 1232 octets, no flags; then the option.
            bytes.extend_from_slice(&[0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, data + 4]);
            bytes.extend_from_slice(&[0, 8, 0, data, 0, 1 + u8::from(subnet.v6), subnet.length, 0]);
            bytes.extend_from_slice(octets);
        }
        let length = (bytes.len() - start) as u16;
        self.pool.questions.push(Question {
            start: start as u32,
            length,
            expected,
        });
    }
}

impl Expected {
    const NXDOMAIN: Expected = Expected {
        rcode: 3,
        count: 0,
        first: 0,
        last: 0,
        subnet: None,
    };

    fn one(address: Ipv4Addr) -> Expected {
        Expected::some(1, address, address)
    }

    fn some(count: u16, first: Ipv4Addr, last: Ipv4Addr) -> Expected {
        Expected {
            rcode: 0,
            count,
            first: first.into(),
            last: last.into(),
            subnet: None,
        }
    }
}
