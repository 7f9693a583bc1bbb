//! Names that the operator gives to regions, maps and checks.

use super::document::{Item, Table};
use crate::diag::{Diagnostics, did_you_mean};

/// The value of `map` where none is wanted although there is a default; so no map has this name.
pub(super) const NO_MAP: &str = "none";
/// The longest name of a region, map or check: it stands in labels of metrics and in log lines.
const MAX_LENGTH: usize = 63;
/// The most regions, maps or checks; ids are 16 bits wide.
const MAX_COUNT: usize = 4096;
/// The most known names that a hint lists.
const MAX_LISTED: usize = 8;

/// The names of one kind of thing, in order: a name's index is the id of what it names.
pub(super) struct Names {
    what: &'static str,
    unknown_rule: &'static str,
    names: Vec<String>,
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names
            .binary_search_by(|known| known.as_str().cmp(name))
            .ok()
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    pub(super) fn unknown_rule(&self) -> &'static str {
        self.unknown_rule
    }

    /// The hint for an unknown name: the one that the operator may have meant, or those that there
    /// are.
    pub(super) fn hint(&self, wrong: &str) -> String {
        if let Some(near) = did_you_mean(wrong, self.names.iter().map(String::as_str)) {
            return format!("did you mean \"{near}\"?");
        }
        match self.names.len() {
            0 => format!("define it in meridian.toml: [{}s.{wrong}]", self.what),
            1..=MAX_LISTED => format!("known {}s: {}", self.what, self.names.join(", ")),
            more => format!(
                "known {}s: {} and {} more",
                self.what,
                self.names[..MAX_LISTED].join(", "),
                more - MAX_LISTED
            ),
        }
    }
}

/// The entries of the section `section` and their names; a name that cannot be used is reported
/// and stays known, so that its uses are not reported as well.
pub(super) fn collect<'d>(
    section: Option<Table<'d>>,
    what: &'static str,
    unknown_rule: &'static str,
    out: &mut Diagnostics,
) -> (Names, Vec<Item<'d>>) {
    let mut entries: Vec<_> = section.iter().flat_map(Table::items).collect();
    // Ids are the order of the names, so that they do not depend on the order in the file, and
    // `find` can search by halves.
    entries.sort_by_key(|(name, _)| *name);
    for (name, item) in &entries {
        check_name(name, item, what, out);
    }
    if let Some((_, item)) = entries.get(MAX_COUNT) {
        out.error(
            "too-many",
            item.key_at(),
            item.path.clone(),
            format!("there are more than {MAX_COUNT} {what}s"),
        );
    }
    let (names, items) = entries
        .into_iter()
        .take(MAX_COUNT)
        .map(|(name, item)| (name.to_owned(), item))
        .unzip();
    (
        Names {
            what,
            unknown_rule,
            names,
        },
        items,
    )
}

fn check_name(name: &str, item: &Item<'_>, what: &str, out: &mut Diagnostics) {
    let first = name.chars().next();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let message = if first.is_none() {
        format!("the name of a {what} is empty")
    } else if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
        format!("the name of a {what} contains {odd:?}")
    } else if first.is_some_and(|c| !c.is_ascii_alphanumeric()) {
        format!(
            "the name of a {what} starts with {:?}",
            first.unwrap_or_default()
        )
    } else if name.len() > MAX_LENGTH {
        format!("the name of a {what} is longer than {MAX_LENGTH} characters")
    } else if name == "nodata" {
        "the name \"nodata\" is reserved: tests use it for an answer without records".to_owned()
    } else if name == NO_MAP && what == "map" {
        "the name \"none\" is reserved: a service writes map = \"none\" to have no map".to_owned()
    } else {
        return;
    };
    out.error("bad-name", item.key_at(), item.path.clone(), message)
        .hint("use letters, digits, `-` and `_`, starting with a letter or digit");
}
