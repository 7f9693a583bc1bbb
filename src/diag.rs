//! Diagnostics: the problems of the operator's files, each with its place.
//!
//! Every reader of files collects [`Diagnostic`]s into one [`Diagnostics`] and goes on, so that one
//! run of `meridian verify` shows everything there is to mend. Positions are 1-based lines and
//! columns (columns count characters); the file is named as the operator named it.

mod render;
mod unknown;

use std::fmt;
use std::sync::Arc;

pub use render::{Sources, render_json, render_text};
pub use unknown::UnknownName;

/// A place in a file, which editors jump to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The file, as the operator named it (relative paths stay relative).
    pub file: Arc<str>,
    /// 1-based line; 0 where the whole file is meant.
    pub line: u32,
    /// 1-based column in characters; 0 where the whole line is meant.
    pub column: u32,
    /// Length of what is marked, in characters; 0 marks the single position.
    pub length: u32,
}

impl At {
    /// A whole file.
    pub fn file(file: impl Into<Arc<str>>) -> At {
        At {
            file: file.into(),
            line: 0,
            column: 0,
            length: 0,
        }
    }

    /// A position in a file, with the length of what is marked.
    pub fn new(file: impl Into<Arc<str>>, line: u32, column: u32, length: u32) -> At {
        At {
            file: file.into(),
            line,
            column,
            length,
        }
    }

    /// The position of the byte range `span` in `text`, the content of `file`.
    pub fn span(file: impl Into<Arc<str>>, text: &str, span: std::ops::Range<usize>) -> At {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        // A frame marks a piece of one line.
        let marked = text[start..end].lines().next().unwrap_or("");
        At {
            file: file.into(),
            line: position(before.bytes().filter(|b| *b == b'\n').count() + 1),
            column: position(before[line_start..].chars().count() + 1),
            length: position(marked.chars().count()),
        }
    }
}

/// A count of lines or characters; one beyond 32 bits, which no editor shows, is the largest.
pub(crate) fn position(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl fmt::Display for At {
    /// `file:line:column`, the form editors and CI systems link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// The consequence of a diagnostic: an error keeps the files from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The files are refused.
    Error,
    /// The files are taken; the operator should look.
    Warning,
}

/// One thing that is wrong: where, which key, which rule it breaks, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable kebab-case name of the rule, e.g. `cname-and-other-data`; documented, for scripts.
    pub rule: &'static str,
    /// The place in the file.
    pub at: At,
    /// The key path (`services.www.pools.eu-west.weight`) or the record (`www A`); may be empty.
    pub key: String,
    /// The problem, with the value that causes it.
    pub message: String,
    /// The way to solve the problem.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Adds what to do about it.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Diagnostic {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `file:line:column: error[rule]: key: message (hint)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}[{}]: ", self.at, self.rule)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything found so far, in the order it was found.
#[derive(Debug, Default, Clone)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Records an error; the returned diagnostic takes a hint.
    pub fn error(
        &mut self,
        rule: &'static str,
        at: At,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Error, rule, at, key.into(), message.into())
    }

    /// Records a warning; the returned diagnostic takes a hint.
    pub fn warning(
        &mut self,
        rule: &'static str,
        at: At,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, rule, at, key.into(), message.into())
    }

    /// True when something keeps the files from being taken.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Counts the errors.
    pub fn errors(&self) -> usize {
        self.items
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .count()
    }

    /// Counts the warnings.
    pub fn warnings(&self) -> usize {
        self.items.len() - self.errors()
    }

    /// All of them, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.items.iter()
    }

    /// Takes over another collection's diagnostics.
    pub fn extend(&mut self, other: Diagnostics) {
        self.items.extend(other.items);
    }

    /// Orders by file and position, the way a reader goes through them.
    pub fn sort(&mut self) {
        self.items.sort_by(|a, b| a.at.cmp(&b.at));
    }

    fn push(
        &mut self,
        severity: Severity,
        rule: &'static str,
        at: At,
        key: String,
        message: String,
    ) -> &mut Diagnostic {
        self.items.push(Diagnostic {
            severity,
            rule,
            at,
            key,
            message,
            hint: None,
        });
        self.items.last_mut().expect("just pushed")
    }
}

/// The known name closest to `wrong`, for a "did you mean" hint; `None` when nothing is close.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let mut nearest: Option<(usize, &str)> = None;
    let mut longer = None;
    for name in known {
        let known = name.to_lowercase();
        // A word cut short, `lat` for `latitude`, is far from it by any distance.
        if lower.len() >= 3 && known.starts_with(&lower) {
            longer = longer.or(Some(name));
        }
        let distance = strsim::damerau_levenshtein(&lower, &known);
        // One letter in three may differ: more are another word.
        let most = 1.max(known.chars().count().max(lower.chars().count()) / 3);
        if distance <= most && nearest.is_none_or(|(least, _)| distance < least) {
            nearest = Some((distance, name));
        }
    }
    longer.or(nearest.map(|(_, name)| name))
}

/// The end of a sentence about a `wrong` name: `; did you mean eu-west?`, or nothing where no known
/// name is close.
pub fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match did_you_mean(wrong, known) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_becomes_line_column_and_length() {
        let text = "a = 1\nbé = \"x\"\n";
        let at = At::span("f", text, 12..15);
        assert_eq!((at.line, at.column, at.length), (2, 6, 3));
    }

    #[test]
    fn did_you_mean_finds_near_names_only() {
        let known = ["eu-west", "us-east", "ap-east"];
        assert_eq!(did_you_mean("eu-wset", known), Some("eu-west"));
        assert_eq!(did_you_mean("EU-WEST", known), Some("eu-west"));
        assert_eq!(did_you_mean("frankfurt", known), None);
        assert_eq!(
            did_you_mean("lat", ["latitude", "longitude"]),
            Some("latitude")
        );
        assert_eq!(
            did_you_mean("lon", ["latitude", "longitude"]),
            Some("longitude")
        );
    }
}
