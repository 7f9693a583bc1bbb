//! `[[notify]]`: the destinations of notifications.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::checks::{self, Files};
use super::document::{Item, Located, Table};
use super::kinds::{distinct, duration, list, one_of, text};
use super::report;
use crate::diag::{Diagnostics, did_you_mean};
use crate::dns::Name;
use crate::model::{
    CHANGE_KINDS, Channel, HeaderText, NotifyFilter, NotifySpec, Severity, Template, WebhookBody,
    WebhookSpec,
};

use super::names::Names;

/// The most destinations: each has a queue and a task.
const MOST: usize = 32;
/// The longest name: it stands in labels of metrics.
const LONGEST_NAME: usize = 63;

const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// An object that flaps does so within minutes.
const DEFAULT_RESOLVE_AFTER: Duration = Duration::from_secs(60);
/// A message that is an hour late wakes somebody up for nothing.
const DEFAULT_GIVE_UP: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The forms of a body that need nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Slack,
}

/// Reads every `[[notify]]`.
pub(super) fn destinations(
    root: &mut Table<'_>,
    regions: &Names,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Vec<NotifySpec> {
    let read = root.optional(out, "notify", |item, out| {
        let elements = item.elements(out)?;
        if let Some(more) = elements.get(MOST) {
            let message = format!("there are more than {MOST} destinations");
            more.key_error(out, "too-many", message)
                .hint("one destination may stand for many people: have it pass messages on");
        }
        let mut specs = Vec::with_capacity(elements.len());
        let mut seen = HashSet::new();
        for element in &elements {
            if let Some(spec) = destination(element, regions, files, out) {
                if !seen.insert(spec.name.clone()) {
                    let message = format!("there are two destinations \"{}\"", spec.name);
                    element
                        .key_error(out, "listed-twice", message)
                        .hint("metrics and the log know destinations by their names: change one");
                }
                specs.push(spec);
            }
        }
        Some(specs)
    });
    read.unwrap_or_default()
}

fn destination(
    item: &Item<'_>,
    regions: &Names,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<NotifySpec> {
    let mut t = item.table(out)?;
    let name = t.required(out, "name", "write name = \"ops\"", name);
    let channel = channel(&mut t, item, files, out);
    let filter = NotifyFilter {
        kinds: t.optional(out, "kinds", kinds).unwrap_or_default(),
        services: t
            .optional(out, "services", distinct(service, "service"))
            .unwrap_or_default(),
        regions: t
            .optional(out, "regions", |item, out| regions_of(item, regions, out))
            .unwrap_or_default(),
        severity: t
            .optional(out, "severity", one_of(&Severity::NAMES))
            .unwrap_or(Severity::Warning),
    };
    let resolve_after = t.optional(out, "resolve_after", duration(Duration::ZERO..=DAY));
    let timeout = t.optional(out, "timeout", duration(TIMEOUTS.0..=TIMEOUTS.1));
    let give_up = t.optional(out, "give_up", duration(Duration::from_secs(1)..=DAY));
    if !t.finish(out) {
        return None;
    }
    Some(NotifySpec {
        name: name?,
        channel: channel?,
        filter,
        resolve_after: resolve_after.unwrap_or(DEFAULT_RESOLVE_AFTER),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        give_up: give_up.unwrap_or(DEFAULT_GIVE_UP),
    })
}

/// Reads the way to the destination: `url` and what belongs to it, or `exec`.
fn channel(
    t: &mut Table<'_>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Channel> {
    let url = t.located(out, "url", checks::header_text);
    let exec = t.located(out, "exec", checks::command);
    let body = body(t, item, out);
    let headers = t.optional(out, "headers", checks::headers);
    let secret = t.located(out, "secret", checks::header_text);
    let ca_file = t.located(out, "ca_file", |item, out| {
        text(item, out).map(PathBuf::from)
    });
    let (has_url, has_exec) = (t.item("url").is_some(), t.item("exec").is_some());
    if has_url == has_exec {
        let (rule, message) = match has_url {
            true => ("excluding-keys", "`url` and `exec` exclude each other"),
            false => ("missing-key", "a destination needs `url` or `exec`"),
        };
        item.key_error(out, rule, message).hint(
            "write url = \"https://hooks.example.net/…\", or exec = [\"/usr/local/bin/page\"]",
        );
        return None;
    }
    if let Some(exec) = exec {
        return checks::program(exec, "exec", item, files, out).map(Channel::Exec);
    }
    // Before the others: each part that is wrong is reported.
    let url = url.and_then(|url| target(url, item, files, out));
    let headers = match headers {
        Some(headers) => checks::with_secrets(headers, item, files, out)?,
        None => Vec::new(),
    };
    let secret = match secret {
        None => None,
        Some(secret) => match hidden("secret", secret, item, files, out)? {
            HeaderText::Secret(secret) => Some(secret),
            HeaderText::Plain(_) => {
                let message = "the secret of signatures stands in the configuration itself";
                item.key_error(out, "bad-secret", message).hint(
                    "write secret = { file = \"notify.key\" } or { credential = \"notify\" }",
                );
                return None;
            }
        },
    };
    let roots = match ca_file {
        Some(file) => Some(checks::roots(&file, item, files, out)?),
        None => None,
    };
    Some(Channel::Webhook(Box::new(WebhookSpec {
        url: url?,
        body: body?,
        headers,
        secret,
        roots,
    })))
}

/// Reads the value of a secret, where it is one.
fn hidden(
    key: &str,
    Located { mut value, at }: Located<HeaderText>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<HeaderText> {
    let HeaderText::Secret(secret) = &mut value else {
        return Some(value);
    };
    let path = format!("{}.{key}", item.path);
    if let Err(problem) = checks::read_secret(secret, files) {
        report(problem, at, path, out);
        return None;
    }
    if secret.value.is_none() {
        let message = format!("{} cannot be read here", secret.place);
        out.warning("secret-not-read", at, path, message).hint(
            "without it the destination gets no message; systemd hands credentials (LoadCredential=) to the service alone",
        );
    }
    Some(value)
}

/// Reads the URL, which may be a secret: no message shows it.
fn target(
    url: Located<HeaderText>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<HeaderText> {
    let at = url.at.clone();
    let url = hidden("url", url, item, files, out)?;
    let whole = url.text();
    let is_good = whole.is_none_or(|whole: Cow<'_, str>| {
        Url::parse(&whole).is_ok_and(|url| {
            ["http", "https"].contains(&url.scheme()) && url.has_host() && url.username().is_empty()
        })
    });
    if is_good {
        return Some(url);
    }
    let message = "this is not the URL of a webhook";
    out.error("bad-url", at, format!("{}.url", item.path), message)
        .hint("write https://HOST/PATH, without a user: a password belongs into `headers`");
    None
}

/// Reads the form of the body.
fn body(t: &mut Table<'_>, item: &Item<'_>, out: &mut Diagnostics) -> Option<WebhookBody> {
    const FORMATS: &[(&str, Format)] = &[("json", Format::Json), ("slack", Format::Slack)];
    let format = t.optional(out, "format", one_of(FORMATS));
    let written = t.located(out, "template", text);
    let content_type = t.optional(out, "content_type", media_type);
    let Some(Located { value: written, at }) = written else {
        return Some(match format {
            Some(Format::Slack) => WebhookBody::Slack,
            Some(Format::Json) | None => WebhookBody::Json,
        });
    };
    let path = t.key_path("template");
    if format.is_some() {
        item.key_error(
            out,
            "excluding-keys",
            "`template` and `format` exclude each other",
        )
        .hint("remove one of them: a body has one form");
        return None;
    }
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    let template = match Template::parse(&written) {
        Ok(template) => template,
        Err(problem) => {
            let names: Vec<_> = Template::VARIABLES.iter().map(|(name, _)| *name).collect();
            out.error("bad-template", at, path, problem.to_string())
                .hint(format!("placeholders: {}", names.join(", ")));
            return None;
        }
    };
    let sample = template.render(|name| name.to_owned());
    if content_type == "application/json"
        && let Err(problem) = serde_json::from_str::<serde::de::IgnoredAny>(&sample)
    {
        let message = format!("the template makes no JSON: {problem}");
        out.error("bad-template", at, path, message).hint(
            "put placeholders into quotes, or set content_type = \"text/plain\"; values are escaped for JSON",
        );
        return None;
    }
    Some(WebhookBody::Template {
        template,
        content_type,
    })
}

fn media_type(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let kind = text(item, out)?;
    let is_printable = kind.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if is_printable && kind.contains('/') {
        return Some(kind);
    }
    item.error(
        out,
        "bad-header",
        format!("{} is not a media type", item.written()),
    )
    .hint("write \"application/json\" or \"text/plain; charset=utf-8\"");
    None
}

/// The name of a destination.
fn name(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let name = text(item, out)?;
    let is_good = name.len() <= LONGEST_NAME
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !is_good {
        let message = format!("{} is not the name of a destination", item.written());
        item.error(out, "bad-name", message)
            .hint("use up to 63 letters, digits, `-` and `_`");
    }
    is_good.then_some(name)
}

fn kinds(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<String>> {
    distinct(kind, "kind")(item, out)
}

fn kind(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let kind = text(item, out)?;
    if CHANGE_KINDS.contains(&kind.as_str()) {
        return Some(kind);
    }
    let message = format!("\"{kind}\" is not a kind of object that changes");
    let hint = match did_you_mean(&kind, CHANGE_KINDS) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known kinds: {}", CHANGE_KINDS.join(", ")),
    };
    item.error(out, "unknown-value", message).hint(hint);
    None
}

/// A service's owner name, which need not exist: zones come and go.
fn service(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let written = text(item, out)?;
    match Name::from_text(&written, Some(&Name::root())) {
        Ok(name) => Some(name.to_string()),
        Err(problem) => {
            item.error(out, "bad-name", format!("{}: {problem}", item.written()));
            None
        }
    }
}

fn regions_of(item: &Item<'_>, regions: &Names, out: &mut Diagnostics) -> Option<Vec<String>> {
    let ids = list(super::kinds::name_of(regions))(item, out)?;
    Some(
        ids.into_iter()
            .map(|id| regions.name(id).to_owned())
            .collect(),
    )
}
