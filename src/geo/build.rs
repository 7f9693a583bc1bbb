//! An address plan → an MMDB.
//!
//! The plan is CSV with a header line. `network` is required; the other columns (`continent`,
//! `country`, `subdivision`, `city`, `latitude`, `longitude`, `asn`) may be left out or empty, and
//! lines that start with `#` are comments. A row inside another row's network replaces it there
//! altogether, nothing is inherited; a row with a network alone says that nothing is known.
//!
//! The MMDB has the GeoIP2 City layout, with `autonomous_system_number` beside it where a row has
//! an `asn`: the same file then serves as `[geo] city` and as `[geo] asn`. Equal plans give equal
//! bytes: the build time in it is always the same.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::{IntoBitPath, IpAddrWithMask};
use serde::Serialize;

use super::FastMap;
use super::continents::continent_of;
use super::embedded;
use super::location::{Code, Location, Subdivision};
use super::locations::Locations;
use super::networks::Nesting;
use crate::diag::{At, Diagnostics, did_you_mean};
use crate::model::{Coordinates, Prefix};

/// The columns, in the order of the documentation.
pub const COLUMNS: [&str; 8] = [
    "network",
    "continent",
    "country",
    "subdivision",
    "city",
    "latitude",
    "longitude",
    "asn",
];

const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

/// The MMDB of the plan `text`, which diagnostics call `file`; or everything wrong with the plan.
pub fn build(file: &str, text: &str) -> Result<Vec<u8>, Diagnostics> {
    let mut reader = Plan {
        file: file.into(),
        diagnostics: Diagnostics::default(),
    };
    let rows = reader.rows(text);
    reader.refuse_duplicates(&rows);
    if reader.diagnostics.has_errors() {
        return Err(reader.diagnostics);
    }
    write(&rows)
        .and_then(|bytes| read_back(&bytes, &rows).map(|()| bytes))
        .map_err(|problem| {
            let at = At::file(reader.file.clone());
            reader
                .diagnostics
                .error("no-mmdb", at, "", problem.to_string());
            reader.diagnostics
        })
}

/// One row of the plan.
#[derive(Debug)]
struct Row {
    line: u32,
    network: Prefix,
    location: Location,
    city: String,
    asn: Option<u32>,
}

/// Reads a plan, and collects what is wrong with it.
struct Plan {
    file: Arc<str>,
    diagnostics: Diagnostics,
}

/// The fields of one row.
struct Fields<'a> {
    record: &'a csv::StringRecord,
    columns: &'a BTreeMap<&'static str, usize>,
    line: u32,
}

impl Fields<'_> {
    /// The text in `column`; empty where the plan does not have it.
    fn get(&self, column: &str) -> &str {
        self.columns
            .get(column)
            .and_then(|index| self.record.get(*index))
            .unwrap_or("")
    }
}

