//! Readers of the values that only checks have: one function per kind, like
//! [`super::super::kinds`].

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::super::document::{Item, Located};
use super::super::kinds::{duration, integer, list, number, text};
use super::super::pattern::{SIZE_LIMIT, compile_pattern};
use crate::diag::Diagnostics;
use crate::dns::{Name, RrType};
use crate::model::{
    FlapRule, HeaderText, JsonPointer, JsonRule, JsonTest, Pattern, Scalar, Secret, SecretPlace,
    StatusRange,
};

pub(super) fn path(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let path = text(item, out)?;
    if path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Some(path);
    }
    let diagnostic = item.error(
        out,
        "bad-path",
        format!("{} is not a URL path", item.written()),
    );
    match path.starts_with('/') {
        true => diagnostic.hint("percent-encode spaces, `#` and characters outside ASCII"),
        false => diagnostic.hint("a path starts with a slash: \"/healthz\""),
    };
    None
}

pub(super) fn host(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let host = text(item, out)?;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label)) {
        return Some(host);
    }
    let diagnostic = item.error(
        out,
        "bad-host",
        format!("{} is not a host name", item.written()),
    );
    if host.contains("://") {
        diagnostic.hint("leave the scheme out, and put the path into `path`");
    } else if host.contains(':') {
        diagnostic.hint("leave the port out: it has a key of its own");
    } else if host.ends_with('.') {
        diagnostic.hint("leave the final dot out: servers compare the Host header without it");
    }
    None
}

/// A token of HTTP (RFC 9110 §5.6.2): a method or the name of a header.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

pub(super) fn method(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let method = text(item, out)?;
    let good =
        is_token(&method) && !method.bytes().any(|b| b.is_ascii_lowercase()) && method != "CONNECT";
    if !good {
        item.error(
            out,
            "bad-method",
            format!("{} is not a method that a check can use", item.written()),
        )
        .hint("methods are in upper case: \"GET\", \"HEAD\", \"POST\"");
    }
    good.then_some(method)
}

/// Headers; the values of secrets are to be read still.
pub(in crate::config) fn headers(
    item: &Item<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<(String, Located<HeaderText>)>> {
    let headers: Vec<_> = item
        .table(out)?
        .items()
        .map(|(name, item)| header(name, &item, out))
        .collect();
    headers.into_iter().collect()
}

fn header(
    name: &str,
    item: &Item<'_>,
    out: &mut Diagnostics,
) -> Option<(String, Located<HeaderText>)> {
    let value = header_text(item, out)?;
    let (message, hint) = if !is_token(name) {
        (
            format!("{name:?} is not the name of a header"),
            "use letters, digits and hyphens",
        )
    } else if name.eq_ignore_ascii_case("host") {
        (
            "the Host header has a key of its own".to_owned(),
            "write host = \"…\" in the check",
        )
    } else if ["connection", "content-length", "transfer-encoding"]
        .contains(&name.to_ascii_lowercase().as_str())
    {
        (
            format!("the probe sets the {name} header itself"),
            "remove it",
        )
    } else {
        return Some((
            name.to_owned(),
            Located {
                value,
                at: item.at(),
            },
        ));
    };
    out.error("bad-header", item.key_at(), item.path.clone(), message)
        .hint(hint);
    None
}

/// A string, or `{ file = "…" }` or `{ credential = "…" }`, which may have a `prefix`.
pub(in crate::config) fn header_text(item: &Item<'_>, out: &mut Diagnostics) -> Option<HeaderText> {
    if !matches!(item.value, DeValue::Table(_)) {
        let text = item.string(
            out,
            "a string, or { file = \"…\" } or { credential = \"…\" } for a secret",
        )?;
        return printable(text, item, out).map(HeaderText::Plain);
    }
    let mut t = item.table(out)?;
    let prefix = t.optional(out, "prefix", |item, out| {
        printable(item.string(out, "a string")?, item, out)
    });
    let file = t.optional(out, "file", |item, out| text(item, out).map(PathBuf::from));
    let credential = t.optional(out, "credential", credential);
    if !t.finish(out) {
        return None;
    }
    let place = match (file, credential) {
        (Some(path), None) => SecretPlace::File(path),
        (None, Some(name)) => SecretPlace::Credential(name),
        _ => {
            out.error(
                "bad-header",
                item.key_at(),
                item.path.clone(),
                "a secret needs either `file` or `credential`",
            )
            .hint("write { file = \"token\", prefix = \"Bearer \" } or { credential = \"token\" }");
            return None;
        }
    };
    Some(HeaderText::Secret(Secret {
        prefix: prefix.unwrap_or_default(),
        place,
        value: None,
    }))
}

/// The name of a credential that systemd passes to the service.
pub(in crate::config) fn credential(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let name = text(item, out)?;
    let good = name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if !good {
        item.error(
            out,
            "bad-name",
            format!("{} is not the name of a credential", item.written()),
        )
        .hint("use the name from LoadCredential=NAME:PATH: letters, digits, dots and hyphens");
    }
    good.then_some(name)
}

fn printable(text: &str, item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    if text
        .bytes()
        .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
    {
        return Some(text.to_owned());
    }
    item.error(
        out,
        "bad-header",
        format!("{} cannot be the value of a header", item.written()),
    )
    .hint("use printable ASCII characters");
    None
}

pub(super) fn statuses(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<StatusRange>> {
    let ranges = list(status)(item, out)?;
    if ranges.is_empty() {
        item.error(
            out,
            "empty-value",
            "the list is empty, so no probe would ever pass",
        )
        .hint("write [\"2xx\"], or leave the key out");
        return None;
    }
    Some(ranges)
}

/// `"204"`, `"2xx"` or `"200-299"`.
fn status(item: &Item<'_>, out: &mut Diagnostics) -> Option<StatusRange> {
    let text = item.string(out, "a status in quotes, such as \"2xx\",")?;
    let code = |text: &str| {
        text.parse()
            .ok()
            .filter(|code| text.len() == 3 && (100..=599).contains(code))
    };
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) if class.len() == 1 => {
            code(&format!("{class}00")).map(|first| (first, first + 99))
        }
        (_, Some((first, last))) => code(first)
            .zip(code(last))
            .filter(|(first, last)| first <= last),
        _ => code(text).map(|code| (code, code)),
    };
    let Some((first, last)) = range else {
        item.error(
            out,
            "bad-status",
            format!("{} is not a status from 100 to 599", item.written()),
        )
        .hint("write one (\"204\"), a class (\"2xx\") or a range (\"200-399\")");
        return None;
    };
    Some(StatusRange { first, last })
}

