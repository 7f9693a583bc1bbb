//! The tables of the page `docs/metrics.md`.

use std::fmt::Write;

use super::SUBJECTS;
use super::family::Kind;

/// The part of `docs/metrics.md` that the code makes: a section with a table for each subject.
pub fn page() -> String {
    let mut out = String::new();
    for subject in SUBJECTS {
        let head = "| metric | kind | labels | meaning | series |\n|---|---|---|---|---|";
        let _ = writeln!(out, "## {}\n\n{head}", subject.title);
        for family in subject.families {
            let suffix = match family.kind {
                Kind::Counter => "_total",
                Kind::Gauge | Kind::Histogram => "",
            };
            let labels: Vec<String> = family
                .labels
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let more = match family.more {
                "" => String::new(),
                more => format!(". {more}"),
            };
            let _ = writeln!(
                out,
                "| `{}{suffix}` | {} | {} | {}{more} | {} |",
                family.name,
                family.kind.as_str(),
                labels.join(", "),
                family.help,
                family.bound
            );
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_families_have_one_name_and_every_one_says_what_it_is() {
        let mut names = BTreeSet::new();
        for family in SUBJECTS.iter().flat_map(|subject| subject.families) {
            assert!(names.insert(family.name), "{} is there twice", family.name);
            assert!(
                !family.help.ends_with('.') && family.help.starts_with(char::is_alphanumeric),
                "{}",
                family.name
            );
            assert!(!family.bound.is_empty() && !family.help.contains('\n'));
        }
        assert!(names.len() >= 40, "{}", names.len());
    }
}