impl Plan {
    fn rows(&mut self, text: &str) -> Vec<Row> {
        // Some spreadsheets write a byte order mark, which would become part of the first column's name.
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .comment(Some(b'#'))
            // A short row leaves its last columns empty; a long one is reported below, with its
            // line.
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut columns = None;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error
                        .position()
                        .map_or(0, |position| line_number(position.line()));
                    self.error("bad-csv", line, "", error.to_string());
                    break;
                }
            };
            let line = record
                .position()
                .map_or(0, |position| line_of(text, position));
            match &columns {
                None => match self.header(&record, line) {
                    Some(header) => columns = Some((header, record.len())),
                    None => return rows,
                },
                Some((_, width)) if record.len() > *width => {
                    self.error(
                        "too-many-fields",
                        line,
                        "",
                        format!("has {} fields, the header has {width}", record.len()),
                    );
                }
                Some((columns, _)) => rows.extend(self.row(&Fields {
                    record: &record,
                    columns,
                    line,
                })),
            }
        }
        if columns.is_none() && !self.diagnostics.has_errors() {
            self.error("no-header", 0, "", "the plan is empty".to_owned());
        }
        rows
    }

    /// Places of the columns.
    fn header(
        &mut self,
        record: &csv::StringRecord,
        line: u32,
    ) -> Option<BTreeMap<&'static str, usize>> {
        let mut columns = BTreeMap::new();
        let errors = self.diagnostics.errors();
        for (index, name) in record.iter().enumerate() {
            match COLUMNS.iter().find(|column| **column == name) {
                Some(column) if columns.insert(*column, index).is_none() => {}
                Some(column) => self.error(
                    "duplicate-column",
                    line,
                    column,
                    "stands in the header twice".to_owned(),
                ),
                None => {
                    let at = self.at(line);
                    let error = self.diagnostics.error(
                        "unknown-column",
                        at,
                        name,
                        "is not a column of an address plan",
                    );
                    match did_you_mean(name, COLUMNS) {
                        Some(column) => error.hint(format!("did you mean {column}?")),
                        None => error.hint(format!(
                            "the first line names the columns, of these: {}",
                            COLUMNS.join(",")
                        )),
                    };
                }
            }
        }
        if !columns.contains_key("network") && self.diagnostics.errors() == errors {
            self.error(
                "no-network-column",
                line,
                "network",
                "is not in the header".to_owned(),
            );
        }
        (self.diagnostics.errors() == errors).then_some(columns)
    }

    /// One row; `None` when something is wrong with it, which is then said.
    fn row(&mut self, fields: &Fields<'_>) -> Option<Row> {
        let errors = self.diagnostics.errors();
        let network = self.network(fields);
        let continent = self.continent(fields);
        let country = self.country(fields);
        let subdivision = self.subdivision(fields, country);
        let coordinates = self.coordinates(fields);
        let asn = self.asn(fields);
        let location = Location {
            continent,
            country,
            subdivision,
            wider_subdivision: None,
            coordinates,
        };
        (self.diagnostics.errors() == errors).then_some(Row {
            line: fields.line,
            network: network?,
            location,
            city: fields.get("city").to_owned(),
            asn,
        })
    }

    fn network(&mut self, fields: &Fields<'_>) -> Option<Prefix> {
        let text = fields.get("network");
        let prefix: Prefix = match text.parse() {
            Ok(prefix) => prefix,
            Err(error) => {
                self.error(
                    "bad-network",
                    fields.line,
                    "network",
                    format!("{text:?} {error}"),
                );
                return None;
            }
        };
        let IpAddr::V6(address) = prefix.address() else {
            return Some(prefix);
        };
        let address = address.to_bits();
        if address >> 32 == 0 {
            let message = format!("{prefix} is in or around ::/96, which an MMDB uses for IPv4");
            self.error("network-of-ipv4", fields.line, "network", message);
            return None;
        }
        if let Some(embedding) = embedded::around(address, prefix.length()) {
            let at = self.at(fields.line);
            let message = format!(
                "{prefix} is inside {}: such clients are looked up by their IPv4 address",
                embedding.name
            );
            self.diagnostics
                .error("network-of-ipv4", at, "network", message)
                .hint("write the IPv4 network");
            return None;
        }
        Some(prefix)
    }

    fn continent(&mut self, fields: &Fields<'_>) -> Option<Code> {
        let text = fields.get("continent");
        if !text.is_empty() && !CONTINENTS.contains(&text) {
            let message = format!("{text:?} is not one of {}", CONTINENTS.join(" "));
            self.error("bad-continent", fields.line, "continent", message);
        }
        Code::new(text)
    }

    fn country(&mut self, fields: &Fields<'_>) -> Option<Code> {
        let text = fields.get("country");
        let code = Code::new(text).filter(|_| text.bytes().all(|b| b.is_ascii_uppercase()));
        if !text.is_empty() && code.is_none() {
            let message =
                format!("{text:?} is not an ISO 3166-1 code of two upper-case letters, like IE");
            self.error("bad-country", fields.line, "country", message);
        }
        code
    }

    fn subdivision(&mut self, fields: &Fields<'_>, country: Option<Code>) -> Option<Subdivision> {
        let text = fields.get("subdivision");
        if text.is_empty() {
            return None;
        }
        let split = text.split_once('-').and_then(|(of, part)| {
            let of = Code::new(of)?;
            Some((of, Subdivision::new(of, part)?))
        });
        match split {
            None => {
                let message =
                    format!("{text:?} is not an ISO 3166-2 code in upper case, like US-CA");
                self.error("bad-subdivision", fields.line, "subdivision", message);
            }
            Some((of, _)) if country != Some(of) => {
                let message =
                    format!("{text} is a subdivision of {of}, which is not the row's country");
                self.error("foreign-subdivision", fields.line, "subdivision", message);
            }
            Some(_) => {}
        }
        split.map(|(_, subdivision)| subdivision)
    }

    fn coordinates(&mut self, fields: &Fields<'_>) -> Option<Coordinates> {
        let latitude = self.degrees(fields, "latitude", 90.0);
        let longitude = self.degrees(fields, "longitude", 180.0);
        for (column, other) in [("latitude", "longitude"), ("longitude", "latitude")] {
            if fields.get(column).is_empty() && !fields.get(other).is_empty() {
                self.error(
                    "half-coordinates",
                    fields.line,
                    column,
                    format!("is missing, and {other} is there"),
                );
            }
        }
        Some(Coordinates {
            latitude: latitude?,
            longitude: longitude?,
        })
    }

    fn degrees(&mut self, fields: &Fields<'_>, column: &str, limit: f64) -> Option<f64> {
        let text = fields.get(column);
        if text.is_empty() {
            return None;
        }
        let degrees = text
            .parse::<f64>()
            .ok()
            .filter(|degrees| degrees.abs() <= limit);
        if degrees.is_none() {
            self.error(
                "bad-coordinates",
                fields.line,
                column,
                format!("{text:?} is not a number from -{limit} to {limit}"),
            );
        }
        degrees
    }

    fn asn(&mut self, fields: &Fields<'_>) -> Option<u32> {
        let text = fields.get("asn");
        let asn = text
            .strip_prefix("AS")
            .unwrap_or(text)
            .parse()
            .ok()
            .filter(|asn| *asn != 0);
        if !text.is_empty() && asn.is_none() {
            let message = format!("{text:?} is not an AS number from 1 to {}", u32::MAX);
            self.error("bad-asn", fields.line, "asn", message);
        }
        asn
    }

    fn refuse_duplicates(&mut self, rows: &[Row]) {
        let mut lines = FastMap::default();
        for row in rows {
            if let Some(first) = lines.insert(row.network, row.line) {
                let message = format!("{} has a row already, in line {first}", row.network);
                self.error("duplicate-network", row.line, "network", message);
            }
        }
    }

    fn error(&mut self, rule: &'static str, line: u32, key: &str, message: String) {
        let at = self.at(line);
        self.diagnostics.error(rule, at, key, message);
    }

    fn at(&self, line: u32) -> At {
        At::new(self.file.clone(), line, 0, 0)
    }
}

