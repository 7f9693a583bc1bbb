//! Zone files: `zone`, its records, `[services.*]`, `[[tests]]`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::context::{Context, ZoneDefaults};
use super::digest::{Digest, Sha256};
use super::document::{BACKSLASHES, Document, Item, Located, Table};
use super::kinds::{integer, text};
use super::routing_tests::{self, Known};
use super::services::{self, Services};
use super::{Source, report};
use crate::diag::{At, Diagnostics, Sources};
use crate::dns::Name;
use crate::model::{RoutingTest, Service};
use crate::zone::{self, Include, IncludeError, Input, Records, Unread};

/// The longest TTL of a service: steering ends where caches keep answers for days.
pub(super) const MAX_TTL: u32 = 86_400;

/// The keys that only a zone file has: a file with none of them is another one.
pub(super) const KEYS: &[&str] = &["zone", "records", "records_file", "services", "tests"];

/// The rule of `$INCLUDE`: its file lies where the operator allows it.
pub const OUTSIDE: &str = "outside-zones";

/// The largest master file.
const MAX_MASTER_FILE: u64 = 1 << 30;

/// One zone file as read; ids of the zone and its services are given once all zones are known.
pub(super) struct ZoneDraft {
    pub(super) origin: Name,
    pub(super) at: At,
    pub(super) digest: Digest,
    pub(super) records: Records,
    pub(super) services: Vec<Service>,
    pub(super) tests: Vec<RoutingTest>,
    /// The names of which something could not be read.
    pub(super) unread: Unread,
}

/// Reads one zone file; `None` where its origin is not known, which is reported.
pub(super) fn zone(
    path: &Path,
    text: Arc<str>,
    context: &mut Context<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<ZoneDraft> {
    let before = out.errors();
    let document = Document::new(path.display().to_string().into(), text);
    // Another file may hold secrets: its lines are not shown.
    if !document.has_key(KEYS) && !document.is_empty() {
        refuse(&document, out);
        return None;
    }
    files.show(&document.file, &document.text);
    files.digest = Sha256::new();
    files.digest.add(&document.text);
    let entries = document.parse(out)?;
    let keys = Keys::read(document.root(&entries), context, out);
    check_end(&document, keys.end, context.require_end, out);
    let origin = keys.origin?;
    let place = Place {
        document: &document,
        path,
    };
    let records = records(&place, keys.inline, keys.file, &origin.value, files, out);
    let defaults = ZoneDefaults {
        origin: origin.value,
        ttl: keys.ttl,
        ttl_min: keys.ttl_min,
        map: keys.map,
    };
    let mut services = Services::default();
    if let Some(t) = &keys.services {
        services = services::services(t, &defaults, context, out);
    }
    let mut unread = match &records {
        Ok(records) | Err(records) => records.unread.clone(),
    };
    // Services that are no table may have been any.
    unread.anywhere |= services.unread.anywhere || keys.bad_services;
    unread.names.append(&mut services.unread.names);
    let mut tests = Vec::new();
    if let Some(items) = &keys.tests {
        // Where something could not be read, a test may be about just that: it is no unknown name.
        let sound = out.errors() == before;
        let known = Known::new(&defaults.origin, &services, records.as_ref().ok(), sound);
        tests = routing_tests::tests(items, &known, context, out);
    }
    Some(ZoneDraft {
        origin: defaults.origin,
        at: origin.at,
        digest: files.digest.finish(),
        records: records.unwrap_or_else(|partial| partial),
        services: services.list,
        tests,
        unread,
    })
}

/// Reports a file that is none of a zone, and nothing of what it holds.
fn refuse(document: &Document, out: &mut Diagnostics) {
    let file = &document.file;
    let message = format!(
        "{file} is not a zone file: it has none of the keys of one, so its text is not shown"
    );
    out.error("not-a-zone-file", At::file(file.clone()), "", message)
        .hint("every *.toml in the zones directory must be a zone file, with zone = \"…\"");
}

/// The keys of a zone file.
struct Keys<'d> {
    origin: Option<Located<Name>>,
    ttl: u32,
    ttl_min: Option<u32>,
    map: Option<usize>,
    inline: Option<Item<'d>>,
    file: Option<Item<'d>>,
    services: Option<Table<'d>>,
    /// True where `services` is no table, which has been reported.
    bad_services: bool,
    tests: Option<Vec<Item<'d>>>,
    end: Option<Item<'d>>,
}

