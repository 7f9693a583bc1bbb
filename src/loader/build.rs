//! From files to a [`Dataset`]: the configuration, compiled with the location databases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::stamps::Stamps;
use super::{Content, InputFile, Inputs, Outcome, reading};
use crate::config::Config;
use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics, Sources};
use crate::geo::{Database, EMBEDDED, Locations, Problem};
use crate::model::MapSpec;

/// The result of building a dataset.
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
    /// The content of those databases.
    pub contents: Contents,
}

/// The content of the location databases: the SHA-256 of each that is named.
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

/// Reads and compiles likewise. Where the location databases still hold `contents`, the tables that
/// `before` made of them are used again, and so are its maps that did not change.
pub fn rebuild(config: &Path, contents: &Contents, before: &Dataset) -> Built {
    let (outcome, read) = super::load_stamped(config);
    compile(outcome, read, Some((contents, before)))
}

/// The result of reading the location databases alone.
#[derive(Debug)]
pub enum Refreshed {
    /// They hold the same as before, though their stamps may differ.
    Same(Stamps),
    /// They hold something else, or cannot be read. The files in it are the databases only.
    Changed(Box<Built>),
}

/// Reads the location databases that `before` names, and nothing else: an edit of the other files
/// that is not finished stays unread. `contents` is what they held; `changed` hears that it is
/// another content, before the maps are compiled.
pub fn refresh(contents: &Contents, before: &Dataset, changed: impl FnOnce()) -> Refreshed {
    let (mut stamps, mut diagnostics) = (Stamps::default(), Diagnostics::default());
    let geo = &before.config.geo;
    let city = read(&geo.city, "geo.city", &mut stamps, &mut diagnostics);
    let asn = read(&geo.asn, "geo.asn", &mut stamps, &mut diagnostics);
    let held = held(city.as_ref(), asn.as_ref());
    if !diagnostics.has_errors() && held == *contents {
        return Refreshed::Same(stamps);
    }
    // Compiling takes seconds with a large database, and the caller tells that it has begun.
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
        // The configuration is that in use: a half-finished edit of the other files is never
        // published by a new database.
        built.dataset = Some(before.with_locations(locations));
        let mut files = Vec::new();
        for database in [city, asn].into_iter().flatten() {
            files.push(InputFile {
                path: database.path,
                content: Content::Binary(database.bytes),
            });
        }
        built.inputs = Some(Inputs {
            // Without a configuration these inputs are added to the copies, and do not replace
            // them.
            config: PathBuf::new(),
            files,
        });
    }
    Refreshed::Changed(Box::new(built))
}

/// Reads the database that `key` names; `None` where none is named, or where it cannot be read,
/// which is reported.
fn read(
    named: &Option<(PathBuf, At)>,
    key: &str,
    stamps: &mut Stamps,
    out: &mut Diagnostics,
) -> Option<super::Database> {
    let (path, at) = named.as_ref()?;
    // Before the content: a change in between then shows as a change at the next look.
    stamps.add(path);
    match reading::read(path) {
        Ok(bytes) => Some(super::Database {
            at: at.clone(),
            path: path.clone(),
            bytes: Arc::new(bytes),
        }),
        Err(problem) => {
            let problem = problem.explain(path);
            out.error(problem.rule, at.clone(), key, problem.message)
                .hint = problem.hint;
            None
        }
    }
}

