//! The files by which a client and a server know each other: `--ca` and `--token-file`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::HeaderValue;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// The most octets of a token file; a token has some 50.
const LONGEST_FILE: u64 = 4096;

/// The authorities that a client trusts to name servers, and the token that it shows them.
#[derive(Debug, Clone, Default)]
pub struct Admittance {
    /// Those of the system where there are none.
    authorities: Option<Arc<RootCertStore>>,
    /// `Bearer` and the token; marked as secret, so that nothing prints it.
    token: Option<HeaderValue>,
}

/// Error in a file that names authorities or holds a token.
#[derive(Debug)]
pub struct AdmittanceError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Io(io::Error),
    /// Users other than its owner and its group can read the token; its mode.
    Exposed(u32),
    /// The file is not one line of visible ASCII.
    NoToken,
    /// The file has no certificate.
    NoCertificate,
    Pem(pem::Error),
    Certificate(rustls::Error),
}

impl fmt::Display for AdmittanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.fault {
            Fault::Io(error) => error.fmt(f),
            Fault::Exposed(mode) => write!(
                f,
                "everybody on this host can read the token (mode {:04o}): run chmod 600 on the file",
                mode & 0o7777
            ),
            Fault::NoToken => {
                f.write_str("this is no token: write the token, and nothing else, on one line")
            }
            Fault::NoCertificate => f.write_str(
                "there is no certificate in this file: write those of the authorities in PEM",
            ),
            Fault::Pem(error) => write!(f, "this is not PEM: {error}"),
            Fault::Certificate(error) => write!(f, "a certificate cannot be used: {error}"),
        }
    }
}

impl std::error::Error for AdmittanceError {}

impl Admittance {
    /// Reads the authorities at `ca`, in PEM, and the token at `token_file`.
    pub fn load(
        ca: Option<&Path>,
        token_file: Option<&Path>,
    ) -> Result<Admittance, AdmittanceError> {
        let read = |path: &Path, fault| AdmittanceError {
            path: path.to_owned(),
            fault,
        };
        let authorities = ca
            .map(|path| authorities(path).map_err(|fault| read(path, fault)))
            .transpose()?;
        let token = token_file
            .map(|path| token(path).map_err(|fault| read(path, fault)))
            .transpose()?;
        Ok(Admittance {
            authorities: authorities.map(Arc::new),
            token,
        })
    }

    /// The value of `Authorization`.
    pub(super) fn token(&self) -> Option<HeaderValue> {
        self.token.clone()
    }

    /// The client's side of TLS; without authorities where it `is_tls` not.
    pub(super) fn tls(&self, is_tls: bool) -> ClientConfig {
        let roots = match &self.authorities {
            Some(authorities) => authorities.clone(),
            None if is_tls => Arc::new(system()),
            None => Arc::new(RootCertStore::empty()),
        };
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring offers cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// The system's authorities; those that cannot be read are left out, as elsewhere on the host.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn authorities(path: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let text = std::fs::read(path).map_err(Fault::Io)?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(Fault::Pem)?;
        roots.add(certificate).map_err(Fault::Certificate)?;
    }
    match roots.is_empty() {
        true => Err(Fault::NoCertificate),
        false => Ok(roots),
    }
}

fn token(path: &Path) -> Result<HeaderValue, Fault> {
    let file = File::open(path).map_err(Fault::Io)?;
    // Of the open file: it may be exchanged between a look and the reading.
    let mode = file.metadata().map_err(Fault::Io)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(Fault::Exposed(mode));
    }
    let mut text = String::new();
    let read = file.take(LONGEST_FILE).read_to_string(&mut text);
    read.map_err(Fault::Io)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(Fault::NoToken);
    }
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| Fault::NoToken)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_token_is_one_line_that_others_cannot_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let load = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Admittance::load(None, Some(&path))
        };
        for mode in [0o600, 0o400, 0o640] {
            let admittance = load("meridian_abc\n", mode).unwrap();
            assert_eq!(admittance.token().unwrap(), "Bearer meridian_abc");
            assert!(!format!("{admittance:?}").contains("meridian_abc"));
        }
        for (text, mode, said) in [
            ("meridian_abc\n", 0o644, "mode 0644"),
            ("meridian_abc\n", 0o602, "mode 0602"),
            ("", 0o600, "no token"),
            ("one\ntwo\n", 0o600, "no token"),
            ("one two", 0o600, "no token"),
        ] {
            let error = load(text, mode).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?} {mode:o}: {error}");
        }
        let missing = Admittance::load(None, Some(&directory.path().join("none")));
        assert!(missing.unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn authorities_are_certificates_in_pem() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let key = rcgen::generate_simple_self_signed(["gtm.example".to_owned()]).unwrap();
        for (text, said) in [
            (key.cert.pem(), None),
            (key.signing_key.serialize_pem(), Some("no certificate")),
            (String::new(), Some("no certificate")),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                Some("cannot be used"),
            ),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = Admittance::load(Some(&path), None).err();
            match said {
                None => assert!(error.is_none(), "{error:?}"),
                Some(said) => assert!(error.unwrap().to_string().contains(said), "{text}"),
            }
        }
    }
}
