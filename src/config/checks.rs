//! `[checks.*]` and the (check, address) pairs that are probed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::document::{Item, Located, Table};
use super::kinds::{address, boolean, distinct, duration, integer, list, name_of, one_of, text};
use super::names::Names;
use crate::diag::Diagnostics;
use crate::model::{CheckId, CheckKind, CheckSpec, HttpSpec, ProbeTarget, StatusRange, Target, TargetId};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// A probe that takes longer than this says enough, whatever the interval.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Http,
    Https,
    Tcp,
}

/// Reads one `[checks.NAME]`.
pub(super) fn check(name: &str, item: &Item<'_>, out: &mut Diagnostics) -> Option<CheckSpec> {
    let mut t = item.table(out)?;
    let types = one_of(&[("http", Type::Http), ("https", Type::Https), ("tcp", Type::Tcp)]);
    let kind = t.required(out, "type", "write type = \"http\", \"https\" or \"tcp\"", types);
    let address = t.optional(out, "address", address);
    let port = t.optional(out, "port", integer(1..=65535, ""));
    let interval = t.optional(out, "interval", duration(MIN_INTERVAL..=MAX_INTERVAL)).unwrap_or(DEFAULT_INTERVAL);
    let timeout = t.located(out, "timeout", duration(Duration::from_millis(1)..=MAX_TIMEOUT));
    let fall = t.located(out, "fall", integer(1..=1000, ""));
    let rise = t.optional(out, "rise", integer(1..=1000, "")).unwrap_or(4);
    let forgive = t.optional(out, "forgive", integer(1..=1000, "")).unwrap_or(5);
    let timing = Timing { interval, timeout, fall };
    if t.sound() {
        timing.warn(item, out);
    }
    let exchange = http(&mut t, kind, out);
    if port.is_none() && kind == Some(Type::Tcp) && t.item("port").is_none() {
        out.error("missing-key", item.key_at(), t.key_path("port"), format!("`port` is missing in `{}`", item.path))
            .hint("a tcp check has no usual port: write port = 5432, or whichever it is");
        return None;
    }
    if !t.finish(out) {
        return None;
    }
    let (http, verify_certificate) = exchange;
    let (kind, usual_port) = match kind? {
        Type::Tcp => (CheckKind::Tcp, 0),
        Type::Http => (CheckKind::Http(http), 80),
        Type::Https => (CheckKind::Https { http, verify_certificate }, 443),
    };
    Some(CheckSpec {
        name: name.to_owned(),
        kind,
        address,
        port: port.map_or(usual_port, |port| port as u16),
        interval,
        timeout: timing.timeout.map_or(DEFAULT_TIMEOUT.min(interval / 2), |t| t.value),
        fall: timing.fall.map_or(3, |fall| fall.value),
        rise,
        forgive,
    })
}

struct Timing {
    interval: Duration,
    timeout: Option<Located<Duration>>,
    fall: Option<Located<u32>>,
}

impl Timing {
    fn warn(&self, item: &Item<'_>, out: &mut Diagnostics) {
        let show = humantime::format_duration;
        if let Some(timeout) = self.timeout.as_ref().filter(|timeout| timeout.value >= self.interval) {
            let message = format!("a timeout of {} is not below the interval of {}", show(timeout.value), show(self.interval));
            out.warning("slow-timeout", timeout.at.clone(), format!("{}.timeout", item.path), message)
                .hint("a slow probe then still runs when the next is due; half the interval is usual");
        }
        if let Some(fall) = self.fall.as_ref().filter(|fall| fall.value < 3 && self.interval < Duration::from_secs(1)) {
            let message = format!(
                "fall = {} with an interval of {} takes little packet loss for an outage",
                fall.value,
                show(self.interval)
            );
            out.warning("quick-fall", fall.at.clone(), format!("{}.fall", item.path), message)
                .hint("fall = 3 or an interval of at least 1s forgives a lost packet");
        }
    }
}

/// Reads the keys of HTTP, and reports those that this type of check has no use for.
fn http(t: &mut Table<'_>, kind: Option<Type>, out: &mut Diagnostics) -> (HttpSpec, bool) {
    let useless = |key: &'static str, t: &mut Table<'_>, out: &mut Diagnostics| {
        let useless = match kind {
            Some(Type::Tcp) => Some("tcp"),
            Some(Type::Http) if key == "verify_certificate" => Some("http"),
            _ => None,
        };
        if let (Some(kind), Some(item)) = (useless, t.item(key)) {
            let message = format!("`{key}` does nothing in a check of type \"{kind}\"");
            out.error("useless-key", item.key_at(), item.path, message).hint("remove it, or change the type of the check");
        }
    };
    for key in ["path", "host", "method", "headers", "expect_status", "verify_certificate"] {
        useless(key, t, out);
    }
    let exchange = HttpSpec {
        path: t.optional(out, "path", path).unwrap_or_else(|| "/".to_owned()),
        host: t.optional(out, "host", host),
        method: t.optional(out, "method", method).unwrap_or_else(|| "GET".to_owned()),
        headers: t.optional(out, "headers", headers).unwrap_or_default(),
        expect_status: t.optional(out, "expect_status", statuses).unwrap_or_else(|| vec![StatusRange { first: 200, last: 299 }]),
    };
    (exchange, t.optional(out, "verify_certificate", boolean).unwrap_or(true))
}

