//! Configuration files, as commands name and read them.

use std::path::{Path, PathBuf};

use super::error::Reason;
use super::progress::while_waiting;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::loader;

/// Configurations that are looked for when none is named, in this order.
pub(super) const DEFAULTS: [&str; 2] = ["meridian.toml", "/etc/meridian/meridian.toml"];

/// Options that name the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Configuration file [default: ./meridian.toml, then /etc/meridian/meridian.toml].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Files {
    /// Path of the configuration: the one named, or the first default that exists.
    pub(super) fn config(&self) -> Result<PathBuf, Reason> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        for default in DEFAULTS {
            let path = PathBuf::from(default);
            // A path that cannot be looked at may well exist; reading it says what is wrong.
            if path.try_exists().unwrap_or(true) {
                return Ok(path);
            }
        }
        Err(Reason::NoConfiguration)
    }

    /// Dataset of the configuration and everything it leads to.
    pub(super) fn dataset(&self) -> Result<Dataset, Reason> {
        dataset(&self.config()?)
    }
}

/// Dataset of the configuration at `path` and everything it leads to.
pub(super) fn dataset(path: &Path) -> Result<Dataset, Reason> {
    let built = while_waiting("reading the files", || loader::build(path));
    built
        .dataset
        .ok_or(Reason::Files(built.diagnostics, built.sources))
}

/// Configuration at `path` with its zones, without location databases and tables.
pub(super) fn config(path: &Path) -> Result<Config, Reason> {
    let outcome = while_waiting("reading the files", || loader::load(path));
    match outcome.loaded {
        Some(loaded) => Ok(loaded.config),
        None => Err(Reason::Files(outcome.diagnostics, outcome.sources)),
    }
}
