//! `[admin]` and `[audit]`.

use std::collections::HashSet;
use std::net::SocketAddr;

use toml::de::DeValue;

use super::checks::Files;
use super::document::{Item, Located, Table};
use super::kinds::{distinct, integer, socket, text};
use super::names::Names;
use super::tokens::{TokenScope, Tokens, read_tokens};
use super::{AdminLimits, AdminSpec, AuditSpec, CertificatePlaces, report};
use crate::diag::{At, Diagnostics, Sources};
use crate::model::{CheckSpec, SecretPlace};

/// The parts of the configuration that `[admin]` is read beside.
pub(super) struct Beside<'a> {
    /// The addresses that `[server]` listens on.
    pub(super) taken: &'a [Located<SocketAddr>],
    /// The names of all checks, and the checks by the same index.
    pub(super) check_names: &'a Names,
    pub(super) checks: &'a [Option<CheckSpec>],
}

/// Reads `[admin]`.
pub(super) fn admin(
    mut t: Table<'_>,
    beside: &Beside<'_>,
    files: &mut Files<'_>,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Option<AdminSpec> {
    let hint = "write listen = \"127.0.0.1:8053\", or leave [admin] out to have no HTTP interface";
    let listen = t.required(out, "listen", hint, |item, out| {
        addresses(item, beside.taken, out)
    });
    let mut taken = beside.taken.to_vec();
    taken.extend(listen.iter().flatten().cloned());
    let push_listen = t.optional(out, "push_listen", |item, out| addresses(item, &taken, out));
    let hosts = t
        .optional(out, "hosts", distinct(host, "name"))
        .unwrap_or_default();
    let certificate = t.located(out, "certificate", place(files));
    let key = t.located(out, "key", place(files));
    let token_file = t.located(out, "tokens", place(files));
    let limits = limits(&mut t, out);
    let (at, is_sound) = (t.at(), t.finish(out));

    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => pair(certificate, key, files, out),
        (Some(Located { at, .. }), None) if is_sound => half("key", &at, "certificate", out),
        (None, Some(Located { at, .. })) if is_sound => half("certificate", &at, "key", out),
        _ => None,
    };
    let tokens = token_file
        .as_ref()
        .map(|file| tokens(file, beside, files, sources, out));
    let listen = listen?;
    let push_listen = push_listen.unwrap_or_default();
    if is_sound {
        let keyed = |key: &'static str| move |address| (key, address);
        let pushes = push_listen.iter().map(keyed("admin.push_listen"));
        for (key, address) in listen.iter().map(keyed("admin.listen")).chain(pushes) {
            check_exposed(
                key,
                address,
                certificate.is_some(),
                token_file.is_some(),
                &at,
                out,
            );
        }
    }
    Some(AdminSpec {
        listen: values(listen),
        push_listen: values(push_listen),
        hosts,
        certificate,
        token_place: token_file.map(|file| file.value),
        tokens: tokens.flatten().unwrap_or_default(),
        limits,
    })
}

fn values(addresses: Vec<Located<SocketAddr>>) -> Vec<SocketAddr> {
    addresses.into_iter().map(|address| address.value).collect()
}

fn limits(t: &mut Table<'_>, out: &mut Diagnostics) -> AdminLimits {
    let default = AdminLimits::default();
    let connections = t.optional(out, "connections", integer(4..=10_000, "connections"));
    let streams = t.optional(out, "streams", integer(0..=10_000, "streams"));
    let rate = t.optional(
        out,
        "request_rate",
        integer(1..=1_000_000, "requests a second"),
    );
    AdminLimits {
        connections: connections.map_or(default.connections, |count| count as usize),
        streams: streams.map_or(default.streams, |count| count as usize),
        request_rate: rate.unwrap_or(default.request_rate),
    }
}

/// Reads one address or a list of them, none of which may be `taken`.
fn addresses(
    item: &Item<'_>,
    taken: &[Located<SocketAddr>],
    out: &mut Diagnostics,
) -> Option<Vec<Located<SocketAddr>>> {
    if !matches!(item.value, DeValue::Array(_)) {
        return Some(vec![free(item, taken, out)?]);
    }
    let elements = item.elements(out)?;
    if elements.is_empty() {
        item.error(out, "empty-value", "the list is empty")
            .hint("leave the key out, or write an address such as \"127.0.0.1:8053\"");
        return None;
    }
    // All are read before any is given up, so that each wrong one is reported.
    let read: Vec<_> = elements.iter().map(|item| free(item, taken, out)).collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    let mut seen = HashSet::new();
    for address in &read {
        if address.value.port() != 0 && !seen.insert(address.value) {
            let message = format!("{} is listed twice", address.value);
            out.error(
                "duplicate-listen-address",
                address.at.clone(),
                item.path.clone(),
                message,
            )
            .hint("list each address once");
            return None;
        }
    }
    Some(read)
}

fn free(
    item: &Item<'_>,
    taken: &[Located<SocketAddr>],
    out: &mut Diagnostics,
) -> Option<Located<SocketAddr>> {
    let address = socket(item, out)?;
    for other in taken {
        // Port 0 is a new port each time.
        if other.value == address && address.port() != 0 {
            let message = format!("the listen address at {} already uses {address}", other.at);
            item.error(out, "duplicate-listen-address", message)
                .hint("give every interface a port of its own");
            return None;
        }
    }
    Some(Located {
        value: address,
        at: item.at(),
    })
}