/// A line as diagnostics have it; those behind the 4 294 967 295th are all that one.
fn line_number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The line of the record that was read from `position` on: the reader counts the comments and empty
/// lines before a record as its own.
fn line_of(text: &str, position: &csv::Position) -> u32 {
    let rest = text.get(position.byte() as usize..).unwrap_or("");
    let skipped = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .count();
    line_number(position.line() + skipped as u64)
}

/// A record in the GeoIP2 City layout.
#[derive(Debug, Serialize, Default)]
struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<City<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continent: Option<Continent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<IsoCode<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdivisions: Option<[IsoCode<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    autonomous_system_number: Option<u32>,
}

#[derive(Debug, Serialize)]
struct City<'a> {
    names: Names<'a>,
}

#[derive(Debug, Serialize)]
struct Names<'a> {
    en: &'a str,
}

#[derive(Debug, Serialize)]
struct Continent<'a> {
    code: &'a str,
}

#[derive(Debug, Serialize)]
struct IsoCode<'a> {
    iso_code: &'a str,
}

#[derive(Debug, Serialize)]
struct Point {
    latitude: f64,
    longitude: f64,
}

impl<'a> Record<'a> {
    fn of(row: &'a Row) -> Record<'a> {
        let Location {
            continent,
            country,
            subdivision,
            coordinates,
            ..
        } = &row.location;
        Record {
            city: (!row.city.is_empty()).then_some(City {
                names: Names { en: &row.city },
            }),
            continent: continent.as_ref().map(|code| Continent {
                code: code.as_str(),
            }),
            country: country.as_ref().map(|code| IsoCode {
                iso_code: code.as_str(),
            }),
            location: coordinates.map(
                |Coordinates {
                     latitude,
                     longitude,
                 }| Point {
                    latitude,
                    longitude,
                },
            ),
            subdivisions: subdivision.as_ref().map(|code| {
                [IsoCode {
                    iso_code: &code.as_str()[3..],
                }]
            }),
            autonomous_system_number: row.asn,
        }
    }
}

/// The reason why a sound plan does not become an MMDB.
#[derive(Debug)]
enum NoMmdb {
    /// No row has a location or an AS number.
    Empty,
    /// The writer refused it, with its reason.
    Refused(String),
    /// The file that it wrote cannot be read, with the reader's reason.
    Unreadable(String),
    /// The file has another location than the plan.
    Differs {
        address: IpAddr,
        found: Location,
        planned: Location,
    },
}

impl fmt::Display for NoMmdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoMmdb::Empty => f.write_str("no row says where its network is"),
            NoMmdb::Refused(why) => f.write_str(why),
            NoMmdb::Unreadable(why) => write!(f, "the MMDB made of it {why}"),
            NoMmdb::Differs {
                address,
                found,
                planned,
            } => write!(
                f,
                "the MMDB made of it says {found:?} for {address}, the plan {planned:?}"
            ),
        }
    }
}