impl<'d> Keys<'d> {
    fn read(mut t: Table<'d>, context: &Context<'_>, out: &mut Diagnostics) -> Keys<'d> {
        let origin = t.required(out, "zone", "name the zone: zone = \"gtm.example\"", origin);
        let ttl = t.optional(out, "ttl", integer(0..=MAX_TTL, "seconds"));
        let ttl = ttl.unwrap_or(services::DEFAULT_TTL);
        let ttl_min = t.located(out, "ttl_min", integer(0..=MAX_TTL, "seconds"));
        if let Some(ttl_min) = &ttl_min
            && t.sound()
        {
            services::check_ttl_min(ttl_min, ttl, "ttl_min", out);
        }
        let map = match t.optional(out, "map", services::map_name(context.maps)) {
            Some(map) => map,
            None => context.maps.find("default"),
        };
        let inline = t.item("records");
        let file = t.item("records_file");
        let has_services = t.item("services").is_some();
        let services = t.table(out, "services");
        let tests = t.optional(out, "tests", |item, out| item.elements(out));
        let end = t.item("end");
        // Unknown keys are reported; the rest of the file is read all the same.
        t.finish(out);
        Keys {
            origin,
            ttl,
            ttl_min: ttl_min.map(|ttl_min| ttl_min.value),
            map,
            inline,
            file,
            bad_services: has_services && services.is_none(),
            services,
            tests,
            end,
        }
    }
}

/// Checks that `[end]`, where it stands, is the last line: a file that was cut short lacks it, and
/// one that something was appended to has it too early.
fn check_end(document: &Document, end: Option<Item<'_>>, required: bool, out: &mut Diagnostics) {
    match end {
        Some(end) if !ends_with_end(&document.text) => {
            let message = "`[end]` marks the end of the file, but more lines follow it";
            out.error("end-not-last", end.key_at(), "end", message)
                .hint("write [end] alone on the last line, or remove it");
        }
        None if required => {
            let message = "the file has no [end], which [server] require_end demands: it may have been cut short";
            let at = At::file(document.file.clone());
            out.error("end-missing", at, "end", message)
                .hint("restore the whole file, whose last line is [end]");
        }
        _ => {}
    }
}

/// True when the last line that is neither blank nor a comment is `[end]`.
fn ends_with_end(text: &str) -> bool {
    for line in text.lines().rev() {
        let line = line.split('#').next().unwrap_or("").trim();
        if !line.is_empty() {
            return line == "[end]";
        }
    }
    false
}

/// Reads `zone`: a name, taken as absolute with or without its final dot.
fn origin(item: &Item<'_>, out: &mut Diagnostics) -> Option<Located<Name>> {
    let text = text(item, out)?;
    let is_odd = |c: &char| !(c.is_ascii_alphanumeric() || "-_./".contains(*c));
    let problem = match (
        text.chars().find(is_odd),
        Name::from_text(&text, Some(&Name::root())),
    ) {
        (None, Ok(value)) => {
            let at = item.at();
            return Some(Located { value, at });
        }
        (Some(odd), _) => format!("it contains {odd:?}"),
        (None, Err(problem)) => problem.to_string(),
    };
    let message = format!("\"{text}\" is not a valid zone name: {problem}");
    item.error(out, "bad-zone-name", message)
        .hint("write the name that is delegated to this server, such as \"gtm.example\"");
    None
}

/// The zone file that is read.
struct Place<'p> {
    document: &'p Document,
    path: &'p Path,
}

