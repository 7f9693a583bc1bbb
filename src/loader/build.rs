//! From files to a [`Dataset`]: what they say, joined with what the location databases say.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::{Content, InputFile, Inputs, Outcome, disk};
use crate::config::Config;
use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics, Sources};
use crate::geo::{Database, EMBEDDED, Locations, Problem, Skipped};

/// What came of building a dataset.
#[derive(Debug)]
pub struct Built {
    /// The dataset, unless a diagnostic is an error.
    pub dataset: Option<Dataset>,
    /// Everything wrong with the files, by file and position.
    pub diagnostics: Diagnostics,
    /// The text of every file read, for code frames.
    pub sources: Sources,
    /// The files, of which copies are kept; with a dataset only.
    pub inputs: Option<Inputs>,
    /// The location databases as they were when they were read.
    pub stamps: Stamps,
    /// What was in them.
    pub contents: Contents,
}

/// What is in the location databases: the SHA-256 of each that is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    city: Option<[u8; 32]>,
    asn: Option<[u8; 32]>,
}

/// Reads `config` and everything it leads to, and compiles it.
pub fn build(config: &Path) -> Built {
    let (outcome, stamps) = super::load_stamped(config);
    compile(outcome, stamps, None)
}

/// The same; where the location databases hold what `contents` says, what `before` has of them is used again, and so are its
/// maps that did not change.
pub fn rebuild(config: &Path, contents: &Contents, before: &Dataset) -> Built {
    let (outcome, read) = super::load_stamped(config);
    compile(outcome, read, Some((contents, before)))
}

/// What came of reading the location databases alone.
#[derive(Debug)]
pub enum Refreshed {
    /// They hold what they held before, whatever they look like.
    Same(Stamps),
    /// They do not, or cannot be read. The files in it are the databases only.
    Changed(Box<Built>),
}

/// Reads the location databases that `before` names, and nothing else: an edit of the other files that is not finished
/// stays unread. `contents` is what they held; `changed` hears that it is another content, before the maps are compiled.
pub fn refresh(contents: &Contents, before: &Dataset, changed: impl FnOnce()) -> Refreshed {
    let (mut stamps, mut diagnostics) = (Stamps::default(), Diagnostics::default());
    let geo = &before.config.geo;
    let mut read = |named: &Option<(PathBuf, At)>, key: &str| {
        let (path, at) = named.as_ref()?;
        stamps.add(path);
        match disk::read(path) {
            Ok(bytes) => Some(super::Database {
                at: at.clone(),
                path: path.clone(),
                bytes: Arc::new(bytes),
            }),
            Err(problem) => {
                let problem = problem.explain(path);
                diagnostics
                    .error(problem.rule, at.clone(), key, problem.message)
                    .hint = problem.hint;
                None
            }
        }
    };
    let (city, asn) = (read(&geo.city, "geo.city"), read(&geo.asn, "geo.asn"));
    let held = held(city.as_ref(), asn.as_ref());
    if !diagnostics.has_errors() && held == *contents {
        return Refreshed::Same(stamps);
    }
    changed();
    let mut built = Built {
        dataset: None,
        diagnostics,
        sources: Sources::new(),
        inputs: None,
        stamps,
        contents: held,
    };
    if !built.diagnostics.has_errors()
        && let Some(locations) = locations(city.as_ref(), asn.as_ref(), &mut built.diagnostics)
    {
        warn(&before.config, &locations, &mut built.diagnostics);
        built.dataset = Some(before.with_locations(locations));
        let file = |database: super::Database| InputFile {
            path: database.path,
            content: Content::Binary(database.bytes),
        };
        built.inputs = Some(Inputs {
            config: PathBuf::new(),
            files: [city, asn].into_iter().flatten().map(file).collect(),
        });
    }
    Refreshed::Changed(Box::new(built))
}

