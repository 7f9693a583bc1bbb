//! One TOML document and readers of its tables that go on after every problem.
//!
//! The files are walked by hand over spanned values instead of through serde, which stops at the
//! first problem it meets: here each key is read on its own, and so each wrong one is reported.
//! A [`Table`] learns its keys by being asked for them, so that [`Table::finish`] knows the unknown
//! ones, and no list of keys is kept beside the code that reads them.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::diag::{At, Diagnostic, Diagnostics, did_you_mean};

/// The most syntax errors of one file that are worth reading.
const MAX_SYNTAX_ERRORS: usize = 20;

/// The hint for a master file's backslashes that TOML takes for its own.
pub(super) const BACKSLASHES: &str = "in \"…\" and \"\"\"…\"\"\" TOML interprets backslashes itself: write records in '''…''', or in a file that records_file names";

/// The text of one file and where its lines start.
pub(super) struct Document {
    pub(super) file: Arc<str>,
    pub(super) text: Arc<str>,
    line_starts: Vec<usize>,
    /// The content of a section that is not written.
    empty: DeTable<'static>,
}

impl Document {
    pub(super) fn new(file: Arc<str>, text: Arc<str>) -> Document {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(i, _)| i + 1))
            .collect();
        Document {
            file,
            text,
            line_starts,
            empty: DeTable::new(),
        }
    }

    /// The place of the byte range `span`; like [`At::span`], without counting lines again.
    pub(super) fn at(&self, span: Range<usize>) -> At {
        let line = self
            .line_starts
            .partition_point(|start| *start <= span.start)
            .max(1);
        let start = self.line_starts[line - 1];
        let end = self
            .line_starts
            .get(line)
            .copied()
            .unwrap_or(self.text.len());
        let within = At::span(
            self.file.clone(),
            &self.text[start..end],
            span.start - start..span.end.min(end) - start,
        );
        At {
            line: crate::diag::position(line),
            ..within
        }
    }

    /// True where some line writes one of `keys` at the beginning, or a table of that name: then
    /// the file is what it is taken for, and its lines may be shown. Others may hold secrets.
    pub(super) fn has_key(&self, keys: &[&str]) -> bool {
        self.text.lines().any(|line| {
            let (line, is_table) = match line.trim_start().trim_start_matches('[') {
                rest if rest.len() < line.trim_start().len() => (rest, true),
                rest => (rest, false),
            };
            keys.iter()
                .filter_map(|key| line.strip_prefix(key))
                .any(|rest| match rest.trim_start().chars().next() {
                    Some(']' | '.') => true,
                    Some('=') => !is_table,
                    _ => false,
                })
        })
    }

    /// True without a word but comments.
    pub(super) fn is_empty(&self) -> bool {
        self.text
            .lines()
            .all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
    }

    /// The document as a table; `None` where its syntax is broken, which is then reported.
    pub(super) fn parse(&self, out: &mut Diagnostics) -> Option<DeTable<'_>> {
        // The parser goes on after an error, but its table then lacks what it could not read: rules
        // about keys would report things that the operator has written.
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if errors.is_empty() {
            return Some(table.into_inner());
        }
        for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
            self.report_syntax(error, out);
        }
        if errors.len() > MAX_SYNTAX_ERRORS {
            let more = errors.len() - MAX_SYNTAX_ERRORS;
            out.error(
                "toml-syntax",
                At::file(self.file.clone()),
                "",
                format!("{more} more syntax errors are not shown"),
            );
        }
        None
    }

    fn report_syntax(&self, error: &toml::de::Error, out: &mut Diagnostics) {
        let span = error.span().unwrap_or(0..0);
        let at = self.at(span.clone());
        let line_end = self.text[span.start..]
            .find('\n')
            .map_or(self.text.len(), |i| span.start + i);
        let rest = self.text[span.start..line_end].trim();
        let word: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || "-_.:/".contains(*c))
            .collect();
        let missing_value = "string values must be quoted";
        if error.message().starts_with(missing_value) && rest.is_empty() {
            out.error("toml-syntax", at, "", "the key has no value after its `=`");
            return;
        }
        let message = match error.message() {
            // The parser takes any bare word that starts like `nan` or `inf` for a number.
            "invalid float, expected `nan`" | "invalid float, expected `inf`" => {
                format!("{missing_value}: `{word}`")
            }
            message => message.to_owned(),
        };
        let diagnostic = out.error("toml-syntax", at, "", message);
        if diagnostic.message.starts_with(missing_value) && !word.is_empty() {
            diagnostic.hint(format!("put it in quotes: \"{word}\""));
        } else if diagnostic.message.contains("escape") {
            diagnostic.hint(BACKSLASHES);
        } else if diagnostic.message == "duplicate key" {
            diagnostic.hint("a key or table can appear only once; merge the two");
        } else if diagnostic.message.starts_with("invalid unquoted key") {
            diagnostic.hint("quote a name with other characters: [services.\"*.app\"]");
        }
    }

    /// The root table.
    pub(super) fn root<'d>(&'d self, entries: &'d DeTable<'d>) -> Table<'d> {
        Table {
            document: self,
            path: String::new(),
            span: 0..0,
            entries,
            known: Vec::new(),
            sound: true,
        }
    }
}

