//! The files that checks name: secrets of headers, programs, and authorities of certificates.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::document::{Item, Located};
use crate::config::{Source, Unreadable, report};
use crate::diag::Diagnostics;
use crate::model::{HeaderText, Roots, Secret, SecretPlace};

/// The place of the files that a check names.
pub(in crate::config) struct Files<'a> {
    /// The directory that relative paths start from.
    pub(in crate::config) directory: &'a Path,
    pub(in crate::config) source: &'a mut dyn Source,
}

/// Reads the secrets among the headers; `None`, after all of them, where one cannot be read.
pub(in crate::config) fn with_secrets(
    headers: Vec<(String, Located<HeaderText>)>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<(String, HeaderText)>> {
    let mut sound = true;
    let mut read = Vec::with_capacity(headers.len());
    for (name, Located { value, at }) in headers {
        let mut text = value;
        if let HeaderText::Secret(secret) = &mut text {
            let key = format!("{}.headers.{name}", item.path);
            if let Err(problem) = read_secret(secret, files) {
                report(problem, at, key, out);
                sound = false;
            } else if sound && secret.value.is_none() {
                let message = format!("{} cannot be read here", secret.place);
                out.warning("secret-not-read", at, key, message).hint(
                    "without it the check gives no verdict; systemd hands credentials (LoadCredential=) to the service alone",
                );
            }
        }
        read.push((name, text));
    }
    sound.then_some(read)
}

/// Has the source read the value of a secret.
pub(in crate::config) fn read_secret(
    secret: &mut Secret,
    files: &mut Files<'_>,
) -> Result<(), Unreadable> {
    if let SecretPlace::File(path) = &mut secret.place {
        *path = files.directory.join(&*path);
    }
    secret.value = files.source.secret(&secret.place)?;
    Ok(())
}

/// Checks that the program of a command, the value of `key`, is there and may be run.
pub(in crate::config) fn program(
    command: Located<Vec<String>>,
    key: &str,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<String>> {
    match files.source.program(Path::new(&command.value[0])) {
        Ok(()) => Some(command.value),
        Err(problem) => {
            report(problem, command.at, format!("{}.{key}", item.path), out);
            None
        }
    }
}

/// A `ca_file` that cannot be used.
struct BadRoots {
    rule: &'static str,
    message: String,
    hint: Option<String>,
}

impl BadRoots {
    fn new(message: String, hint: &str) -> BadRoots {
        BadRoots {
            rule: "bad-certificate",
            message,
            hint: Some(hint.to_owned()),
        }
    }
}

impl From<Unreadable> for BadRoots {
    fn from(problem: Unreadable) -> BadRoots {
        BadRoots {
            rule: problem.rule,
            message: problem.message,
            hint: problem.hint,
        }
    }
}

/// Reads a `ca_file`: at least one certificate in PEM, each good as a root.
pub(in crate::config) fn roots(
    file: &Located<PathBuf>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Roots> {
    match read_roots(files.directory.join(&file.value), files.source) {
        Ok(roots) => Some(roots),
        Err(problem) => {
            let key = format!("{}.ca_file", item.path);
            out.error(problem.rule, file.at.clone(), key, problem.message)
                .hint = problem.hint;
            None
        }
    }
}

fn read_roots(path: PathBuf, source: &mut dyn Source) -> Result<Roots, BadRoots> {
    const CONVERT: &str =
        "use a PEM file: openssl x509 -inform der -in FILE -out FILE.pem converts one certificate";
    let text = match source.text(&path) {
        Ok(text) => text,
        // DER, which is what most other files of certificates are, is seldom UTF-8.
        Err(problem) if problem.rule == "not-utf8" => {
            let message = format!("{} is not a PEM file", path.display());
            return Err(BadRoots::new(message, CONVERT));
        }
        Err(problem) => return Err(problem.into()),
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|problem| {
        let message = format!("{} is not a PEM file: {problem}", path.display());
        BadRoots::new(message, CONVERT)
    })?;
    if certificates.is_empty() {
        let message = format!("{} holds no certificate", path.display());
        return Err(BadRoots::new(message, CONVERT));
    }
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        if store.add(certificate.clone()).is_err() {
            let message = format!(
                "certificate {} in {} cannot be read",
                index + 1,
                path.display()
            );
            let hint = "openssl x509 -in FILE -noout -text shows what is wrong with the first";
            return Err(BadRoots::new(message, hint));
        }
    }
    Ok(Roots {
        file: path,
        certificates: certificates.iter().map(|der| der.as_ref().into()).collect(),
    })
}
