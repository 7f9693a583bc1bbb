//! TLS: the `tls` check, and the handshake of the others that are inside it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error, RootCertStore};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::attempt::{Attempt, family};
use super::certificate::{self, AcceptAny};
use super::report::Report;
use super::{route, tcp};
use crate::health::{CertificateRule, FailReason, NotJudged, Phase, Seen, TlsFault};
use crate::model::{Family, Roots, TlsSpec};

/// Protocols that a handshake offers to speak inside (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpn {
    /// None in particular.
    None,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Both; the server chooses.
    Either,
}

/// The ways to connect, each made when it is first used and shared by all probes that connect so.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    extra_roots: Vec<CertificateDer<'static>>,
    system_roots: OnceLock<RootCertStore>,
    connectors: Mutex<Vec<(Way, TlsConnector)>>,
}

/// The parts that connections of one connector share.
#[derive(Clone)]
struct Way {
    verify: bool,
    /// Those of a `ca_file`.
    roots: Option<Roots>,
    alpn: Alpn,
}

/// A `tls` check: the handshake, with everything the certificate is held to.
pub(super) async fn probe(
    spec: &TlsSpec,
    attempt: &Attempt<'_>,
    connectors: &Tls,
    report: &mut Report,
) -> Result<(), Seen> {
    let mut stream = open(
        spec,
        Alpn::None,
        attempt.address,
        &attempt.named(),
        connectors,
        report,
    )
    .await?;
    // A reset would overtake our last flight: the server would take the handshake for broken off, and log it.
    let _ = SockRef::from(stream.get_ref().0).set_linger(None);
    let _ = stream.shutdown().await;
    Ok(())
}

/// Connects to `address` and makes the handshake. The name asked for is that of the check, else
/// `named`, which may have a port and brackets; it goes out as SNI unless it is an address.
pub(super) async fn open(
    spec: &TlsSpec,
    alpn: Alpn,
    address: SocketAddr,
    named: &str,
    connectors: &Tls,
    report: &mut Report,
) -> Result<TlsStream<TcpStream>, Seen> {
    let family = family(&address);
    let name = server_name(spec.server_name.as_deref().unwrap_or(named));
    let name =
        ServerName::try_from(name.to_owned()).map_err(|_| Seen::NotJudged(NotJudged::Check))?;
    if connectors.trusts_nobody(spec) {
        return Err(Seen::NotJudged(NotJudged::NoRoots));
    }
    let stream = tcp::connect(address).await?;
    report.enter(Phase::Tls);
    // The request follows the handshake's last flight at once; it must not wait for its ACK.
    stream
        .set_nodelay(true)
        .map_err(|error| route::judge(&error, Phase::Tls, family))?;
    let handshake = connectors.connector(spec, alpn).connect(name, stream);
    let stream = handshake
        .await
        .map_err(|error| judge(&error, Phase::Tls, family))?;
    certificate::check_end(spec, stream.get_ref().1.peer_certificates(), report)?;
    Ok(stream)
}