/// Builds from copies of the last good files, each by its original path.
pub fn build_copies(config: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> Built {
    let outcome = super::load_copies(config, files);
    // What was read are the copies: nothing is known of the databases on the disk, and a reload reads them.
    let stamps = outcome
        .loaded
        .as_ref()
        .map_or_else(Stamps::default, |loaded| Stamps::unseen(&loaded.config));
    let mut built = compile(outcome, stamps, None);
    if let Some(dataset) = &mut built.dataset {
        dataset.last_good = true;
    }
    built
}

fn compile(outcome: Outcome, stamps: Stamps, before: Option<(&Contents, &Dataset)>) -> Built {
    let Outcome {
        loaded,
        city,
        asn,
        mut diagnostics,
        sources,
    } = outcome;
    let mut built = Built {
        dataset: None,
        diagnostics: Diagnostics::default(),
        sources,
        inputs: None,
        stamps,
        contents: Contents::default(),
    };
    if let Some(loaded) = loaded.filter(|_| !diagnostics.has_errors()) {
        built.contents = held(city.as_ref(), asn.as_ref());
        let locations = match before {
            Some((contents, before)) if *contents == built.contents => {
                Some(before.locations.clone())
            }
            _ => locations(city.as_ref(), asn.as_ref(), &mut diagnostics),
        };
        if let Some(locations) = locations {
            warn(&loaded.config, &locations, &mut diagnostics);
            let before = before.map(|(_, dataset)| dataset);
            built.dataset = Some(Dataset::compile_after(before, loaded.config, locations));
            built.inputs = Some(loaded.inputs);
        }
    } else if city.is_some() || asn.is_some() {
        // What is wrong with a database is told of together with what else is wrong.
        locations(city.as_ref(), asn.as_ref(), &mut diagnostics);
    }
    built.diagnostics = diagnostics;
    built
}

fn held(city: Option<&super::Database>, asn: Option<&super::Database>) -> Contents {
    let sha256 = |database: &super::Database| {
        digest(&SHA256, &database.bytes)
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 octets")
    };
    Contents {
        city: city.map(sha256),
        asn: asn.map(sha256),
    }
}

/// What the databases say of addresses; `None` where one is no good, which is then reported. Without a city database the
/// embedded one is read.
fn locations(
    city: Option<&super::Database>,
    asn: Option<&super::Database>,
    out: &mut Diagnostics,
) -> Option<Arc<Locations>> {
    let city_bytes = city.map_or(EMBEDDED, |database| &database.bytes);
    let error = match Locations::read(
        Some(city_bytes),
        asn.map(|database| database.bytes.as_slice()),
    ) {
        Ok(locations) => return Some(Arc::new(locations)),
        Err(error) => error,
    };
    let (key, database) = match error.database {
        Database::City => ("geo.city", city),
        Database::Asn => ("geo.asn", asn),
    };
    let database = database.expect("the embedded database is held to be good by a test");
    let path = database.path.display().to_string();
    let hint = match error.problem {
        Problem::Packed(packing) => format!("unpack it: {}", packing.unpack(&path)),
        _ => "replace it by a complete MMDB in the GeoIP2 City, Country or ASN layout (geoip/README.md names sources), \
              or remove the key"
            .to_owned(),
    };
    out.error(
        "bad-mmdb",
        database.at.clone(),
        key,
        format!("{path}: {error}"),
    )
    .hint(hint);
    None
}

/// Warns of records that cannot be read, and of sources of maps that match nobody since the databases know no such thing.
fn warn(config: &Config, locations: &Locations, out: &mut Diagnostics) {
    for (
        database,
        Skipped {
            networks,
            first,
            why,
        },
    ) in locations.skipped()
    {
        let (key, named) = match database {
            Database::City => ("geo.city", &config.geo.city),
            Database::Asn => ("geo.asn", &config.geo.asn),
        };
        let Some((path, at)) = named else { continue };
        let networks = if *networks == 1 {
            "1 network".to_owned()
        } else {
            format!("{networks} networks")
        };
        let message = format!(
            "{}: the records of {networks} cannot be read; the first, of {first}: {why}",
            path.display()
        );
        out.warning("unreadable-record", at.clone(), key, message)
            .hint("nothing is known of these networks; tell whoever makes the database");
    }
    let known = locations.known();
    let placed = config
        .regions
        .iter()
        .any(|region| region.coordinates.is_some());
    for map in &config.maps {
        let city = "the database of [geo] city";
        let asn = if config.geo.asn.is_some() {
            "the database of [geo] asn"
        } else {
            "the configuration, without [geo] asn,"
        };
        for (used, known, source, database, what) in [
            (!map.asns.is_empty(), known.asns, "asns", asn, "AS number"),
            (
                !map.subdivisions.is_empty(),
                known.subdivisions,
                "subdivisions",
                city,
                "subdivision",
            ),
            (
                !map.countries.is_empty(),
                known.countries,
                "countries",
                city,
                "country",
            ),
            (
                !map.continents.is_empty(),
                known.continents,
                "continents",
                city,
                "continent",
            ),
            (
                map.by_distance && placed,
                known.coordinates,
                "by_distance",
                city,
                "coordinates",
            ),
        ] {
            if used && !known {
                let key = format!("maps.{}.{source}", map.name);
                let message =
                    format!("`{source}` matches nobody: {database} has no {what} of any network");
                let hint = match source {
                    "by_distance" => {
                        "take a database with coordinates (City), or set by_distance = false"
                    }
                    "asns" => "name a database of AS numbers in [geo] asn, or remove the entries",
                    _ => "take a database that has it, or remove the entries",
                };
                out.warning("unknown-to-database", map.at.clone(), key, message)
                    .hint(hint);
            }
        }
    }
}

/// What the location databases look like on disk: something in it changes whenever one is replaced or written to. Package
/// managers that set all times alike, and files that keep their length, are why time and length are not enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// One file: device, inode, length, and in nanoseconds when its content and when its inode changed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// The databases that `config` names, unlike any that are there.
    fn unseen(config: &Config) -> Stamps {
        let named = [&config.geo.city, &config.geo.asn].into_iter().flatten();
        Stamps(named.map(|(path, _)| (path.clone(), None)).collect())
    }

    /// Takes down how `path` looks. To be called before it is read: a change in between then shows as
    /// a change, and is read again.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), look(path)));
    }

    /// How the same files look now.
    pub fn look(&self) -> Stamps {
        Stamps(
            self.0
                .iter()
                .map(|(path, _)| (path.clone(), look(path)))
                .collect(),
        )
    }
}