/// The records of the zone; those that could be read are the error where any is wrong.
fn records(
    place: &Place<'_>,
    inline: Option<Item<'_>>,
    file: Option<Item<'_>>,
    origin: &Name,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Result<Records, Records> {
    let before = out.errors();
    let Some(input) = records_input(place, inline, file, files, out) else {
        let mut none = Records::default();
        none.unread.anywhere = true;
        return Err(none);
    };
    let records = zone::parse(&input, origin, files, out);
    if out.errors() == before {
        Ok(records)
    } else {
        Err(records)
    }
}

/// The master-file text of the zone, from `records` or `records_file`.
fn records_input(
    place: &Place<'_>,
    inline: Option<Item<'_>>,
    file: Option<Item<'_>>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Input> {
    match (inline, file) {
        (Some(_), Some(file)) => {
            let message = "the zone has both `records` and `records_file`";
            file.key_error(out, "records-twice", message)
                .hint("keep one; the records can include other files with $INCLUDE");
            None
        }
        (Some(inline), None) => inline_input(place.document, &inline, files, out),
        (None, Some(file)) => {
            let name = text(&file, out)?;
            let path = sibling(place.path, &name);
            // The author of a zone file chooses where its records are, so any path will do. An
            // $INCLUDE may come with records from elsewhere, and is confined.
            match files.source.master_file(&path, None, MAX_MASTER_FILE) {
                Ok(text) => {
                    files.digest.add(&text.text);
                    Some(Input::whole(path.display().to_string(), text))
                }
                Err(problem) => {
                    report(problem, file.at(), "records_file", out);
                    None
                }
            }
        }
        (None, None) => {
            let at = At::file(place.document.file.clone());
            out.error("missing-key", at, "records", "the zone has no records").hint(
                "write at least its SOA and NS records into `records = '''…'''`, or name a master file with `records_file`",
            );
            None
        }
    }
}

/// The text of `records` and where it stands in its file. A literal string stands there letter by
/// letter. A string with escapes does not: it gets a name of its own, so that lines still count.
fn inline_input(
    document: &Document,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Input> {
    let text: Arc<str> = item.string(out, "the text of a master file")?.into();
    let raw = &document.text[item.span.clone()];
    if raw.starts_with('"') && raw.contains('\\') {
        if raw.starts_with("\"\"\"") {
            let message = "TOML resolves the backslashes in \"\"\"…\"\"\" first, so the records never see `\\\"` and `\\DDD`";
            item.key_warning(out, "backslash-in-records", message)
                .hint(BACKSLASHES);
        }
        let file: Arc<str> = format!("{} (records)", document.file).into();
        files.show(&file, &text);
        return Some(Input::whole(file, text.into()));
    }
    let start = item.span.start + opening_of(raw);
    let at = document.at(start..start);
    let whole = Input::whole(document.file.clone(), text.into());
    Some(Input {
        line_offset: at.line - 1,
        column_offset: at.column - 1,
        ..whole
    })
}

/// The length of what opens a string. A newline right after the opening of a multi-line string is
/// not part of the string (TOML 1.0 "String").
fn opening_of(raw: &str) -> usize {
    for quotes in ["'''", "\"\"\""] {
        let Some(rest) = raw.strip_prefix(quotes) else {
            continue;
        };
        return match rest.as_bytes() {
            [b'\r', b'\n', ..] => 5,
            [b'\n', ..] => 4,
            _ => 3,
        };
    }
    1
}

/// The path of `name`, which the file `from` names.
fn sibling(from: &Path, name: impl AsRef<Path>) -> PathBuf {
    from.parent().unwrap_or(Path::new("")).join(name)
}

/// The files of one zone: reads them from the source, and keeps for code frames the text of those
/// that are a zone's.
pub(super) struct Files<'s> {
    pub(super) source: &'s mut dyn Source,
    pub(super) sources: &'s mut Sources,
    /// The directories that `$INCLUDE` may lead to.
    pub(super) allowed: &'s [PathBuf],
    /// The texts read so far of the zone.
    pub(super) digest: Sha256,
}

impl Files<'_> {
    fn show(&mut self, file: &Arc<str>, text: &Arc<str>) {
        self.sources.insert(file.clone(), text.clone());
    }
}

impl Include for Files<'_> {
    fn read(&mut self, path: &str, from: &str, room: u64) -> Result<Input, IncludeError> {
        // A file has one name, however it is written: one that includes itself is found by it.
        let path: PathBuf = sibling(Path::new(from), path)
            .components()
            .filter(|component| *component != Component::CurDir)
            .collect();
        match self.source.master_file(&path, Some(self.allowed), room) {
            Ok(text) => {
                self.digest.add(&text.text);
                Ok(Input::whole(path.display().to_string(), text))
            }
            Err(problem) if problem.rule == OUTSIDE => Err(IncludeError {
                rule: OUTSIDE,
                message: problem.to_string(),
                hint: problem.hint,
            }),
            // The hints of other problems are about files that `meridian.toml` names.
            Err(problem) => Err(IncludeError {
                rule: "include-failed",
                message: problem.to_string(),
                hint: None,
            }),
        }
    }

    fn accept(&mut self, input: &Input) {
        self.show(&input.file, &input.text);
    }

    fn is_accepted(&self, file: &str) -> bool {
        self.sources.contains_key(file)
    }
}