/// Builds from copies of the last good files, each by its original path.
pub fn build_copies(config: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> Built {
    let outcome = super::load_copies(config, files);
    // Copies were read, not the databases on the disk: stamps unlike any have the next reload read
    // those.
    let stamps = match &outcome.loaded {
        Some(loaded) => Stamps::unseen(&loaded.config),
        None => Stamps::default(),
    };
    let mut built = compile(outcome, stamps, None);
    if let Some(dataset) = &mut built.dataset {
        // Makes the node unready: it serves files that are not those on the disk.
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
                // The tables are large, and are shared while the databases hold the same.
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
        // The operator mends a broken database together with the rest: one run reports both.
        locations(city.as_ref(), asn.as_ref(), &mut diagnostics);
    }
    built.diagnostics = diagnostics;
    built
}

fn held(city: Option<&super::Database>, asn: Option<&super::Database>) -> Contents {
    Contents {
        city: city.map(sha256),
        asn: asn.map(sha256),
    }
}

fn sha256(database: &super::Database) -> [u8; 32] {
    let digest = digest(&SHA256, &database.bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// Reads the databases into tables of locations; `None` where one cannot be used, which is
/// reported. Without a city database the embedded one is read.
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
        _ => "replace it with a complete MMDB in the GeoIP2 City, Country or ASN layout (geoip/README.md lists sources), \
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

/// Warns of records that cannot be read, and of sources of maps that match no client.
fn warn(config: &Config, locations: &Locations, out: &mut Diagnostics) {
    warn_skipped(config, locations, out);
    let known = locations.known();
    // Distances are asked for by default, and count only where a region has coordinates.
    let placed = config
        .regions
        .iter()
        .any(|region| region.coordinates.is_some());
    for map in &config.maps {
        let sources = [
            (!map.asns.is_empty(), known.asns, "asns", "AS number"),
            (
                !map.subdivisions.is_empty(),
                known.subdivisions,
                "subdivisions",
                "subdivision",
            ),
            (
                !map.countries.is_empty(),
                known.countries,
                "countries",
                "country",
            ),
            (
                !map.continents.is_empty(),
                known.continents,
                "continents",
                "continent",
            ),
            (
                map.by_distance && placed,
                known.coordinates,
                "by_distance",
                "coordinates",
            ),
        ];
        for (used, known, source, attribute) in sources {
            // Such a source is no error: the database may get the attribute with its next release.
            if used && !known {
                warn_unknown(config, map, source, attribute, out);
            }
        }
    }
}

fn warn_skipped(config: &Config, locations: &Locations, out: &mut Diagnostics) {
    for (database, skipped) in locations.skipped() {
        let (key, named) = match database {
            Database::City => ("geo.city", &config.geo.city),
            Database::Asn => ("geo.asn", &config.geo.asn),
        };
        let Some((path, at)) = named else { continue };
        let networks = match skipped.networks {
            1 => "1 network".to_owned(),
            networks => format!("{networks} networks"),
        };
        let message = format!(
            "{}: the records of {networks} cannot be read; the first, of {}: {}",
            path.display(),
            skipped.first,
            skipped.why
        );
        out.warning("unreadable-record", at.clone(), key, message)
            .hint("clients in these networks have no location; report it to the maker of the database");
    }
}

/// Warns of a source of `map` that matches no client, since the database has no such attribute.
fn warn_unknown(
    config: &Config,
    map: &MapSpec,
    source: &str,
    attribute: &str,
    out: &mut Diagnostics,
) {
    let database = match source {
        "asns" if config.geo.asn.is_none() => "the configuration, without [geo] asn,",
        "asns" => "the database of [geo] asn",
        _ => "the database of [geo] city",
    };
    let hint = match source {
        "by_distance" => "use a database with coordinates (City), or set by_distance = false",
        "asns" => "name a database of AS numbers in [geo] asn, or remove the entries",
        _ => "use a database that has it, or remove the entries",
    };
    let key = format!("maps.{}.{source}", map.name);
    let message =
        format!("`{source}` matches no client: {database} has no {attribute} of any network");
    out.warning("unknown-to-database", map.at.clone(), key, message)
        .hint(hint);
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
                "unknown-to-database: maps.default.{source}: `{source}` matches no client: the database of [geo] city has no {what} of any network"
            )
        };
        let no_asn = "unknown-to-database: maps.default.asns: `asns` matches no client: the configuration, without [geo] asn, has no AS number of any network";
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
