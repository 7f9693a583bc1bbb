//! The certificate of the admin address, exchanged while it is in use.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsAcceptor;

use crate::config::CertificatePlaces;
use crate::loader::{self, ServerCertificate, Stamps};

/// The time between two looks at the files.
const LOOKS: Duration = Duration::from_secs(2);

/// The certificate in use, and the files that it comes from.
#[derive(Default)]
pub(super) struct Certificate {
    /// TLS as it is spoken now; none before there is a good certificate.
    server: ArcSwapOption<ServerConfig>,
    files: Mutex<Files>,
    /// The Unix time of its end, in seconds; 0 without a certificate.
    ends: AtomicI64,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Files {
    places: Option<CertificatePlaces>,
    /// As they looked when they were last read.
    tried: Stamps,
    /// As they looked at the last look.
    seen: Stamps,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl Certificate {
    /// The server's side of a handshake; `None` without a certificate.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.server.load_full().map(TlsAcceptor::from)
    }

    /// The Unix time of its end in seconds; `None` without a certificate.
    pub(super) fn ends(&self) -> Option<i64> {
        let ends = self.ends.load(Ordering::Relaxed);
        (ends != 0).then_some(ends)
    }

    /// The number of times that the files were of no use.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Reads the files at `places`, which may be others than before. Reads files, and so may wait.
    pub(super) fn follow(&self, places: Option<CertificatePlaces>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.places = places;
        self.read(&mut files);
    }

    /// Looks at the files for as long as the runtime lives, and reads them when they have changed.
    pub(super) async fn watch(self: Arc<Certificate>) {
        loop {
            tokio::time::sleep(LOOKS).await;
            let own = self.clone();
            // On a thread of its own: a file system that hangs holds up nobody else.
            if tokio::task::spawn_blocking(move || own.look())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn look(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(places) = &files.places else { return };
        let now = loader::certificate_stamps(places);
        // Quiet since the last look: whoever exchanges two files does so one after the other.
        let is_quiet = now == files.seen;
        if is_quiet && now != files.tried {
            self.read(&mut files);
        }
        files.seen = now;
    }

    fn read(&self, files: &mut Files) {
        let Some(places) = &files.places else { return };
        // Before the content: a change in between then shows as a change at the next look.
        let stamps = loader::certificate_stamps(places);
        let is_first = self.server.load().is_none();
        match loader::load_certificate(places) {
            Ok(Some(certificate)) => self.adopt(certificate, is_first),
            Ok(None) => tracing::warn!(
                "admin certificate not read: systemd gave this process no credentials; no address beyond loopback is served"
            ),
            Err(problem) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let hint = problem.hint.clone().unwrap_or_default();
                let instead = match is_first {
                    true => "no address beyond loopback is served until it is good",
                    false => "the one before stays in use",
                };
                tracing::warn!("admin certificate refused: {problem}; {instead} ({hint})");
            }
        }
        (files.tried, files.seen) = (stamps.clone(), stamps);
    }

    fn adopt(&self, certificate: ServerCertificate, is_first: bool) {
        let ends = certificate.ends;
        let config = match server_config(certificate) {
            Ok(config) => config,
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("admin certificate refused: {error}");
                return;
            }
        };
        let is_new = self.ends.swap(ends, Ordering::Relaxed) != ends;
        self.server.store(Some(Arc::new(config)));
        let until = UNIX_EPOCH + Duration::from_secs(ends.unsigned_abs());
        let date = humantime::format_rfc3339_seconds(until);
        match until < SystemTime::now() {
            true => tracing::warn!(
                "admin certificate has expired: it ended at {date}; clients refuse it"
            ),
            false if is_first => tracing::info!("admin certificate in use: it ends at {date}"),
            false if is_new => {
                tracing::info!("admin certificate replaced: the new one ends at {date}")
            }
            false => {}
        }
    }
}

fn server_config(certificate: ServerCertificate) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = Arc::new(SingleCertAndKey::from(certificate.key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SecretPlace;

    #[test]
    fn a_bad_file_leaves_the_certificate_before_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| SecretPlace::File(directory.path().join(name));
        let places = CertificatePlaces {
            certificate: place("cert.pem"),
            key: place("key.pem"),
        };
        let write = |name: &str| {
            let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            std::fs::write(directory.path().join("cert.pem"), own.cert.pem()).unwrap();
            let key = own.signing_key.serialize_pem();
            std::fs::write(directory.path().join("key.pem"), key).unwrap();
        };
        let certificate = Certificate::default();
        certificate.follow(Some(places.clone()));
        assert!(certificate.acceptor().is_none());
        assert_eq!((certificate.failures(), certificate.ends()), (1, None));

        write("one.example");
        certificate.look();
        assert!(certificate.acceptor().is_none(), "not quiet yet");
        certificate.look();
        let first = certificate.server.load_full().unwrap();
        certificate.look();
        let same = certificate.server.load_full().unwrap();
        assert!(Arc::ptr_eq(&first, &same), "not read again unchanged");

        std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
        (0..3).for_each(|_| certificate.look());
        let kept = certificate.server.load_full().unwrap();
        assert!(Arc::ptr_eq(&first, &kept));
        assert_eq!(certificate.failures(), 2, "tried once");
        assert!(certificate.ends().is_some());

        write("two.example");
        (0..2).for_each(|_| certificate.look());
        let new = certificate.server.load_full().unwrap();
        assert!(!Arc::ptr_eq(&first, &new));
        certificate.follow(Some(places));
        assert_eq!(certificate.failures(), 2);
    }
}
