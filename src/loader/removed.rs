//! The zones, services and names that a change of the files takes away, and the guard against a
//! change that takes more than anybody means: a zone file that was cut short is still TOML.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics};
use crate::dns::Name;

/// The number of a kind that may always go, whatever share it is: an operator who has two services
/// may remove one.
const FEW: usize = 2;
/// The most names that are listed.
const NAMED: usize = 10;

/// The zones, services and names that one dataset serves and a later one does not.
#[derive(Debug)]
pub struct Removed([Kind; 3]);

/// Zones, services, or names with records.
#[derive(Debug)]
struct Kind {
    /// One of them, and several.
    words: [&'static str; 2],
    gone: Vec<String>,
    /// The number in the old dataset.
    of: usize,
}

impl Removed {
    /// Finds what `old` has and `new` does not.
    pub fn between(old: &Dataset, new: &Dataset) -> Removed {
        let zones = |dataset: &Dataset| {
            dataset
                .config
                .zones
                .iter()
                .map(|zone| zone.origin.to_lowercase())
                .collect()
        };
        let services = |dataset: &Dataset| {
            dataset
                .config
                .services
                .iter()
                .map(|service| service.name.to_lowercase())
                .collect()
        };
        let steered: HashSet<Name> = services(old);
        let names = |dataset: &Dataset| {
            dataset
                .names
                .owners()
                .filter_map(Name::from_wire)
                .collect::<HashSet<Name>>()
        };
        let mut static_names = names(old);
        // Services own names too, and are counted by themselves.
        static_names.retain(|name| !steered.contains(name));
        Removed([
            Kind::new(["zone", "zones"], &zones(old), &zones(new)),
            Kind::new(["service", "services"], &steered, &services(new)),
            Kind::new(["name", "names"], &static_names, &names(new)),
        ])
    }

    /// True where nothing is removed.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|kind| kind.gone.is_empty())
    }

    /// Records an error in `out` where more than the share `most` (0 … 1) of any kind is removed, and
    /// returns true then. `config` is the file that sets that share.
    pub fn refuse(&self, most: f64, config: &Path, out: &mut Diagnostics) -> bool {
        let excess: Vec<String> = self
            .0
            .iter()
            .filter(|kind| kind.exceeds(most))
            .map(Kind::to_string)
            .collect();
        if excess.is_empty() {
            return false;
        }
        let message = format!(
            "the new files remove {}: more than max_removed = \"{}%\" of what is served",
            excess.join(", and "),
            // Two decimals, without the digits that a binary fraction has beyond.
            (most * 1e4).round() / 1e2
        );
        out.error("too-much-removed", At::file(config.display().to_string()), "server.max_removed", message).hint(
            "if that is intended, run `meridian reload --force`; otherwise look for a file that is truncated or missing",
        );
        true
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gone: Vec<String> = self
            .0
            .iter()
            .filter(|kind| !kind.gone.is_empty())
            .map(Kind::to_string)
            .collect();
        f.write_str(&gone.join(", and "))
    }
}

impl Kind {
    fn new(words: [&'static str; 2], old: &HashSet<Name>, new: &HashSet<Name>) -> Kind {
        let mut gone: Vec<String> = old.difference(new).map(Name::to_string).collect();
        // Sets have no order, and messages need one.
        gone.sort();
        Kind {
            words,
            gone,
            of: old.len(),
        }
    }

    fn exceeds(&self, most: f64) -> bool {
        self.gone.len() > FEW && self.gone.len() as f64 > most * self.of as f64
    }
}

impl fmt::Display for Kind {
    /// Writes `3 of 10 services (a.example., b.example., c.example.)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { words, gone, of } = self;
        let more = gone.len().saturating_sub(NAMED);
        let named = gone[..gone.len() - more].join(", ");
        let more = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        write!(
            f,
            "{} of {of} {} ({named}{more})",
            gone.len(),
            words[usize::from(*of != 1)]
        )
    }
}