/// The name of a header, to be read.
pub(super) fn header_name(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let name = text(item, out)?;
    if !is_token(&name) {
        item.error(
            out,
            "bad-header",
            format!("{name:?} is not the name of a header"),
        )
        .hint("use letters, digits and hyphens");
        return None;
    }
    Some(name)
}

/// Reads a rule of flapping; `false` is none.
pub(super) fn flap(item: &Item<'_>, out: &mut Diagnostics) -> Option<Option<FlapRule>> {
    let hint = "write flap = { changes = 4, within = \"10m\", hold = \"5m\" }, or flap = false to turn flap holds off";
    match item.value {
        DeValue::Boolean(false) => return Some(None),
        DeValue::Table(_) => {}
        _ => {
            item.error(
                out,
                "wrong-type",
                format!("{} is neither a table nor false", item.written()),
            )
            .hint(hint);
            return None;
        }
    }
    let mut t = item.table(out)?;
    let time = || duration(Duration::from_secs(1)..=Duration::from_secs(86_400));
    let default = FlapRule::DEFAULT;
    let rule = FlapRule {
        changes: t
            .optional(out, "changes", integer(1..=100, "changes"))
            .unwrap_or(default.changes),
        within: t.optional(out, "within", time()).unwrap_or(default.within),
        hold: t.optional(out, "hold", time()).unwrap_or(default.hold),
    };
    t.finish(out).then_some(Some(rule))
}

/// Reads a string of characters, or `{ regex = "…" }`.
pub(super) fn pattern(item: &Item<'_>, out: &mut Diagnostics) -> Option<Pattern> {
    if !matches!(item.value, DeValue::Table(_)) {
        let text = text(item, out)?;
        return compilable(Pattern::text(text), item, out);
    }
    let mut t = item.table(out)?;
    let hint = "write { regex = \"…\" }, or a plain string to look for it literally";
    let pattern = t.required(out, "regex", hint, |item, out| {
        compilable(Pattern::regex(text(item, out)?), item, out)
    });
    if t.finish(out) { pattern } else { None }
}

/// The pattern where it compiles; a report of why it does not.
fn compilable(pattern: Pattern, item: &Item<'_>, out: &mut Diagnostics) -> Option<Pattern> {
    let problem = match compile_pattern(&pattern) {
        Ok(_) => return Some(pattern),
        Err(regex::Error::CompiledTooBig(_)) => {
            format!("it takes more than {} KiB compiled", SIZE_LIMIT >> 10)
        }
        // The last line says what; those before it draw where, which the frame does.
        Err(error) => error
            .to_string()
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned(),
    };
    item.error(out, "bad-regex", format!("{} is not a valid regular expression: {problem}", item.written()))
        .hint("the syntax is that of Rust's regex crate, which has no look-around; single quotes keep backslashes as they are");
    None
}

/// The bounds of numbers of JSON: 2⁵³ either way, up to where whole numbers are exact.
const NUMBERS: RangeInclusive<f64> = -9_007_199_254_740_992.0..=9_007_199_254_740_992.0;