fn look(path: &Path) -> Option<Stamp> {
    let seen = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: seen.dev(),
        inode: seen.ino(),
        length: seen.len(),
        modified: (seen.mtime(), seen.mtime_nsec()),
        changed: (seen.ctime(), seen.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ZONE: &str = "zone = \"z.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n'''\n";

    fn warnings(rows: &str, maps: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let plan =
            format!("network,continent,country,subdivision,city,latitude,longitude,asn\n{rows}\n");
        fs::write(
            path("city.mmdb"),
            crate::geo::build::build("plan.csv", &plan).unwrap(),
        )
        .unwrap();
        fs::create_dir(path("zones")).unwrap();
        fs::write(path("zones/z.toml"), ZONE).unwrap();
        let main = "[server]\nnode = \"n\"\n[geo]\ncity = \"city.mmdb\"\n[regions.a]\nlatitude = 1\nlongitude = 1\n[maps.default]\n";
        fs::write(path("meridian.toml"), format!("{main}{maps}")).unwrap();
        let built = build(&path("meridian.toml"));
        assert!(built.dataset.is_some(), "{:?}", built.diagnostics);
        built
            .diagnostics
            .iter()
            .map(|d| format!("{}: {}: {}", d.rule, d.key, d.message))
            .collect()
    }

    #[test]
    fn what_a_map_uses_and_the_database_never_has_is_warned_of() {
        let all = "asns = { \"64500\" = [\"a\"] }\nsubdivisions = { \"US-CA\" = [\"a\"] }\ncountries = { DE = [\"a\"] }\ncontinents = { EU = [\"a\"] }\n";
        let never = |source: &str, what: &str| {
            format!(
                "unknown-to-database: maps.default.{source}: `{source}` matches nobody: the database of [geo] city has no {what} of any network"
            )
        };
        let no_asn = "unknown-to-database: maps.default.asns: `asns` matches nobody: the configuration, without [geo] asn, has no AS number of any network";
        // A country has a continent, even where the database does not say so.
        assert_eq!(
            warnings("10.0.0.0/8,,DE,,,,,", all),
            [
                no_asn.to_owned(),
                never("subdivisions", "subdivision"),
                never("by_distance", "coordinates")
            ]
        );
        assert_eq!(
            warnings("10.0.0.0/8,,,,,1,1,", all),
            [
                no_asn.to_owned(),
                never("subdivisions", "subdivision"),
                never("countries", "country"),
                never("continents", "continent")
            ]
        );
        assert_eq!(
            warnings(
                "10.0.0.0/8,,DE,,,,,",
                "countries = { DE = [\"a\"] }\nby_distance = false\n"
            ),
            Vec::<String>::new()
        );
        assert_eq!(
            warnings(
                "10.0.0.0/8,EU,DE,DE-HE,Frankfurt,50.1,8.6,",
                "continents = { EU = [\"a\"] }\n"
            ),
            Vec::<String>::new()
        );
    }
}