fn write(rows: &[Row]) -> Result<Vec<u8>, NoMmdb> {
    let mut database = Database::default();
    database.metadata.ip_version = IpVersion::V6;
    database.metadata.binary_format_major_version = 2;
    database.metadata.database_type = "Meridian-City".to_owned();
    // libmaxminddb takes 0 for a broken file, and with it every program that reads MMDBs through it.
    database.metadata.build_epoch = 1;
    database.metadata.languages = vec!["en".to_owned()];
    database.metadata.description.insert(
        "en".to_owned(),
        "An address plan, made by meridian geoip build".to_owned(),
    );
    // A short prefix written after a longer one inside it would bury that.
    let mut order: Vec<&Row> = rows.iter().collect();
    order.sort_by_key(|row| (row.network.length(), row.network));
    let mut records = FastMap::default();
    for row in order {
        let key = (
            row.location.continent,
            row.location.country,
            row.location.subdivision,
        );
        let coordinates = row
            .location
            .coordinates
            .map(|c| (c.latitude.to_bits(), c.longitude.to_bits()));
        // Rows that say the same share a record: the file is smaller, and a server decodes it once.
        let record = match records.entry((key, coordinates, &row.city, row.asn)) {
            std::collections::hash_map::Entry::Occupied(known) => *known.get(),
            std::collections::hash_map::Entry::Vacant(new) => *new.insert(
                database
                    .insert_value(Record::of(row))
                    .map_err(|error| NoMmdb::Refused(error.to_string()))?,
            ),
        };
        let (address, length) = (row.network.address(), row.network.length());
        // In an IPv6 tree, IPv4 is below ::/96.
        let before = if address.is_ipv4() { 96 } else { 0 };
        let path = std::iter::repeat_n(false, before)
            .chain(IpAddrWithMask::new(address, length).into_bit_path());
        database.insert_node(path, record);
    }
    database
        .write_to(Vec::new())
        .map_err(|error| NoMmdb::Refused(error.to_string()))
}

/// The location that a reader of the file finds for the network of `row`: with a country it knows
/// the continent.
fn read_as(row: &Row) -> Location {
    let continent = row
        .location
        .continent
        .or_else(|| continent_of(row.location.country?));
    Location {
        continent,
        ..row.location
    }
}

/// The address at `start` of a table of IPv4 or of IPv6.
fn address(v4: bool, start: u128) -> IpAddr {
    if v4 {
        let start = u32::try_from(start).expect("an IPv4 table has IPv4 addresses");
        IpAddr::V4(start.into())
    } else {
        IpAddr::V6(start.into())
    }
}