/// A value with where it stands.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// A value of the document and the path of keys that leads to it.
pub(super) struct Item<'d> {
    pub(super) document: &'d Document,
    pub(super) path: String,
    /// The place of the value.
    pub(super) span: Range<usize>,
    /// The place of its key: the one that messages about a table mark.
    key_span: Range<usize>,
    pub(super) value: &'d DeValue<'d>,
}

impl<'d> Item<'d> {
    pub(super) fn at(&self) -> At {
        self.document.at(self.span.clone())
    }

    pub(super) fn key_at(&self) -> At {
        self.document.at(self.key_span.clone())
    }

    /// The value as it is written, shortened to a piece of one line.
    pub(super) fn written(&self) -> String {
        let text = &self.document.text[self.span.clone()];
        let line = text.lines().next().unwrap_or("");
        if line.len() == text.len() && line.chars().count() <= 60 {
            return line.to_owned();
        }
        line.chars().take(57).chain("...".chars()).collect()
    }

    pub(super) fn error<'o>(
        &self,
        out: &'o mut Diagnostics,
        rule: &'static str,
        message: impl Into<String>,
    ) -> &'o mut Diagnostic {
        out.error(rule, self.at(), self.path.clone(), message)
    }

    /// Reports an error at the key rather than the value: of a table, whose value has many lines.
    pub(super) fn key_error<'o>(
        &self,
        out: &'o mut Diagnostics,
        rule: &'static str,
        message: impl Into<String>,
    ) -> &'o mut Diagnostic {
        out.error(rule, self.key_at(), self.path.clone(), message)
    }

    /// Reports a warning at the key.
    pub(super) fn key_warning<'o>(
        &self,
        out: &'o mut Diagnostics,
        rule: &'static str,
        message: impl Into<String>,
    ) -> &'o mut Diagnostic {
        out.warning(rule, self.key_at(), self.path.clone(), message)
    }

    /// Reports that the value is not what the key takes.
    pub(super) fn wrong_type<'o>(
        &self,
        out: &'o mut Diagnostics,
        expected: &str,
    ) -> &'o mut Diagnostic {
        let kind = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = match self.value {
            DeValue::Table(_) | DeValue::Array(_) => {
                format!("this is {kind}, but {expected} is expected")
            }
            _ => format!("{} is {kind}, but {expected} is expected", self.written()),
        };
        let at = if matches!(self.value, DeValue::Table(_)) {
            self.key_at()
        } else {
            self.at()
        };
        out.error("wrong-type", at, self.path.clone(), message)
    }

    /// The value as a string.
    pub(super) fn string(&self, out: &mut Diagnostics, expected: &str) -> Option<&'d str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => {
                let written = self.written();
                let quotable = matches!(self.value, DeValue::Integer(_) | DeValue::Float(_));
                let diagnostic = self.wrong_type(out, expected);
                if quotable {
                    diagnostic.hint(format!("put it in quotes: \"{written}\""));
                }
                None
            }
        }
    }

    /// The value as a table.
    pub(super) fn table(&self, out: &mut Diagnostics) -> Option<Table<'d>> {
        let DeValue::Table(entries) = self.value else {
            self.wrong_type(out, "a table");
            return None;
        };
        let (document, path, span) = (self.document, self.path.clone(), self.key_span.clone());
        Some(Table {
            document,
            path,
            span,
            entries,
            known: Vec::new(),
            sound: true,
        })
    }

    /// The elements of the value, a list.
    pub(super) fn elements(&self, out: &mut Diagnostics) -> Option<Vec<Item<'d>>> {
        let DeValue::Array(array) = self.value else {
            let written = self.written();
            let scalar = !matches!(self.value, DeValue::Table(_));
            let diagnostic = self.wrong_type(out, "a list");
            if scalar {
                diagnostic.hint(format!("put it in brackets: [{written}]"));
            }
            return None;
        };
        let element = |(i, value): (usize, &'d Spanned<DeValue<'d>>)| Item {
            document: self.document,
            path: format!("{}[{i}]", self.path),
            span: value.span(),
            key_span: value.span(),
            value: value.get_ref(),
        };
        Some(array.iter().enumerate().map(element).collect())
    }
}

/// A table of the document. Every key asked for becomes a known one.
pub(super) struct Table<'d> {
    pub(super) document: &'d Document,
    pub(super) path: String,
    span: Range<usize>,
    entries: &'d DeTable<'d>,
    known: Vec<&'static str>,
    sound: bool,
}

impl<'d> Table<'d> {
    /// The place of the table's name.
    pub(super) fn at(&self) -> At {
        self.document.at(self.span.clone())
    }