/// The server name in the value of a Host header: without port and brackets.
pub(super) fn server_name(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

impl Tls {
    /// Trusts the system's roots and `extra_roots`.
    pub(super) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Tls {
        Tls {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            extra_roots,
            system_roots: OnceLock::new(),
            connectors: Mutex::new(Vec::new()),
        }
    }

    /// Reads the system's roots, if that is still to be done: no probe's time is to be spent on it.
    pub(super) fn prepare(&self, spec: &TlsSpec) {
        if spec.verify_certificate {
            self.system_roots();
        }
    }

    /// True where no certificate could be accepted: this node lacks the authorities, and the endpoint is not to blame.
    fn trusts_nobody(&self, spec: &TlsSpec) -> bool {
        spec.verify_certificate
            && spec.roots.is_none()
            && self.extra_roots.is_empty()
            && self.system_roots().is_empty()
    }

    fn connector(&self, spec: &TlsSpec, alpn: Alpn) -> TlsConnector {
        let mut connectors = self
            .connectors
            .lock()
            .expect("no probe panics while it holds this");
        if let Some((_, connector)) = connectors.iter().find(|(way, _)| way.fits(spec, alpn)) {
            return connector.clone();
        }
        // Roots that no check has any more were those of the files before a reload.
        connectors.retain(|(way, _)| {
            way.roots
                .as_ref()
                .is_none_or(|roots| Arc::strong_count(&roots.certificates) > 1)
        });
        let way = Way {
            verify: spec.verify_certificate,
            roots: spec.roots.clone(),
            alpn,
        };
        let connector = TlsConnector::from(Arc::new(self.configuration(&way)));
        connectors.push((way, connector.clone()));
        connector
    }

    fn configuration(&self, way: &Way) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring offers cipher suites for TLS 1.2 and 1.3");
        let mut config = match way.verify {
            true => builder
                .with_root_certificates(self.roots(way.roots.as_ref()))
                .with_no_client_auth(),
            false => {
                let accept = Arc::new(AcceptAny(self.provider.clone()));
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(accept)
                    .with_no_client_auth()
            }
        };
        // A resumed session shows no certificate: every probe makes a whole handshake.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = way.alpn.protocols();
        config
    }

    fn roots(&self, roots: Option<&Roots>) -> RootCertStore {
        let mut store = self.system_roots().clone();
        store.add_parsable_certificates(self.extra_roots.iter().cloned());
        store.add_parsable_certificates(
            roots
                .iter()
                .flat_map(|roots| roots.certificates.iter())
                .map(|der| CertificateDer::from(der.to_vec())),
        );
        store
    }

    fn system_roots(&self) -> &RootCertStore {
        self.system_roots.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let system = rustls_native_certs::load_native_certs();
            for error in &system.errors {
                tracing::warn!("some of the system's root certificates cannot be read: {error}");
            }
            roots.add_parsable_certificates(system.certs);
            if roots.is_empty() {
                tracing::warn!("the system has no root certificates: checks that verify one and have no ca_file are not judged; install ca-certificates");
            }
            roots
        })
    }
}

impl Way {
    fn fits(&self, spec: &TlsSpec, alpn: Alpn) -> bool {
        let same_roots = match (&self.roots, &spec.roots) {
            (Some(ours), Some(theirs)) => {
                Arc::ptr_eq(&ours.certificates, &theirs.certificates) || ours == theirs
            }
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        self.verify == spec.verify_certificate && self.alpn == alpn && same_roots
    }
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        let (one, two) = (b"http/1.1".to_vec(), b"h2".to_vec());
        match self {
            Alpn::None => Vec::new(),
            Alpn::Http1 => vec![one],
            Alpn::Http2 => vec![two],
            Alpn::Either => vec![two, one],
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Judges what an error of a stream that may be TLS says about an endpoint.
pub(super) fn judge(error: &io::Error, phase: Phase, family: Family) -> Seen {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(error) => Seen::Fail(reason(error)),
        None => route::judge(error, phase, family),
    }
}

fn reason(error: &Error) -> FailReason {
    FailReason::Tls(match error {
        Error::InvalidCertificate(error) => {
            return FailReason::Certificate(certificate::rule(error));
        }
        Error::NoCertificatesPresented => return FailReason::Certificate(CertificateRule::Other),
        Error::AlertReceived(alert) => TlsFault::Alert(u8::from(*alert)),
        Error::InvalidMessage(_) => TlsFault::NotTls,
        Error::PeerIncompatible(_) => TlsFault::Incompatible,
        _ => TlsFault::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_have_no_port() {
        for (host, name) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com:8443", "www.example.com"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(server_name(host), name);
        }
    }

    #[test]
    fn probes_that_connect_alike_share_a_connector() {
        let tls = Tls::new(Vec::new());
        let count = || tls.connectors.lock().unwrap().len();
        let any = TlsSpec {
            verify_certificate: false,
            ..TlsSpec::default()
        };
        let roots = |octet| {
            Some(Roots {
                file: "ca.pem".into(),
                certificates: [Box::from([octet])].into(),
            })
        };
        for alpn in [Alpn::None, Alpn::None, Alpn::Either] {
            tls.connector(&any, alpn);
        }
        assert_eq!(count(), 2);
        let first = TlsSpec {
            roots: roots(1),
            ..any.clone()
        };
        tls.connector(&first, Alpn::None);
        tls.connector(
            &TlsSpec {
                roots: roots(1),
                ..any.clone()
            },
            Alpn::None,
        );
        assert_eq!(count(), 3, "the same certificates, read again");
        drop(first);
        tls.connector(
            &TlsSpec {
                roots: roots(2),
                ..any
            },
            Alpn::None,
        );
        assert_eq!(count(), 3, "those of no check are dropped");
    }
}
