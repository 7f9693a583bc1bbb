//! Zone files: `zone`, its records, `[services.*]`, `[[tests]]`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::checks::Targets;
use super::document::{BACKSLASHES, Document, Item, Located};
use super::kinds::{integer, text};
use super::names::Names;
use super::{Source, report, routing_tests, services};
use crate::diag::{At, Diagnostics, Sources};
use crate::dns::Name;
use crate::model::{MapSpec, Region, RoutingTest, Service};
use crate::zone::{self, Include, IncludeError, Input, Records, Unread};

/// The longest TTL of a service: steering ends where caches keep answers for days.
pub(super) const MAX_TTL: u32 = 86_400;

/// The keys that only a zone file has: one with none of them is another file.
pub(super) const KEYS: &[&str] = &["zone", "records", "records_file", "services", "tests"];

/// The rule of `$INCLUDE`: what it names lies where the operator allows it.
pub const OUTSIDE: &str = "outside-zones";

/// The largest master file.
const MAX_MASTER_FILE: u64 = 1 << 30;

/// What zone files refer to.
pub(super) struct Context<'c> {
    pub(super) regions: &'c Names,
    /// By region; `None` for one that is wrong and has been reported.
    pub(super) region_specs: &'c [Option<Region>],
    pub(super) maps: &'c Names,
    /// By map; `None` for one that is wrong and has been reported.
    pub(super) map_specs: &'c [Option<MapSpec>],
    pub(super) checks: &'c Names,
    pub(super) targets: &'c mut Targets,
    /// `[server] sole`; true where the section is wrong and has been reported.
    pub(super) sole: bool,
    /// `[server] require_end`.
    pub(super) require_end: bool,
}

/// What the services of a zone inherit.
pub(super) struct ZoneDefaults {
    pub(super) origin: Name,
    pub(super) ttl: u32,
    pub(super) ttl_min: Option<u32>,
    pub(super) map: Option<usize>,
}

/// One zone file as read; ids of the zone and its services are given once all zones are known.
pub(super) struct ZoneDraft {
    pub(super) origin: Name,
    pub(super) at: At,
    pub(super) records: Records,
    pub(super) services: Vec<Service>,
    pub(super) tests: Vec<RoutingTest>,
    /// What could not be read of it.
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
    if !document.has_key(KEYS) && !document.is_empty() {
        let message = format!(
            "{} is no zone file: it has none of the keys of one, so its text is not shown",
            document.file
        );
        out.error(
            "not-a-zone-file",
            At::file(document.file.clone()),
            "",
            message,
        )
        .hint("every *.toml in the zones directory is a zone file and begins with zone = \"…\"");
        return None;
    }
    files.show(&document.file, &document.text);
    let entries = document.parse(out)?;
    let mut t = document.root(&entries);
    let origin = t.required(out, "zone", "name the zone: zone = \"gtm.example\"", origin);
    let ttl = t
        .optional(out, "ttl", integer(0..=MAX_TTL, "seconds"))
        .unwrap_or(services::DEFAULT_TTL);
    let ttl_min = t.located(out, "ttl_min", integer(0..=MAX_TTL, "seconds"));
    if let Some(ttl_min) = ttl_min.as_ref().filter(|_| t.sound()) {
        services::check_ttl_min(ttl_min, ttl, "ttl_min", out);
    }
    let map = t
        .optional(out, "map", services::map_name(context.maps))
        .unwrap_or_else(|| context.maps.find("default"));
    let inline = t.item("records");
    let file = t.item("records_file");
    let has_services = t.item("services").is_some();
    let services = t.table(out, "services");
    let tests = t.optional(out, "tests", |item, out| item.elements(out));
    let end = t.item("end");
    t.finish(out);
    check_end(&document, end, context.require_end, out);

    let origin = origin?;
    let records = records(&document, path, inline, file, &origin.value, files, out);
    let defaults = ZoneDefaults {
        origin: origin.value,
        ttl,
        ttl_min: ttl_min.map(|t| t.value),
        map,
    };
    let mut unread = match &records {
        Ok(records) | Err(records) => records.unread.clone(),
    };
    // Services that are no table may have been any.
    unread.anywhere |= has_services && services.is_none();
    let services = services
        .map(|t| services::services(&t, &defaults, context, out))
        .unwrap_or_default();
    unread.names.extend(services.unread.names);
    unread.anywhere |= services.unread.anywhere;
    let owners = records
        .as_ref()
        .ok()
        .filter(|_| tests.is_some())
        .map(|records| routing_tests::owners(&services.names, records));
    let targets = services
        .list
        .iter()
        .flat_map(|service| &service.pools)
        .flat_map(|pool| &pool.endpoints)
        .map(|e| &e.target);
    let endpoints = (out.errors() == before).then(|| targets.collect());
    let tests = routing_tests::tests(
        &tests.unwrap_or_default(),
        &defaults.origin,
        owners.as_ref(),
        endpoints.as_ref(),
        context,
        out,
    );
    let records = records.unwrap_or_else(|partial| partial);
    Some(ZoneDraft {
        origin: defaults.origin,
        at: origin.at,
        records,
        services: services.list,
        tests,
        unread,
    })
}

