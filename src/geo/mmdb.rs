//! MMDB files → flat tables.
//!
//! An MMDB is a binary tree over address bits whose leaves point at records. The `maxminddb` crate
//! reads the metadata and the records. The tree is walked here, because the file may be hostile or
//! broken: a tree whose nodes share children has 2¹²⁸ paths, and a walk that follows each of them
//! does not come back. This walk visits each node once (in sound trees; broken ones run into a
//! budget), in the order of the addresses, and decodes each distinct record once. A record that is not of the layout is left
//! out and counted; a tree or a data section that is broken refuses the file.
//!
//! An IPv6 tree keeps IPv4 in ::/96 and often has the same subtree again under ::ffff:0:0/96,
//! 2002::/16 and the like. The subtree becomes the IPv4 table; the aliases are left out, since
//! embedded IPv4 addresses are looked up as IPv4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use maxminddb::{MaxMindDbError, Metadata, Reader};
use serde::de::DeserializeOwned;

use super::FastMap;
use super::location::Location;
use super::record::{AsnRecord, CityRecord};
use super::runs::{Networks, V4Builder, V6Builder};

/// Reason why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoError {
    /// The file.
    pub database: Database,
    /// The problem with the database.
    pub problem: Problem,
}

/// One of the two files of `[geo]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// `[geo] city`.
    City,
    /// `[geo] asn`.
    Asn,
}

/// A problem with an MMDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It has no bytes.
    Empty,
    /// It is an archive, or compressed.
    Packed(Packing),
    /// It is another kind of file, or one whose end is missing.
    NotMmdb,
    /// It is damaged, and how.
    Broken(String),
    /// It is sound, but does not say what is looked for; its `database_type`.
    Layout(String),
}

/// The formats in which databases are packed for distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952; often with a tar archive inside.
    Gzip,
    /// POSIX `ustar`.
    Tar,
    /// PKZIP.
    Zip,
    /// XZ Utils.
    Xz,
    /// bzip2.
    Bzip2,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// Recognises the packing whose first bytes `bytes` has.
    fn of(bytes: &[u8]) -> Option<Packing> {
        const BEGINNINGS: [(&[u8], Packing); 5] = [
            (b"\x1f\x8b\x08", Packing::Gzip),
            (b"PK\x03\x04", Packing::Zip),
            (b"\xfd7zXZ\0", Packing::Xz),
            (b"BZh", Packing::Bzip2),
            (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        ];
        let tar = bytes.get(257..262) == Some(b"ustar");
        let found = BEGINNINGS
            .iter()
            .find(|(beginning, _)| bytes.starts_with(beginning));
        found
            .map(|(_, packing)| *packing)
            .or(tar.then_some(Packing::Tar))
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Tar => "tar",
            Packing::Zip => "zip",
            Packing::Xz => "xz",
            Packing::Bzip2 => "bzip2",
            Packing::Zstd => "zstd",
        }
    }

    /// The command that takes the MMDB out of the file `path`.
    pub fn unpack(self, path: &str) -> String {
        match self {
            Packing::Gzip => {
                format!(
                    "{}; if there is a tar archive inside: {}",
                    replace_with(path, &format!("gzip -dc '{path}'")),
                    replace_with(path, &extract("z", path))
                )
            }
            Packing::Tar => replace_with(path, &extract("", path)),
            Packing::Zip => replace_with(path, &format!("unzip -p '{path}' '*.mmdb'")),
            Packing::Xz | Packing::Bzip2 | Packing::Zstd => {
                replace_with(path, &format!("{} -dc '{path}'", self.as_str()))
            }
        }
    }
}

/// The command that writes the MMDB inside the tar archive `path` to its output.
fn extract(option: &str, path: &str) -> String {
    format!("tar -x{option}Of '{path}' --wildcards '*.mmdb'")
}

/// The command that puts the output of `command` in the place of the file `path`.
fn replace_with(path: &str, command: &str) -> String {
    // By way of another file, since `command` reads the one that it replaces.
    format!("{command} > new.mmdb && mv new.mmdb '{path}'")
}