fn path(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let path = text(item, out)?;
    if path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Some(path);
    }
    let diagnostic = item.error(out, "bad-path", format!("{} is not the path of a URL", item.written()));
    match path.starts_with('/') {
        true => diagnostic.hint("percent-encode spaces, `#` and what is not ASCII"),
        false => diagnostic.hint("it starts with a slash: \"/healthz\""),
    };
    None
}

fn host(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let host = text(item, out)?;
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label)) {
        return Some(host);
    }
    let diagnostic = item.error(out, "bad-host", format!("{} is not a host name", item.written()));
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
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn method(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let method = text(item, out)?;
    let good = is_token(&method) && !method.bytes().any(|b| b.is_ascii_lowercase()) && method != "CONNECT";
    if !good {
        item.error(out, "bad-method", format!("{} is not a method a check can use", item.written()))
            .hint("methods are in upper case: \"GET\", \"HEAD\", \"POST\"");
    }
    good.then_some(method)
}

fn headers(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<(String, String)>> {
    let headers: Vec<_> = item.table(out)?.items().map(|(name, item)| header(name, &item, out)).collect();
    headers.into_iter().collect()
}

fn header(name: &str, item: &Item<'_>, out: &mut Diagnostics) -> Option<(String, String)> {
    let value = item.string(out, "a string")?;
    let (message, hint) = if !is_token(name) {
        (format!("{name:?} is not the name of a header"), "use letters, digits and hyphens")
    } else if name.eq_ignore_ascii_case("host") {
        ("the Host header has a key of its own".to_owned(), "write host = \"…\" in the check")
    } else if ["connection", "content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
        (format!("the {name} header is set by the probe itself"), "remove it")
    } else if !value.bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic()) {
        (format!("{} cannot be the value of a header", item.written()), "use printable ASCII characters")
    } else {
        return Some((name.to_owned(), value.to_owned()));
    };
    out.error("bad-header", item.key_at(), item.path.clone(), message).hint(hint);
    None
}

fn statuses(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<StatusRange>> {
    let ranges = list(status)(item, out)?;
    if ranges.is_empty() {
        item.error(out, "empty-value", "the list is empty: no probe would ever pass")
            .hint("write [\"2xx\"], or leave the key out");
        return None;
    }
    Some(ranges)
}

/// `"204"`, `"2xx"` or `"200-299"`.
fn status(item: &Item<'_>, out: &mut Diagnostics) -> Option<StatusRange> {
    let text = item.string(out, "a status in quotes, such as \"2xx\",")?;
    let code = |text: &str| text.parse().ok().filter(|code| text.len() == 3 && (100..=599).contains(code));
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) if class.len() == 1 => code(&format!("{class}00")).map(|first| (first, first + 99)),
        (_, Some((first, last))) => code(first).zip(code(last)).filter(|(first, last)| first <= last),
        _ => code(text).map(|code| (code, code)),
    };
    let Some((first, last)) = range else {
        item.error(out, "bad-status", format!("{} is not a status from 100 to 599", item.written()))
            .hint("write one (\"204\"), a class (\"2xx\") or a range (\"200-399\")");
        return None;
    };
    Some(StatusRange { first, last })
}

/// Every (check, address) pair met so far: services that use the same pair share its health.
#[derive(Default)]
pub(super) struct Targets {
    ids: HashMap<ProbeTarget, TargetId>,
    list: Vec<ProbeTarget>,
}

impl Targets {
    pub(super) fn id(&mut self, check: CheckId, target: &Target) -> TargetId {
        let probe = ProbeTarget { check, target: target.clone() };
        *self.ids.entry(probe).or_insert_with_key(|probe| {
            self.list.push(probe.clone());
            TargetId::from_index(self.list.len() - 1)
        })
    }

    /// The index of the check of a pair.
    pub(super) fn check(&self, target: TargetId) -> usize {
        self.list[target.index()].check.index()
    }

    pub(super) fn into_list(self) -> Vec<ProbeTarget> {
        self.list
    }
}

/// Reads `[server] sanity`: names of checks that bring their own address. A check that is wrong in
/// itself has been reported and is `None`.
pub(super) fn sanity(
    item: &Item<'_>,
    names: &Names,
    checks: &[Option<CheckSpec>],
    targets: &mut Targets,
    out: &mut Diagnostics,
) -> Option<Vec<TargetId>> {
    let read = name_of(names);
    let one = |item: &Item<'_>, out: &mut Diagnostics| {
        let id = read(item, out)?;
        let check = checks[id].as_ref()?;
        let Some(address) = check.address else {
            let message = format!("the check \"{}\" has no address, so there is nothing to probe", check.name);
            item.error(out, "sanity-without-address", message).hint(format!(
                "write address = \"…\" in [checks.{}]: something of our own network, such as its router",
                check.name
            ));
            return None;
        };
        Some(targets.id(CheckId::from_index(id), &Target::Address(address)))
    };
    distinct(one, "check")(item, out)
}

/// Warns about addresses of checks that `sanity` does not use: endpoints bring their own.
pub(super) fn warn_unused_addresses(items: &[Item<'_>], used: &[usize], out: &mut Diagnostics) {
    for (_, item) in items.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
        let address = item.table(&mut Diagnostics::default()).and_then(|mut t| t.item("address"));
        if let Some(address) = address {
            out.warning("unused-address", address.key_at(), address.path, "only [server] sanity uses the address of a check")
                .hint("endpoints are probed at their own addresses: remove it, or list the check in `sanity`");
        }
    }
}