/// `[end]`, where it stands, is the last line: a file that was cut short lacks it, and one that something was appended to has it
/// too early.
fn check_end(document: &Document, end: Option<Item<'_>>, required: bool, out: &mut Diagnostics) {
    let says_something = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let last = document.text.lines().map(str::trim).rfind(says_something);
    let is_last = last.is_some_and(|line| {
        line.split('#')
            .next()
            .is_some_and(|line| line.trim() == "[end]")
    });
    match end {
        Some(end) if !is_last => {
            out.error(
                "end-not-last",
                end.key_at(),
                "end",
                "`[end]` says that the file is whole, and is not its last line",
            )
            .hint("write [end] alone in the last line, or leave it out");
        }
        None if required => {
            let message = "the zone file has no [end], and [server] require_end asks for it: was it cut short?";
            out.error(
                "end-missing",
                At::file(document.file.clone()),
                "end",
                message,
            )
            .hint("a whole file ends with the line [end]");
        }
        _ => {}
    }
}

/// Reads `zone`: a name, taken as absolute with or without its final dot.
fn origin(item: &Item<'_>, out: &mut Diagnostics) -> Option<Located<Name>> {
    let text = text(item, out)?;
    let odd = text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "-_./".contains(*c)));
    let problem = match (odd, Name::from_text(&text, Some(&Name::root()))) {
        (None, Ok(value)) => {
            return Some(Located {
                value,
                at: item.at(),
            });
        }
        (Some(odd), _) => format!("\"{text}\" is not the name of a zone: it contains {odd:?}"),
        (None, Err(problem)) => format!("\"{text}\" is not the name of a zone: {problem}"),
    };
    item.error(out, "bad-zone-name", problem)
        .hint("write the name that is delegated to this server, such as \"gtm.example\"");
    None
}

/// The records of the zone; those that could be read are the error where any is wrong.
fn records(
    document: &Document,
    path: &Path,
    inline: Option<Item<'_>>,
    file: Option<Item<'_>>,
    origin: &Name,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Result<Records, Records> {
    let before = out.errors();
    let Some(input) = records_input(document, path, inline, file, files, out) else {
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
    document: &Document,
    path: &Path,
    inline: Option<Item<'_>>,
    file: Option<Item<'_>>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Input> {
    match (inline, file) {
        (Some(_), Some(file)) => {
            out.error(
                "records-twice",
                file.key_at(),
                "records_file",
                "the zone has both `records` and `records_file`",
            )
            .hint("keep one; a master file can take in others with $INCLUDE");
            None
        }
        (Some(inline), None) => inline_input(document, &inline, files, out),
        (None, Some(file)) => {
            let name = text(&file, out)?;
            let path = path.parent().unwrap_or(Path::new("")).join(name);
            // Whoever writes a zone file chooses where its records are; an $INCLUDE may come with records from elsewhere.
            match files.source.master_file(&path, None, MAX_MASTER_FILE) {
                Ok(text) => Some(Input::whole(path.display().to_string(), text)),
                Err(problem) => {
                    report(problem, file.at(), "records_file", out);
                    None
                }
            }
        }
        (None, None) => {
            out.error("missing-key", At::file(document.file.clone()), "records", "the zone has no records").hint(
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
            let message = "TOML resolves the backslashes in \"\"\"…\"\"\" before the records are read, so `\\\"` and `\\DDD` are none of theirs";
            out.warning(
                "backslash-in-records",
                item.key_at(),
                item.path.clone(),
                message,
            )
            .hint(BACKSLASHES);
        }
        let file: Arc<str> = format!("{} (records)", document.file).into();
        files.show(&file, &text);
        return Some(Input::whole(file, text.into()));
    }
    // A newline right after the opening of a multi-line string is not part of it (TOML 1.0 "String").
    let opening = [
        "'''\r\n",
        "'''\n",
        "'''",
        "\"\"\"\r\n",
        "\"\"\"\n",
        "\"\"\"",
    ]
    .into_iter()
    .find(|o| raw.starts_with(o));
    let start = item.span.start + opening.map_or(1, str::len);
    let at = document.at(start..start);
    let whole = Input::whole(document.file.clone(), text.into());
    Some(Input {
        line_offset: at.line - 1,
        column_offset: at.column - 1,
        ..whole
    })
}

/// The files of one zone: reads them from the source, and keeps for code frames the text of those that are a zone's.
pub(super) struct Files<'s> {
    pub(super) source: &'s mut dyn Source,
    pub(super) sources: &'s mut Sources,
    /// The directories that `$INCLUDE` may lead to.
    pub(super) allowed: &'s [PathBuf],
}

impl Files<'_> {
    fn show(&mut self, file: &Arc<str>, text: &Arc<str>) {
        self.sources.insert(file.clone(), text.clone());
    }
}

impl Include for Files<'_> {
    /// A file has one name, however it is written: that tells one that includes itself.
    fn read(&mut self, path: &str, from: &str, room: u64) -> Result<Input, IncludeError> {
        let path = Path::new(from).parent().unwrap_or(Path::new("")).join(path);
        let path: PathBuf = path
            .components()
            .filter(|component| *component != Component::CurDir)
            .collect();
        let text = self
            .source
            .master_file(&path, Some(self.allowed), room)
            .map_err(|problem| {
                let rule = if problem.rule == OUTSIDE {
                    OUTSIDE
                } else {
                    "include-failed"
                };
                IncludeError {
                    rule,
                    message: problem.to_string(),
                    hint: problem.hint.filter(|_| rule == OUTSIDE),
                }
            })?;
        Ok(Input::whole(path.display().to_string(), text))
    }

    fn accept(&mut self, input: &Input) {
        self.show(&input.file, &input.text);
    }

    fn is_accepted(&self, file: &str) -> bool {
        self.sources.contains_key(file)
    }
}