/// Records that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The number of networks with such a record.
    pub networks: u64,
    /// The first of them.
    pub first: String,
    /// The problem with the record.
    pub why: String,
}

impl fmt::Display for GeoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, self.database) {
            (Problem::Empty, _) => f.write_str("the file is empty"),
            (Problem::Packed(packing), _) => write!(f, "is a {} file, and the MMDB is inside it", packing.as_str()),
            (Problem::NotMmdb, _) => {
                f.write_str("is not an MMDB, or its end is missing: the MaxMind DB metadata at the end is not there")
            }
            (Problem::Broken(how), _) => write!(f, "is damaged: {how}"),
            (Problem::Layout(kind), Database::City) => write!(
                f,
                "is an MMDB of type {kind:?}, and no record in it has a continent, country or coordinates \
                 (wanted: the GeoIP2 City or Country layout)"
            ),
            (Problem::Layout(kind), Database::Asn) => write!(
                f,
                "is an MMDB of type {kind:?}, and no record in it has an autonomous_system_number \
                 (wanted: the GeoLite2 ASN layout)"
            ),
        }
    }
}

impl std::error::Error for GeoError {}

/// The distinct locations of a City or Country MMDB (the first is the unknown one), and the table
/// of them; without a file nothing is known.
pub(super) fn read_city(
    bytes: Option<&[u8]>,
) -> Result<(Vec<Location>, Networks, Option<Skipped>), GeoError> {
    let mut places = vec![Location::default()];
    let mut known = FastMap::default();
    known.insert(key(&places[0]), 0u32);
    let networks = read(bytes, |record: CityRecord| {
        let location = record.location();
        *known.entry(key(&location)).or_insert_with(|| {
            places.push(location);
            u32::try_from(places.len() - 1).expect("a file has fewer records than 2³²")
        })
    });
    let (networks, skipped) = networks.map_err(|problem| GeoError {
        database: Database::City,
        problem,
    })?;
    places.shrink_to_fit();
    Ok((places, networks, skipped))
}

/// The table of AS numbers of an ASN MMDB; without a file nothing is known.
pub(super) fn read_asn(bytes: Option<&[u8]>) -> Result<(Networks, Option<Skipped>), GeoError> {
    read(bytes, |record: AsnRecord| record.asn()).map_err(|problem| GeoError {
        database: Database::Asn,
        problem,
    })
}

/// The time at which an MMDB was made, in seconds since 1970, as it says itself; `None` of one that
/// does not: a file that is the same whenever it is made has a number that is no time.
pub(super) fn built(bytes: &[u8]) -> Option<u64> {
    // 2000-01-01: the format is younger.
    const FIRST: u64 = 946_684_800;
    let reader = open(bytes).ok()?;
    Some(reader.metadata().build_epoch).filter(|built| *built >= FIRST)
}

/// The key by which two locations are the same.
fn key(location: &Location) -> impl std::hash::Hash + Eq + use<> {
    let coordinates = location
        .coordinates
        .map(|c| (c.latitude.to_bits(), c.longitude.to_bits()));
    (
        location.continent,
        location.country,
        location.subdivision,
        location.wider_subdivision,
        coordinates,
    )
}

/// The table of an MMDB: `value` makes a value of each distinct record, 0 of one that says nothing.
fn read<R: DeserializeOwned>(
    bytes: Option<&[u8]>,
    value: impl FnMut(R) -> u32,
) -> Result<(Networks, Option<Skipped>), Problem> {
    let Some(bytes) = bytes else {
        return Ok((Tables::default().finish(), None));
    };
    // What is packed may look like a broken MMDB: an archive that is not compressed has one inside.
    read_tree(bytes, value).map_err(|problem| Packing::of(bytes).map_or(problem, Problem::Packed))
}

