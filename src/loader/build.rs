//! From files to a [`Dataset`]: what they say, joined with what the location databases say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{Inputs, LastGoodError, Outcome};
use crate::config::Config;
use crate::dataset::Dataset;
use crate::diag::{Diagnostics, Sources};
use crate::geo::{Database, EMBEDDED, Locations};

/// What came of building a dataset.
#[derive(Debug)]
pub struct Built {
    /// The dataset, unless a diagnostic is an error.
    pub dataset: Option<Dataset>,
    /// Everything wrong with the files, by file and position.
    pub diagnostics: Diagnostics,
    /// The text of every file read, for code frames.
    pub sources: Sources,
    /// The files, for [`super::save`]; with a dataset only.
    pub inputs: Option<Inputs>,
    /// The location databases as they were when they were read.
    pub stamps: Stamps,
}

/// Reads `config` and everything it leads to, and compiles it.
pub fn build(config: &Path) -> Built {
    let (outcome, stamps) = super::load_stamped(config);
    compile(outcome, stamps, None)
}

/// The same; where the location databases are those of `stamps`, what `before` has of them is used again, and so are its
/// maps that did not change.
pub fn rebuild(config: &Path, stamps: &Stamps, before: &Dataset) -> Built {
    let (outcome, read) = super::load_stamped(config);
    compile(outcome, read, Some((stamps, before)))
}

/// Builds from the copies of the last good files in `state`.
pub fn build_last_good(state: &Path) -> Result<Built, LastGoodError> {
    let outcome = super::load_last_good(state)?;
    // What was read are the copies: nothing is known of the databases on the disk, and a reload reads them.
    let stamps = outcome.loaded.as_ref().map_or_else(Stamps::default, |loaded| Stamps::unseen(&loaded.config));
    Ok(compile(outcome, stamps, None))
}

fn compile(outcome: Outcome, stamps: Stamps, before: Option<(&Stamps, &Dataset)>) -> Built {
    let Outcome { loaded, mut diagnostics, sources } = outcome;
    let mut built = Built { dataset: None, diagnostics: Diagnostics::default(), sources, inputs: None, stamps };
    if let Some(loaded) = loaded.filter(|_| !diagnostics.has_errors()) {
        let locations = match before {
            Some((stamps, before)) if *stamps == built.stamps => Ok(before.locations.clone()),
            _ => {
                let city = loaded.city.as_ref().map_or(EMBEDDED, |database| &database.bytes);
                let asn = loaded.asn.as_ref().map(|database| database.bytes.as_slice());
                Locations::read(Some(city), asn).map(Arc::new)
            }
        };
        match locations {
            Ok(locations) => {
                let before = before.map(|(_, dataset)| dataset);
                built.dataset = Some(Dataset::compile_after(before, loaded.config, locations));
                built.inputs = Some(loaded.inputs);
            }
            Err(error) => {
                let (key, database) = match error.database {
                    Database::City => ("geo.city", loaded.city),
                    Database::Asn => ("geo.asn", loaded.asn),
                };
                let database = database.expect("the embedded database is held to be good by a test");
                let message = format!("{}: {error}", database.path.display());
                diagnostics.error("bad-mmdb", database.at, key, message).hint(
                    "replace it by a complete MMDB in the GeoIP2 City, Country or ASN layout (geoip/README.md names sources), \
                     or remove the key",
                );
            }
        }
    }
    built.diagnostics = diagnostics;
    built
}

/// What the location databases looked like on disk: path, time of change and length of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

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
        Stamps(self.0.iter().map(|(path, _)| (path.clone(), look(path))).collect())
    }
}

fn look(path: &Path) -> Option<(SystemTime, u64)> {
    std::fs::metadata(path).and_then(|m| Ok((m.modified()?, m.len()))).ok()
}