/// Reads the file as the server does and compares it with the plan, address range by address range.
fn read_back(bytes: &[u8], rows: &[Row]) -> Result<(), NoMmdb> {
    let nesting = Nesting::new(&rows.iter().map(|row| row.network).collect::<Vec<_>>());
    let mut ranges: Vec<(IpAddr, Location, Option<u32>)> = Vec::new();
    for v4 in [true, false] {
        for (start, row) in nesting.runs(v4) {
            let row = row.map(|row| &rows[row]);
            let location = row.map(read_as).unwrap_or_default();
            ranges.push((address(v4, *start), location, row.and_then(|row| row.asn)));
        }
    }
    let has_locations = ranges
        .iter()
        .any(|(_, location, _)| *location != Location::default());
    let has_asns = ranges.iter().any(|(_, _, asn)| asn.is_some());
    if !has_locations && !has_asns {
        return Err(NoMmdb::Empty);
    }
    let locations = Locations::read(has_locations.then_some(bytes), has_asns.then_some(bytes))
        .map_err(|error| NoMmdb::Unreadable(error.to_string()))?;
    // Whatever the writer may do wrong, no plan becomes a file that says something else.
    for (address, location, asn) in ranges {
        let found = locations.locate(address).copied().unwrap_or_default();
        if found != location || locations.asn(address) != asn {
            return Err(NoMmdb::Differs {
                address,
                found,
                planned: location,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use maxminddb::{Reader, geoip2};

    use super::*;
    use crate::geo::EMBEDDED;

    fn refused(plan: &str) -> Vec<String> {
        build("plan.csv", plan)
            .unwrap_err()
            .iter()
            .map(|diagnostic| diagnostic.to_string())
            .collect()
    }

    #[test]
    fn the_embedded_file_is_what_its_plan_makes() {
        let plan = include_str!("../../geoip/world.csv");
        assert!(
            build("geoip/world.csv", plan).unwrap() == EMBEDDED,
            "make geoip/world.mmdb anew: see geoip/README.md"
        );
    }

    #[test]
    fn others_read_it_as_a_city_database() {
        let plan = "network,continent,country,subdivision,city,latitude,longitude,asn\n\
                    10.0.0.0/8,EU,IE,IE-D,Dublin,53.35,-6.26,AS64500\n\
                    10.1.0.0/16,NA,US,,,,,\n";
        let bytes = build("plan.csv", plan).unwrap();
        let reader = Reader::from_source(&bytes[..]).unwrap();
        reader.verify().unwrap();
        let city = |address: &str| {
            reader
                .lookup(address.parse().unwrap())
                .unwrap()
                .decode::<geoip2::City>()
                .unwrap()
        };
        let dublin = city("10.2.3.4").unwrap();
        assert_eq!(dublin.city.names.english, Some("Dublin"));
        assert_eq!(dublin.country.iso_code, Some("IE"));
        assert_eq!(dublin.subdivisions[0].iso_code, Some("D"));
        assert_eq!(dublin.location.longitude, Some(-6.26));
        assert_eq!(city("10.1.3.4").unwrap().country.iso_code, Some("US"));
        assert!(city("11.0.0.1").is_none());
        let asn = reader
            .lookup("10.2.3.4".parse().unwrap())
            .unwrap()
            .decode::<geoip2::Asn>()
            .unwrap()
            .unwrap();
        assert_eq!(asn.autonomous_system_number, Some(64500));
    }

    #[test]
    fn libmaxminddb_takes_a_build_time_of_zero_for_a_broken_file() {
        let bytes = build("plan.csv", "network,country\n10.0.0.0/8,IE\n").unwrap();
        assert_eq!(
            Reader::from_source(&bytes[..])
                .unwrap()
                .metadata()
                .build_epoch,
            1
        );
        assert_eq!(
            Reader::from_source(EMBEDDED)
                .unwrap()
                .metadata()
                .build_epoch,
            1
        );
    }

    #[test]
    fn columns_may_be_fewer_and_in_any_order() {
        let plan = "# our address plan\r\n\r\nasn, network\r\n64500, 10.0.0.0/8\r\n,10.9.0.0/16\r\n64501,2001:db8::/32\r\n";
        let bytes = build("plan.csv", plan).unwrap();
        let locations = Locations::read(None, Some(&bytes)).unwrap();
        let asn = |address: &str| locations.asn(address.parse().unwrap());
        assert_eq!(
            [
                asn("10.0.0.1"),
                asn("10.9.0.1"),
                asn("2001:db8::1"),
                asn("11.0.0.1")
            ],
            [Some(64500), None, Some(64501), None]
        );
    }

    #[test]
    fn every_bad_row_is_named() {
        let plan = "\
network,continent,country,subdivision,city,latitude,longitude,asn
10.0.0.0/33,EU,IE,,,,,
10.0.0.1/8,EU,IE,,,,,
dublin,EU,IE,,,,,
# a comment counts as a line
10.0.0.0/8,EN,ie,US-CA,,53,,AS0
10.1.0.0/16,EU,IE,IE-Dublin,,91,180.5,64500x
10.1.0.0/16,EU,IE,US-CA,,NaN,0,
10.2.0.0/16,EU,IE,,,,,,,
::/0,EU,,,,,,
2002:c000::/24,EU,,,,,,
10.3.0.0/16,EU,IE,,,,,
10.3.0.0/16,EU,IE,,,,,
";
        let expected = [
            "plan.csv:2: error[bad-network]: network: \"10.0.0.0/33\" has a prefix length that is not 0 … 32 (IPv4) or 0 … 128 (IPv6)",
            "plan.csv:3: error[bad-network]: network: \"10.0.0.1/8\" has bits set past its prefix length",
            "plan.csv:4: error[bad-network]: network: \"dublin\" is not an IPv4 or IPv6 address",
            "plan.csv:6: error[bad-continent]: continent: \"EN\" is not one of AF AN AS EU NA OC SA",
            "plan.csv:6: error[bad-country]: country: \"ie\" is not an ISO 3166-1 code of two upper-case letters, like IE",
            "plan.csv:6: error[foreign-subdivision]: subdivision: US-CA is a subdivision of US, which is not the row's country",
            "plan.csv:6: error[half-coordinates]: longitude: is missing, and latitude is there",
            "plan.csv:6: error[bad-asn]: asn: \"AS0\" is not an AS number from 1 to 4294967295",
            "plan.csv:7: error[bad-subdivision]: subdivision: \"IE-Dublin\" is not an ISO 3166-2 code in upper case, like US-CA",
            "plan.csv:7: error[bad-coordinates]: latitude: \"91\" is not a number from -90 to 90",
            "plan.csv:7: error[bad-coordinates]: longitude: \"180.5\" is not a number from -180 to 180",
            "plan.csv:7: error[bad-asn]: asn: \"64500x\" is not an AS number from 1 to 4294967295",
            "plan.csv:8: error[foreign-subdivision]: subdivision: US-CA is a subdivision of US, which is not the row's country",
            "plan.csv:8: error[bad-coordinates]: latitude: \"NaN\" is not a number from -90 to 90",
            "plan.csv:9: error[too-many-fields]: has 10 fields, the header has 8",
            "plan.csv:10: error[network-of-ipv4]: network: ::/0 is in or around ::/96, which an MMDB uses for IPv4",
            "plan.csv:11: error[network-of-ipv4]: network: 2002:c000::/24 is inside 6to4: such clients are looked up by their \
             IPv4 address (write the IPv4 network)",
            "plan.csv:13: error[duplicate-network]: network: 10.3.0.0/16 has a row already, in line 12",
        ];
        assert_eq!(refused(plan), expected);
    }

    #[test]
    fn a_bad_header_is_named() {
        assert_eq!(
            refused(""),
            ["plan.csv: error[no-header]: the plan is empty"]
        );
        assert_eq!(
            refused("network,contry,network,speed\n10.0.0.0/8,IE,,\n"),
            [
                "plan.csv:1: error[unknown-column]: contry: is not a column of an address plan (did you mean country?)",
                "plan.csv:1: error[duplicate-column]: network: stands in the header twice",
                "plan.csv:1: error[unknown-column]: speed: is not a column of an address plan (the first line names the columns, \
                 of these: network,continent,country,subdivision,city,latitude,longitude,asn)",
            ]
        );
        assert_eq!(
            refused("country\nIE\n"),
            ["plan.csv:1: error[no-network-column]: network: is not in the header"]
        );
    }

    #[test]
    fn a_plan_that_says_nothing_is_refused() {
        assert_eq!(
            refused("network\n10.0.0.0/8\n"),
            ["plan.csv: error[no-mmdb]: no row says where its network is"]
        );
    }
}