/// Reads the tree of an MMDB that is not packed.
fn read_tree<R: DeserializeOwned>(
    bytes: &[u8],
    value: impl FnMut(R) -> u32,
) -> Result<(Networks, Option<Skipped>), Problem> {
    let reader = open(bytes)?;
    let tree = Tree::new(bytes, reader.metadata());
    let mut tables = Tables::default();
    let mut values = Values {
        known: FastMap::default(),
        useful: false,
        skipped: None,
        value,
    };
    tree.walk(|start, length, leaf| {
        let found = match leaf {
            None => 0,
            Some(pointer) => values.of(&reader, &tree, (start, length), pointer)?,
        };
        tables.push(&tree, start, length, found);
        Ok(())
    })?;
    match (values.useful, values.skipped) {
        (true, skipped) => Ok((tables.finish(), skipped)),
        (false, None) => Err(Problem::Layout(reader.metadata().database_type.clone())),
        (false, Some(skipped)) => Err(Problem::Broken(format!(
            "none of its records can be used, and those of {} networks not even be read; \
             the first, of {}: {}",
            skipped.networks, skipped.first, skipped.why
        ))),
    }
}

/// The values of an MMDB's records while its tree is walked.
struct Values<F> {
    /// By record; `None` is one that cannot be read. Many networks share a record, and decoding one
    /// costs far more than the step of the walk that leads to it.
    known: FastMap<u32, Option<u32>>,
    /// True once a record has said something.
    useful: bool,
    skipped: Option<Skipped>,
    /// Makes the value of a record.
    value: F,
}

impl<F> Values<F> {
    /// The value of the record at `pointer`, which the `network` (start and length) has; 0 where it
    /// says nothing or cannot be read.
    fn of<R: DeserializeOwned>(
        &mut self,
        reader: &Reader<&[u8]>,
        tree: &Tree<'_>,
        (start, length): (u128, u8),
        pointer: u32,
    ) -> Result<u32, Problem>
    where
        F: FnMut(R) -> u32,
    {
        let found = match self.known.get(&pointer) {
            Some(known) => *known,
            None => {
                let found = match decode(reader, start, &mut self.value) {
                    Ok(found) => Some(found),
                    Err(NotDecoded::Broken(problem)) => return Err(problem),
                    Err(NotDecoded::Odd(why)) => {
                        self.skipped.get_or_insert_with(|| Skipped {
                            networks: 0,
                            first: tree.network(start, length),
                            why,
                        });
                        None
                    }
                };
                self.useful |= found.is_some_and(|found| found != 0);
                self.known.insert(pointer, found);
                found
            }
        };
        if let (None, Some(skipped)) = (found, &mut self.skipped) {
            skipped.networks += 1;
        }
        Ok(found.unwrap_or(0))
    }
}

fn open(bytes: &[u8]) -> Result<Reader<&[u8]>, Problem> {
    const METADATA: &[u8] = b"\xab\xcd\xefMaxMind.com";
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    // Searched from the end, where a sound file has it.
    if !bytes.windows(METADATA.len()).rev().any(|w| w == METADATA) {
        return Err(Problem::NotMmdb);
    }
    Reader::from_source(bytes).map_err(broken)
}

/// Reason why a record says nothing.
enum NotDecoded {
    /// It is sound, and not of the layout.
    Odd(String),
    /// The file is damaged.
    Broken(Problem),
}

fn decode<R: DeserializeOwned>(
    reader: &Reader<&[u8]>,
    start: u128,
    value: &mut impl FnMut(R) -> u32,
) -> Result<u32, NotDecoded> {
    // The reader knows where IPv4 starts, and spares itself the 96 steps to there.
    let address = match u32::try_from(start) {
        Ok(start) => IpAddr::V4(start.into()),
        Err(_) => IpAddr::V6(start.into()),
    };
    let record = reader
        .lookup(address)
        .and_then(|found| found.decode::<R>())
        .map_err(|error| match error {
            // One odd record leaves the rest of the file usable; any other error is the file's.
            MaxMindDbError::Decoding { .. } | MaxMindDbError::ResourceLimit { .. } => {
                NotDecoded::Odd(error.to_string())
            }
            error => NotDecoded::Broken(Problem::Broken(format!(
                "the record of {address} cannot be read: {error}"
            ))),
        })?;
    Ok(record.map_or(0, value))
}