/// A JSON pointer.
pub(super) fn pointer(item: &Item<'_>, out: &mut Diagnostics) -> Option<JsonPointer> {
    let text = item.string(out, "a JSON pointer such as \"/status\"")?;
    let pointer = JsonPointer::new(text);
    if pointer.is_none() {
        let diagnostic = item.error(
            out,
            "bad-pointer",
            format!("{} is not a JSON pointer", item.written()),
        );
        match text.starts_with('/') {
            true => diagnostic.hint("only 0 (for `~`) or 1 (for `/`) may follow `~` (RFC 6901)"),
            false => diagnostic.hint("a pointer starts with a slash, and slashes separate its keys: \"/replication/lag_s\", \"/nodes/0\""),
        };
    }
    pointer
}

/// One rule over JSON, or a list of them.
pub(super) fn json(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<JsonRule>> {
    match item.value {
        DeValue::Array(_) => list(json_rule)(item, out),
        _ => json_rule(item, out).map(|rule| vec![rule]),
    }
}

fn json_rule(item: &Item<'_>, out: &mut Diagnostics) -> Option<JsonRule> {
    let mut t = item.table(out)?;
    let pointer = t.required(
        out,
        "pointer",
        "write { pointer = \"/replication/lag_s\", max = 5 }",
        pointer,
    );
    let (min, max) = (
        t.optional(out, "min", number(NUMBERS, "")),
        t.optional(out, "max", number(NUMBERS, "")),
    );
    let (equals, differs) = (
        t.optional(out, "equals", scalar),
        t.optional(out, "not", scalar),
    );
    let problem = match (min, max) {
        (Some(min), Some(max)) if min > max => Some(format!(
            "`min` {min} is above `max` {max}, so no probe would ever pass"
        )),
        _ if [min.or(max).is_some(), equals.is_some(), differs.is_some()]
            .iter()
            .filter(|test| **test)
            .count()
            > 1 =>
        {
            Some("bounds, `equals` and `not` exclude each other".to_owned())
        }
        _ => None,
    };
    if !t.finish(out) {
        return None;
    }
    if let Some(problem) = problem {
        out.error("bad-json-rule", item.key_at(), item.path.clone(), problem)
            .hint("write { pointer = \"…\", min = 0, max = 5 } or { pointer = \"…\", equals = \"ok\" }; write a list for several");
        return None;
    }
    let bounds = || JsonTest::Between {
        min: min.unwrap_or(f64::NEG_INFINITY),
        max: max.unwrap_or(f64::INFINITY),
    };
    let test = match (min.or(max), equals, differs) {
        (Some(_), ..) => bounds(),
        (_, Some(value), _) => JsonTest::Equals(value),
        (.., Some(value)) => JsonTest::Differs(value),
        _ => JsonTest::Present,
    };
    Some(JsonRule {
        pointer: pointer?,
        test,
    })
}

fn scalar(item: &Item<'_>, out: &mut Diagnostics) -> Option<Scalar> {
    match item.value {
        DeValue::String(text) => Some(Scalar::Text(text.clone().into_owned())),
        DeValue::Boolean(flag) => Some(Scalar::Flag(*flag)),
        DeValue::Integer(_) | DeValue::Float(_) => {
            number(NUMBERS, "")(item, out).map(Scalar::Number)
        }
        _ => {
            item.wrong_type(out, "a string, a number, true or false");
            None
        }
    }
}

/// A name of the DNS; it is absolute with or without its final dot.
pub(super) fn dns_name(item: &Item<'_>, out: &mut Diagnostics) -> Option<Name> {
    let text = text(item, out)?;
    match Name::from_text(&text, Some(&Name::root())) {
        Ok(name) => Some(name),
        Err(problem) => {
            item.error(out, "bad-name", format!("\"{text}\": {problem}"));
            None
        }
    }
}

/// A record type that can be asked for.
pub(super) fn rr_type(item: &Item<'_>, out: &mut Diagnostics) -> Option<RrType> {
    let text = text(item, out)?;
    let found = text
        .parse()
        .ok()
        .filter(|rr_type| ![RrType::OPT, RrType::AXFR, RrType::IXFR].contains(rr_type));
    if found.is_none() {
        item.error(
            out,
            "unknown-type",
            format!("\"{text}\" is not a record type that a check can query"),
        )
        .hint("write \"A\", \"AAAA\", \"SOA\", \"TXT\", …");
    }
    found
}

/// A program and its arguments.
pub(in crate::config) fn command(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<String>> {
    let words = list(|item: &Item<'_>, out: &mut Diagnostics| {
        item.string(out, "a string").map(str::to_owned)
    })(item, out)?;
    let problem = match words.first() {
        None => "the list is empty, so there is no program to run",
        Some(program) if !program.starts_with('/') => {
            "the first word must be the absolute path of a program"
        }
        _ if words.iter().any(|word| word.contains('\0')) => {
            "a word contains a NUL character, which cannot be passed to a program"
        }
        _ => return Some(words),
    };
    item.error(out, "bad-command", problem).hint(
        "write [\"/usr/local/lib/check\", \"argument\"]; neither a shell nor a search path is used",
    );
    None
}