    /// The path of `key` in this table.
    pub(super) fn key_path(&self, key: &str) -> String {
        join_path(&self.path, key)
    }

    /// False after a key of the table could not be read: rules between keys would mislead.
    pub(super) fn sound(&self) -> bool {
        self.sound
    }

    /// The value of `key`, if the table has it.
    pub(super) fn item(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.know(key);
        let (name, value) = self.entries.get_key_value(key)?;
        Some(make_item(self.document, &self.path, name, value))
    }

    /// Reads `key` with `read`, which reports what is wrong; `None` where it is absent or wrong.
    pub(super) fn optional<T>(
        &mut self,
        out: &mut Diagnostics,
        key: &'static str,
        read: impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key)?;
        let value = read(&item, out);
        self.sound &= value.is_some();
        value
    }

    /// Like [`Table::optional`], and keeps where the value stands.
    pub(super) fn located<T>(
        &mut self,
        out: &mut Diagnostics,
        key: &'static str,
        read: impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<T>,
    ) -> Option<Located<T>> {
        self.optional(out, key, |item, out| {
            Some(Located {
                value: read(item, out)?,
                at: item.at(),
            })
        })
    }

    /// Like [`Table::optional`], and reports an absent key; `hint` shows how to write it.
    pub(super) fn required<T>(
        &mut self,
        out: &mut Diagnostics,
        key: &'static str,
        hint: &str,
        read: impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        if !self.entries.contains_key(key) {
            self.know(key);
            self.sound = false;
            let (at, message) = match self.path.as_str() {
                "" => (
                    At::file(self.document.file.clone()),
                    format!("`{key}` is missing"),
                ),
                path => (self.at(), format!("`{key}` is missing in `{path}`")),
            };
            out.error("missing-key", at, self.key_path(key), message)
                .hint(hint);
            return None;
        }
        self.optional(out, key, read)
    }

    /// The table under `key`, if there is one.
    pub(super) fn table(&mut self, out: &mut Diagnostics, key: &'static str) -> Option<Table<'d>> {
        self.optional(out, key, |item, out| item.table(out))
    }

    /// The table under `key`; one without entries where there is none.
    pub(super) fn table_or_empty(&mut self, out: &mut Diagnostics, key: &'static str) -> Table<'d> {
        let empty = |document: &'d Document| Table {
            path: key.to_owned(),
            ..document.root(&document.empty)
        };
        self.table(out, key).unwrap_or_else(|| empty(self.document))
    }

    /// Every entry, whatever its key: for tables whose keys are names that the operator chose.
    pub(super) fn items(&self) -> impl Iterator<Item = (&'d str, Item<'d>)> + use<'d> {
        let (document, path) = (self.document, self.path.clone());
        self.entries.iter().map(move |(name, value)| {
            (
                name.get_ref().as_ref(),
                make_item(document, &path, name, value),
            )
        })
    }

    fn know(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// Reports every key that nothing asked for; true when the table was read without a problem.
    pub(super) fn finish(self, out: &mut Diagnostics) -> bool {
        let mut sound = self.sound;
        // By now every key of the table was asked for, so what is not known is not a key.
        for (name, value) in self
            .entries
            .iter()
            .filter(|(name, _)| !self.known.contains(&name.get_ref().as_ref()))
        {
            sound = false;
            let at = self.document.at(name.span());
            let name = name.get_ref().as_ref();
            let place = if self.path.is_empty() {
                "this file".to_owned()
            } else {
                format!("`{}`", self.path)
            };
            let diagnostic = out.error(
                "unknown-key",
                at,
                self.key_path(name),
                format!("`{name}` is not a key of {place}"),
            );
            match did_you_mean(name, self.known.iter().copied()) {
                _ if value.get_ref().get("route").is_some() => {
                    let service = self.path.rsplit('.').next().unwrap_or("www");
                    diagnostic.hint(format!(
                        "a name with dots needs quotes: [services.\"{service}.{name}\"]"
                    ))
                }
                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                None => diagnostic.hint(format!("known keys: {}", self.known.join(", "))),
            };
        }
        sound
    }
}

fn make_item<'d>(
    document: &'d Document,
    path: &str,
    name: &Spanned<DeString<'d>>,
    value: &'d Spanned<DeValue<'d>>,
) -> Item<'d> {
    let path = join_path(path, name.get_ref());
    Item {
        document,
        path,
        span: value.span(),
        key_span: name.span(),
        value: value.get_ref(),
    }
}

/// `path.key`, with a key that is more than letters, digits, `-` and `_` in quotes.
fn join_path(path: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    // Every value of every file has a path, and few are ever shown: one allocation each.
    let mut joined = String::with_capacity(path.len() + 1 + key.len());
    joined.push_str(path);
    if !path.is_empty() {
        joined.push('.');
    }
    if bare {
        joined.push_str(key);
    } else {
        joined.push_str(&format!("{key:?}"));
    }
    joined
}