/// Reports an address that a network reaches, where requests are neither encrypted nor known by a
/// token.
fn check_exposed(
    key: &str,
    address: &Located<SocketAddr>,
    has_certificate: bool,
    has_tokens: bool,
    section: &At,
    out: &mut Diagnostics,
) {
    if address.value.ip().to_canonical().is_loopback() {
        return;
    }
    let missing = match (has_certificate, has_tokens) {
        (true, true) => return,
        (false, false) => "`certificate`, `key` and `tokens` are",
        (false, true) => "`certificate` and `key` are",
        (true, false) => "`tokens` is",
    };
    let message = format!(
        "{} is not a loopback address, so the network can reach it: {missing} needed in [admin] at {section}",
        address.value
    );
    let hint = format!(
        "add the missing keys (docs/access.md), or write listen = \"127.0.0.1:{}\" and ask by a tunnel",
        address.value.port()
    );
    out.error("exposed-admin-address", address.at.clone(), key, message)
        .hint(hint);
}

/// Reports the one of two keys that is `missing`.
fn half<T>(missing: &str, at: &At, written: &str, out: &mut Diagnostics) -> Option<T> {
    let message = format!("`{written}` is of no use without `{missing}`");
    out.error(
        "missing-key",
        at.clone(),
        format!("admin.{missing}"),
        message,
    )
    .hint(format!("write {missing} = \"FILE\" with the PEM file"));
    None
}

/// Reads the place of a file: a path, or a credential of systemd.
fn place<'d>(
    files: &Files<'_>,
) -> impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<SecretPlace> + use<'d> {
    let directory = files.directory.to_owned();
    move |item, out| {
        if !matches!(item.value, DeValue::Table(_)) {
            return text(item, out).map(|path| SecretPlace::File(directory.join(path)));
        }
        let mut t = item.table(out)?;
        let hint = "write a path, or { credential = \"NAME\" } for one of LoadCredential=NAME:PATH";
        let name = t.required(out, "credential", hint, super::checks::credential);
        t.finish(out).then_some(name?).map(SecretPlace::Credential)
    }
}

/// Checks that certificate and key can be used together.
fn pair(
    certificate: Located<SecretPlace>,
    key: Located<SecretPlace>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<CertificatePlaces> {
    let places = CertificatePlaces {
        certificate: certificate.value,
        key: key.value,
    };
    match files.source.certificate(&places) {
        Ok(true) => {}
        Ok(false) => {
            let message = "the certificate cannot be read here";
            out.warning(
                "secret-not-read",
                certificate.at,
                "admin.certificate",
                message,
            )
            .hint("systemd hands credentials (LoadCredential=) to the service alone");
        }
        // The key is at fault where a rule about keys says so.
        Err(problem) if problem.rule == "bad-key" => report(problem, key.at, "admin.key", out),
        Err(problem) => report(problem, certificate.at, "admin.certificate", out),
    }
    // Said once: an address without a good certificate is not reported for having none.
    Some(places)
}

/// Reads the token file.
fn tokens(
    file: &Located<SecretPlace>,
    beside: &Beside<'_>,
    files: &mut Files<'_>,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Option<Tokens> {
    let (path, text) = match files.source.tokens(&file.value) {
        Ok(Some(read)) => read,
        Ok(None) => {
            let message = format!("{} cannot be read here", file.value);
            out.warning("secret-not-read", file.at.clone(), "admin.tokens", message)
                .hint("systemd hands credentials (LoadCredential=) to the service alone");
            return None;
        }
        Err(problem) => {
            report(problem, file.at.clone(), "admin.tokens", out);
            return None;
        }
    };
    let tokens = read_tokens(&path, text, sources, out)?;
    if tokens.is_empty() {
        let message = format!("{} has no token, so nobody is let in", file.value);
        out.warning("no-tokens", file.at.clone(), "admin.tokens", message)
            .hint("`meridian token new NAME --scope read` prints a token and a table for the file");
    }
    for token in tokens.iter() {
        for scope in &token.scopes {
            let TokenScope::Push(check) = scope else {
                continue;
            };
            let found = beside.check_names.find(check);
            let is_push = found.map(|index| {
                let spec = beside.checks[index].as_ref();
                spec.is_none_or(|spec| spec.kind.is_push())
            });
            let message = match is_push {
                Some(true) => continue,
                Some(false) => {
                    format!("{check} is not a push check, so nothing can be pushed to it")
                }
                None => format!("there is no check \"{check}\""),
            };
            let key = format!("{}.scopes", token.name);
            let at = At::file(path.display().to_string());
            out.warning("unknown-check", at, key, message)
                .hint(beside.check_names.hint(check));
        }
    }
    Some(tokens)
}

/// Reads a name that stands in URLs.
fn host(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let name = text(item, out)?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    {
        item.error(out, "bad-name", format!("{} is not a host name", item.written())).hint(
            "write only the name, such as \"gtm.example.net\", without http:// or a port; addresses need not be listed",
        );
        return None;
    }
    Some(name.to_owned())
}

/// Reads `[audit]`.
pub(super) fn audit(mut t: Table<'_>, out: &mut Diagnostics) -> AuditSpec {
    let default = AuditSpec::default();
    let size = t.optional(out, "size", integer(65_536..=1 << 30, "octets"));
    let keep = t.optional(out, "keep", integer(1..=1000, "files"));
    t.finish(out);
    AuditSpec {
        size: size.map_or(default.size, u64::from),
        keep: keep.unwrap_or(default.keep),
    }
}
