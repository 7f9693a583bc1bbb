//! The certificate of the admin address: read from the disk, and held to be fit for use.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::secret;
use super::stamps::Stamps;
use crate::config::{CertificatePlaces, Unreadable};
use crate::model::SecretPlace;

/// The most octets of a file with certificates or a key.
const MAX_PEM: u64 = 1 << 20;

/// A certificate with those between it and a root, and its private key.
#[derive(Clone)]
pub struct ServerCertificate {
    /// Both, as TLS takes them.
    pub key: Arc<CertifiedKey>,
    /// The Unix time of its end, in seconds.
    pub ends: i64,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// The state on disk of the files of a certificate and its key, by which a change is noticed.
pub fn certificate_stamps(places: &CertificatePlaces) -> Stamps {
    let mut stamps = Stamps::default();
    for place in [&places.certificate, &places.key] {
        if let Some(path) = secret::path_of(place) {
            stamps.add(&path);
        }
    }
    stamps
}

/// Reads a certificate and its key; `None` where one of them is a credential and systemd has given
/// this process none.
///
/// # Errors
/// When a file cannot be read, is not PEM, or the two cannot be used together.
pub fn load_certificate(
    places: &CertificatePlaces,
) -> Result<Option<ServerCertificate>, Unreadable> {
    let (certificate, key) = (
        secret::path_of(&places.certificate),
        secret::path_of(&places.key),
    );
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(None);
    };
    let chain = chain(&certificate, read(&places.certificate, &certificate)?)?;
    let private = private(&key, read(&places.key, &key)?)?;
    let ends = ends(&chain[0]).ok_or_else(|| {
        let path = certificate.display();
        bad(
            "bad-certificate",
            format!("the certificate in {path} cannot be read"),
        )
    })?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&private).map_err(|error| {
        let path = key.display();
        bad(
            "bad-key",
            format!("the key in {path} cannot be used: {error}"),
        )
        .hint("use an RSA key of 2048 bits or more, or one on P-256, P-384 or Ed25519")
    })?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|_| {
        let (key, certificate) = (key.display(), certificate.display());
        bad("bad-key", format!("the key in {key} is not that of the certificate in {certificate}"))
            .hint("name the two files that were made together; the server's own certificate comes first in its file")
    })?;
    Ok(Some(ServerCertificate {
        key: Arc::new(certified),
        ends,
    }))
}

fn read(place: &SecretPlace, path: &Path) -> Result<Vec<u8>, Unreadable> {
    secret::read_secret_file(place, path, MAX_PEM)
}

fn bad(rule: &'static str, message: String) -> Unreadable {
    Unreadable {
        rule,
        message,
        hint: None,
        position: None,
    }
}

impl Unreadable {
    /// The same with a way to solve the problem.
    fn hint(self, hint: &str) -> Unreadable {
        Unreadable {
            hint: Some(hint.to_owned()),
            ..self
        }
    }
}

fn chain(path: &Path, pem: Vec<u8>) -> Result<Vec<CertificateDer<'static>>, Unreadable> {
    let path = path.display();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(bad("bad-certificate", format!("{path} has no certificate"))
            .hint("use a PEM file that begins with -----BEGIN CERTIFICATE-----, the server's own certificate first")),
        Err(error) => Err(bad("bad-certificate", format!("{path} is not PEM: {error}"))),
    }
}

fn private(path: &Path, pem: Vec<u8>) -> Result<PrivateKeyDer<'static>, Unreadable> {
    let path = path.display();
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        // The error is not repeated: nothing of a key belongs into a log.
        bad(
            "bad-key",
            format!("{path} has no private key that can be read"),
        )
        .hint("use a PEM file with an unencrypted key, such as -----BEGIN PRIVATE KEY-----")
    })
}

/// The Unix time at which a certificate ends, in seconds.
fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(directory: &Path) -> CertificatePlaces {
        CertificatePlaces {
            certificate: SecretPlace::File(directory.join("cert.pem")),
            key: SecretPlace::File(directory.join("key.pem")),
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_read_and_others_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(directory.path());
        let own = rcgen::generate_simple_self_signed(["gtm.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["gtm.example".to_owned()]).unwrap();
        let (cert, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let write = |cert: &str, key: &str| {
            std::fs::write(directory.path().join("cert.pem"), cert).unwrap();
            std::fs::write(directory.path().join("key.pem"), key).unwrap();
            load_certificate(&places)
        };
        assert!(
            load_certificate(&places)
                .unwrap_err()
                .message
                .contains("there is no file")
        );
        let good = write(&cert, &key).unwrap().unwrap();
        assert!(good.ends > 1_700_000_000, "{good:?}");
        let strange = other.signing_key.serialize_pem();
        for (cert, key, rule, said) in [
            (
                &*cert,
                &*strange,
                "bad-key",
                "is not that of the certificate",
            ),
            (&*key, &*key, "bad-certificate", "has no certificate"),
            (&*cert, &*cert, "bad-key", "has no private key"),
            ("", &*key, "bad-certificate", "has no certificate"),
            (
                &cert[..cert.len() / 2],
                &*key,
                "bad-certificate",
                "cert.pem",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &*key,
                "bad-certificate",
                "cannot be read",
            ),
        ] {
            let error = write(cert, key).unwrap_err();
            assert_eq!(error.rule, rule, "{error}");
            assert!(error.message.contains(said), "{error}");
        }
    }

    #[test]
    fn a_replaced_file_has_another_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(directory.path());
        let before = certificate_stamps(&places);
        std::fs::write(directory.path().join("key.pem"), "x").unwrap();
        assert_ne!(before, certificate_stamps(&places));
        assert_eq!(certificate_stamps(&places), certificate_stamps(&places));
    }
}