fn broken(error: MaxMindDbError) -> Problem {
    Problem::Broken(error.to_string())
}

/// The search tree of an MMDB.
struct Tree<'a> {
    bytes: &'a [u8],
    node_count: u32,
    /// 24, 28 or 32.
    record_size: u16,
    /// 32 or 128.
    bits: u8,
    /// In an IPv6 tree, the node that IPv4 addresses start from.
    ipv4: Option<u32>,
}

/// A node to visit: its number, the first address below it, and how many bits lead to it.
type Step = (u32, u128, u8);

impl<'a> Tree<'a> {
    fn new(bytes: &'a [u8], metadata: &Metadata) -> Tree<'a> {
        let bits = if metadata.ip_version == 4 { 32 } else { 128 };
        let (node_count, record_size) = (metadata.node_count, metadata.record_size);
        let mut tree = Tree {
            bytes,
            node_count,
            record_size,
            bits,
            ipv4: None,
        };
        if bits == 128 {
            // IPv4 is 96 zeros down; a tree without it ends in a leaf on the way.
            let node = (0..96).try_fold(0, |node, _| {
                tree.child(node, 0).filter(|next| *next < tree.node_count)
            });
            tree.ipv4 = node.filter(|node| *node != 0);
        }
        tree
    }

    /// A network as operators write it.
    fn network(&self, start: u128, length: u8) -> String {
        match (self.bits, u32::try_from(start)) {
            (32, Ok(start)) => format!("{}/{length}", Ipv4Addr::from(start)),
            (_, Ok(start)) if length >= 96 => format!("{}/{}", Ipv4Addr::from(start), length - 96),
            _ => format!("{}/{length}", Ipv6Addr::from(start)),
        }
    }

    /// Calls `leaf(first address, prefix length, record pointer)` for every leaf in order.
    fn walk(
        &self,
        mut leaf: impl FnMut(u128, u8, Option<u32>) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        // A sound tree is left after visiting each node and each leaf once.
        let mut budget = 4 * u64::from(self.node_count) + 1024;
        let mut stack: Vec<Step> = vec![(0, 0, 0)];
        while let Some((node, start, length)) = stack.pop() {
            if node > self.node_count {
                leaf(start, length, Some(node))?;
                continue;
            }
            // Some databases let IPv6 prefixes that hold IPv4 addresses lead to the same nodes.
            // Walking those again would repeat all of IPv4 for clients that are looked up as IPv4
            // anyway.
            let alias = self.ipv4 == Some(node) && start >> 32 != 0;
            if node == self.node_count || alias {
                leaf(start, length, None)?;
                continue;
            }
            if length == self.bits {
                return Err(Problem::Broken(
                    "its search tree is deeper than an address has bits".to_owned(),
                ));
            }
            budget = budget.checked_sub(1).ok_or_else(|| {
                Problem::Broken(
                    "its search tree is not a tree: nodes are reached again and again".to_owned(),
                )
            })?;
            let (Some(left), Some(right)) = (self.child(node, 0), self.child(node, 1)) else {
                return Err(Problem::Broken(
                    "its search tree reaches past the end of the file".to_owned(),
                ));
            };
            // The right side first: the left one, with the lower addresses, is then popped before
            // it.
            stack.push((right, start | 1 << (self.bits - 1 - length), length + 1));
            stack.push((left, start, length + 1));
        }
        Ok(())
    }

    /// The record of `node` for a bit of 0 (left) or 1.
    fn child(&self, node: u32, bit: usize) -> Option<u32> {
        let size = usize::from(self.record_size) / 4;
        let node = self.bytes.get(node as usize * size..)?.get(..size)?;
        Some(match (self.record_size, bit) {
            (24, _) => u32::from_be_bytes([0, node[bit * 3], node[bit * 3 + 1], node[bit * 3 + 2]]),
            // The middle byte holds the top four bits of both.
            (28, 0) => u32::from_be_bytes([node[3] >> 4, node[0], node[1], node[2]]),
            (28, _) => u32::from_be_bytes([node[3] & 15, node[4], node[5], node[6]]),
            _ => u32::from_be_bytes([
                node[bit * 4],
                node[bit * 4 + 1],
                node[bit * 4 + 2],
                node[bit * 4 + 3],
            ]),
        })
    }
}

/// The tables while the tree is walked.
#[derive(Default)]
struct Tables {
    v4: V4Builder,
    v6: V6Builder,
}

impl Tables {
    /// From the leaf at `start`/`length` on the value is `value`.
    fn push(&mut self, tree: &Tree<'_>, start: u128, length: u8, value: u32) {
        if let Ok(start) = u32::try_from(start) {
            self.v4.push(start, value);
        }
        if tree.bits == 128 {
            // ::/96 is IPv4's: as IPv6 addresses they are unknown, and what covers them goes on after them.
            if start == 0 {
                self.v6.push(0, 0);
            }
            if start >> 32 != 0 {
                self.v6.push(start, value);
            } else if length < 96 {
                self.v6.push(1 << 32, value);
            }
        }
    }

