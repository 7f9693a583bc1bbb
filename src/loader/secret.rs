//! Secrets, which are read from their own places and copied nowhere: values of headers, the token file,
//! and the files of the certificate.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reading::{MAX_FILE, Problem, read_up_to, refuse, text};
use crate::config::Unreadable;
use crate::model::SecretPlace;

/// A token file: a thousand tokens with their names take less.
const MAX_TOKENS: u64 = 1 << 20;
/// The value of a header: web servers take no longer ones.
const MAX_SECRET: usize = 8 << 10;

/// Reads a secret for the value of a header, without the line end that editors and `echo` put
/// behind it. `None` where it is a credential and systemd has given this process none. Messages
/// about a bad secret never show any of it.
pub(super) fn secret(place: &SecretPlace) -> Result<Option<String>, Unreadable> {
    let Some(path) = path_of(place) else {
        return Ok(None);
    };
    let bytes = read_secret_file(place, &path, MAX_FILE)?;
    // Editors end the file with a line end, which no header may have.
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    check_secret(&path, line).map(Some)
}

/// Path of a secret; `None` where it is a credential and systemd has given this process none.
pub(super) fn path_of(place: &SecretPlace) -> Option<PathBuf> {
    match place {
        SecretPlace::File(path) => Some(path.clone()),
        SecretPlace::Credential(name) => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY")?;
            Some(Path::new(&directory).join(name))
        }
    }
}

/// Reads the file of a secret, of at most `limit` octets, whose path is `path`.
pub(super) fn read_secret_file(
    place: &SecretPlace,
    path: &Path,
    limit: u64,
) -> Result<Vec<u8>, Unreadable> {
    read_up_to(path, limit).map_err(|problem| match (&problem, place) {
        (Problem::Io(error), SecretPlace::Credential(name)) if error.kind() == ErrorKind::NotFound => Unreadable {
            rule: "missing-file",
            message: format!("systemd gave this service no credential {name}"),
            hint: Some(format!("add LoadCredential={name}:/etc/meridian/{name} with `systemctl edit meridian`, and restart the service")),
            position: None,
        },
        _ => problem.explain(path),
    })
}

/// Reads a token file: its path, and its text.
pub(super) fn tokens(place: &SecretPlace) -> Result<Option<(PathBuf, Arc<str>)>, Unreadable> {
    let Some(path) = path_of(place) else {
        return Ok(None);
    };
    let text = text(&path, read_secret_file(place, &path, MAX_TOKENS)?)?;
    Ok(Some((path, text.into())))
}

/// The secret in `line`, where it can be the value of a header. Messages never show any of it.
fn check_secret(path: &Path, line: &[u8]) -> Result<String, Unreadable> {
    const RULE: &str = "bad-secret";
    if line.is_empty() {
        let hint = "write the secret into the file, on one line";
        return refuse(path, RULE, "is empty", hint);
    }
    if line.len() > MAX_SECRET {
        let what = format!("has {} octets, more than {MAX_SECRET}", line.len());
        return refuse(path, RULE, &what, "check that it is the right file");
    }
    if let Some(at) = line.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        let what = format!("has more than one line: octet {} is a line end", at + 1);
        let hint = "write the secret on one line, as a header needs it";
        return refuse(path, RULE, &what, hint);
    }
    match String::from_utf8(line.to_vec()) {
        Ok(text)
            if text
                .bytes()
                .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic()) =>
        {
            Ok(text)
        }
        _ => {
            let at = line
                .iter()
                .position(|b| !matches!(b, b' ' | b'\t' | b'!'..=b'~'))
                .unwrap_or_default();
            let hint =
                "a header holds printable ASCII characters: encode others, for example as Base64";
            let what = format!(
                "cannot be the value of a header: octet {} is not printable ASCII",
                at + 1
            );
            refuse(path, RULE, &what, hint)
        }
    }
}