    fn finish(self) -> Networks {
        Networks {
            v4: self.v4.finish(),
            v6: self.v6.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::{EMBEDDED, Locations};

    /// A search tree made by hand, to be able to make bad ones.
    struct HandMade {
        nodes: Vec<[Child; 2]>,
        data: Vec<u8>,
        bits: u8,
    }

    #[derive(Clone, Copy)]
    enum Child {
        Nothing,
        Node(usize),
        Data(usize),
    }

    impl HandMade {
        fn new(bits: u8) -> HandMade {
            HandMade {
                nodes: vec![[Child::Nothing; 2]],
                data: Vec::new(),
                bits,
            }
        }

        fn put(&mut self, network: &str, child: Child) {
            let (address, length) = network.split_once('/').unwrap();
            let mut length: u8 = length.parse().unwrap();
            let path = match address.parse().unwrap() {
                IpAddr::V4(v4) if self.bits == 32 => u128::from(v4.to_bits()) << 96,
                IpAddr::V4(v4) => {
                    length += 96;
                    v4.to_bits().into()
                }
                IpAddr::V6(v6) => v6.to_bits(),
            };
            let bit = |depth: u8| (path >> (127 - depth) & 1) as usize;
            let mut node = 0;
            for depth in 0..length - 1 {
                node = match self.nodes[node][bit(depth)] {
                    Child::Node(next) => next,
                    old => {
                        self.nodes.push([old; 2]);
                        self.nodes[node][bit(depth)] = Child::Node(self.nodes.len() - 1);
                        self.nodes.len() - 1
                    }
                };
            }
            self.nodes[node][bit(length - 1)] = child;
        }

        fn record(&mut self, record: &[u8]) -> Child {
            self.data.extend_from_slice(record);
            Child::Data(self.data.len() - record.len())
        }

        fn bytes(&self, record_size: u16) -> Vec<u8> {
            let count = self.nodes.len();
            let number = |child| match child {
                Child::Nothing => count,
                Child::Node(node) => node,
                Child::Data(offset) => count + 16 + offset,
            };
            let mut bytes = Vec::new();
            for [left, right] in self
                .nodes
                .iter()
                .map(|node| node.map(|child| (number(child) as u32).to_be_bytes()))
            {
                match record_size {
                    24 => bytes.extend([&left[1..], &right[1..]].concat()),
                    28 => {
                        bytes.extend([&left[1..], &[left[0] << 4 | right[0]], &right[1..]].concat())
                    }
                    _ => bytes.extend([left, right].concat()),
                }
            }
            bytes.extend([0; 16]);
            bytes.extend(&self.data);
            bytes.extend(b"\xab\xcd\xefMaxMind.com");
            let short = |key: &str, value: u16| {
                [text(key), vec![0xa2], value.to_be_bytes().to_vec()].concat()
            };
            bytes.push(0xe0 | 9);
            bytes.extend(short("binary_format_major_version", 2));
            bytes.extend(short("binary_format_minor_version", 0));
            bytes.extend([text("build_epoch"), vec![0x00, 0x02]].concat());
            bytes.extend([text("database_type"), text("Hand-Made")].concat());
            bytes.extend([text("description"), vec![0xe0]].concat());
            bytes.extend(short("ip_version", if self.bits == 32 { 4 } else { 6 }));
            bytes.extend([text("languages"), vec![0x00, 0x04]].concat());
            bytes.extend(
                [
                    text("node_count"),
                    vec![0xc4],
                    (count as u32).to_be_bytes().to_vec(),
                ]
                .concat(),
            );
            bytes.extend(short("record_size", record_size));
            bytes
        }
    }

    fn text(text: &str) -> Vec<u8> {
        match text.len() {
            length @ 0..29 => [&[0x40 | length as u8], text.as_bytes()].concat(),
            length => [&[0x40 | 29, length as u8 - 29], text.as_bytes()].concat(),
        }
    }

    /// A map of texts.
    fn flat(fields: &[(&str, &str)]) -> Vec<u8> {
        let texts = fields
            .iter()
            .flat_map(|(key, value)| [text(key), text(value)].concat());
        std::iter::once(0xe0 | fields.len() as u8)
            .chain(texts)
            .collect()
    }

    /// A record with a country.
    fn country(code: &str) -> Vec<u8> {
        [
            vec![0xe1],
            text("country"),
            vec![0xe1],
            text("iso_code"),
            text(code),
        ]
        .concat()
    }

    fn city_error(bytes: &[u8]) -> String {
        Locations::read(Some(bytes), None).unwrap_err().to_string()
    }

    fn country_at(locations: &Locations, address: &str) -> Option<String> {
        locations
            .locate(address.parse().unwrap())
            .and_then(|l| l.country)
            .map(|code| code.to_string())
    }

    #[test]
    fn trees_of_every_record_size_are_walked() {
        for (size, bits) in [
            (24, 32),
            (28, 32),
            (32, 32),
            (24, 128),
            (28, 128),
            (32, 128),
        ] {
            let mut tree = HandMade::new(bits);
            let (ie, jp) = (tree.record(&country("IE")), tree.record(&country("JP")));
            tree.put("10.0.0.0/8", ie);
            tree.put("10.1.0.0/16", jp);
            tree.put("255.255.255.255/32", ie);
            let locations = Locations::read(Some(&tree.bytes(size)), None).unwrap();
            let found = [
                "9.9.9.9",
                "10.0.0.0",
                "10.1.2.3",
                "10.2.0.0",
                "11.0.0.0",
                "255.255.255.255",
                "::1",
                "2001:db8::",
            ]
            .map(|address| country_at(&locations, address));
            let [ie, jp] = ["IE", "JP"].map(|code| Some(code.to_owned()));
            assert_eq!(
                found,
                [None, ie.clone(), jp, ie.clone(), None, ie, None, None],
                "{size} {bits}"
            );
        }
    }

    #[test]
    fn aliases_of_the_ipv4_tree_are_left_out() {
        let mut tree = HandMade::new(128);
        let (ie, jp) = (tree.record(&country("IE")), tree.record(&country("JP")));
        tree.put("1.0.0.0/8", ie);
        tree.put("2400::/12", jp);
        let root = (0..96).fold(0, |node, _| match tree.nodes[node][0] {
            Child::Node(next) => next,
            _ => unreachable!("1.0.0.0/8 is below ::/96"),
        });
        tree.put("2002::/16", Child::Node(root));
        tree.put("::ffff:0:0/96", Child::Node(root));
        let locations = Locations::read(Some(&tree.bytes(24)), None).unwrap();
        assert_eq!(country_at(&locations, "1.2.3.4").as_deref(), Some("IE"));
        assert_eq!(country_at(&locations, "2400::1").as_deref(), Some("JP"));
        assert_eq!(country_at(&locations, "2002:102:304::"), None);
        assert_eq!(country_at(&locations, "::ffff:1.2.3.4"), None);
    }

    #[test]
    fn a_record_around_ipv4_is_ipv4_s_too() {
        let mut tree = HandMade::new(128);
        let ie = tree.record(&country("IE"));
        tree.put("::/8", ie);
        let locations = Locations::read(Some(&tree.bytes(24)), None).unwrap();
        assert_eq!(country_at(&locations, "203.0.113.9").as_deref(), Some("IE"));
        assert_eq!(country_at(&locations, "64:ff9c::").as_deref(), Some("IE"));
        assert_eq!(country_at(&locations, "2001:db8::"), None);
    }

    #[test]
    fn a_tree_that_is_none_ends_in_an_error_soon() {
        let mut tree = HandMade::new(128);
        let ie = tree.record(&country("IE"));
        tree.nodes = (1..=120)
            .map(|next| [Child::Node(next); 2])
            .chain([[ie; 2]])
            .collect();
        assert!(city_error(&tree.bytes(24)).contains("nodes are reached again and again"));
        tree.nodes = vec![[Child::Node(0), Child::Nothing]];
        assert!(city_error(&tree.bytes(24)).contains("deeper than an address has bits"));
    }

    #[test]
    fn flat_layouts_are_read() {
        let mut tree = HandMade::new(32);
        let old = tree.record(&flat(&[
            ("continent", "EU"),
            ("country", "IE"),
            ("asn", "AS64500"),
            ("lat", "53.35"),
            ("lng", "-6.26"),
        ]));
        let lite = [
            ("continent", "Asia"),
            ("continent_code", "AS"),
            ("country", "Japan"),
            ("country_code", "JP"),
        ];
        let lite = tree.record(&flat(&lite));
        tree.put("10.0.0.0/8", old);
        tree.put("11.0.0.0/8", lite);
        let bytes = tree.bytes(24);
        let locations = Locations::read(Some(&bytes), Some(&bytes)).unwrap();
        let old = locations.locate("10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(
            (
                old.continent.unwrap().as_str(),
                old.country.unwrap().as_str()
            ),
            ("EU", "IE")
        );
        assert_eq!(old.coordinates.unwrap().latitude, 53.35);
        assert_eq!(locations.asn("10.0.0.1".parse().unwrap()), Some(64500));
        let lite = locations.locate("11.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(
            (
                lite.continent.unwrap().as_str(),
                lite.country.unwrap().as_str()
            ),
            ("AS", "JP")
        );
        assert_eq!(locations.asn("11.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn other_files_are_refused_by_what_they_are() {
        assert_eq!(city_error(b""), "the file is empty");
        assert!(
            city_error(b"network,country\n").starts_with("is not an MMDB, or its end is missing")
        );
        let mut tree = HandMade::new(32);
        let anonymous = tree.record(&flat(&[("is_anonymous", "yes")]));
        tree.put("10.0.0.0/8", anonymous);
        assert!(
            city_error(&tree.bytes(24))
                .contains("is an MMDB of type \"Hand-Made\", and no record in it has a continent")
        );
        let error = Locations::read(None, Some(EMBEDDED)).unwrap_err();
        assert_eq!(error.problem, Problem::Layout("Meridian-City".to_owned()));
        assert!(
            error.to_string().contains("autonomous_system_number"),
            "{error}"
        );
        let odd = [vec![0xe1], text("location"), text("Dublin")].concat();
        let odd = tree.record(&odd);
        tree.put("10.1.0.0/16", odd);
        let error = city_error(&tree.bytes(24));
        let expected = "is damaged: none of its records can be used, and those of 1 networks not even be read; the first, of 10.1.0.0/16:";
        assert!(error.starts_with(expected), "{error}");
    }

    /// A City database as other programs write it: a record for each network.
    fn written(rows: &[(&str, serde_json::Value)]) -> Vec<u8> {
        let mut database = maxminddb_writer::Database::default();
        database.metadata.ip_version = maxminddb_writer::metadata::IpVersion::V4;
        database.metadata.binary_format_major_version = 2;
        database.metadata.database_type = "Odd-City".to_owned();
        for (network, record) in rows {
            let record = database.insert_value(record).unwrap();
            let (address, length) = network.split_once('/').unwrap();
            let network = maxminddb_writer::paths::IpAddrWithMask::new(
                address.parse().unwrap(),
                length.parse().unwrap(),
            );
            database.insert_node(network, record);
        }
        database.write_to(Vec::new()).unwrap()
    }

    #[test]
    fn one_odd_record_does_not_refuse_the_file() {
        let good = |code: &str| serde_json::json!({ "country": { "iso_code": code } });
        let odd = serde_json::json!({ "country": { "iso_code": "DE" }, "subdivisions": { "iso_code": "HE" } });
        let bytes = written(&[
            ("10.0.0.0/8", good("IE")),
            ("20.0.0.0/8", odd.clone()),
            ("21.0.0.0/16", odd),
            ("30.0.0.0/8", good("JP")),
        ]);
        let locations = Locations::read(Some(&bytes), None).unwrap();
        assert_eq!(country_at(&locations, "10.1.2.3").as_deref(), Some("IE"));
        assert_eq!(country_at(&locations, "20.1.2.3"), None);
        assert_eq!(country_at(&locations, "21.0.2.3"), None);
        assert_eq!(country_at(&locations, "30.1.2.3").as_deref(), Some("JP"));
        let [(Database::City, skipped)] = locations.skipped() else {
            panic!("{:?}", locations.skipped())
        };
        assert_eq!(
            (skipped.networks, skipped.first.as_str()),
            (2, "20.0.0.0/8")
        );
        assert!(
            skipped.why.contains("expected array, got type 7"),
            "a map in place of a list: {}",
            skipped.why
        );
    }

    #[test]
    fn a_database_with_countries_alone_knows_continents() {
        let bytes = written(&[(
            "10.0.0.0/8",
            serde_json::json!({ "country": { "iso_code": "BR" } }),
        )]);
        let locations = Locations::read(Some(&bytes), None).unwrap();
        let place = locations.locate("10.1.2.3".parse().unwrap()).unwrap();
        assert_eq!(
            place.continent.map(|code| code.to_string()).as_deref(),
            Some("SA")
        );
        let known = crate::geo::Known {
            continents: true,
            countries: true,
            ..Default::default()
        };
        assert_eq!(locations.known(), known);
    }

    #[test]
    fn a_packed_file_is_said_to_be_one() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        // The marker of an MMDB inside an archive that is not compressed.
        tar.extend(EMBEDDED);
        for (bytes, packing, said, command) in [
            (
                &b"\x1f\x8b\x08\0rest"[..],
                Packing::Gzip,
                "is a gzip file, and the MMDB is inside it",
                "gzip -dc 'a.mmdb'",
            ),
            (
                &tar,
                Packing::Tar,
                "is a tar file",
                "tar -xOf 'a.mmdb' --wildcards '*.mmdb' > new.mmdb",
            ),
            (
                b"PK\x03\x04rest",
                Packing::Zip,
                "is a zip file",
                "unzip -p 'a.mmdb' '*.mmdb'",
            ),
            (
                b"\xfd7zXZ\0rest",
                Packing::Xz,
                "is a xz file",
                "xz -dc 'a.mmdb'",
            ),
        ] {
            let error = Locations::read(Some(bytes), None).unwrap_err();
            assert_eq!(error.problem, Problem::Packed(packing));
            assert!(error.to_string().starts_with(said), "{error}");
            assert!(
                packing.unpack("a.mmdb").contains(command),
                "{}",
                packing.unpack("a.mmdb")
            );
        }
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        for length in (0..EMBEDDED.len()).step_by(97) {
            assert!(
                Locations::read(Some(&EMBEDDED[..length]), None).is_err(),
                "{length}"
            );
            let end = (length + 100).min(EMBEDDED.len());
            let hole = [&EMBEDDED[..length], &EMBEDDED[end..]].concat();
            if let Ok(locations) = Locations::read(Some(&hole), None) {
                assert!(locations.places.len() <= EMBEDDED.len());
            }
        }
    }
}
