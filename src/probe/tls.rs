//! TLS for `https` checks: whom to trust, and which rule a peer breaks.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::health::{CertificateRule, FailReason, NotJudged, Phase, Seen, TlsFault};
use crate::model::Family;

use super::route;

/// The two ways to connect, each made when it is first used.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    extra_roots: Vec<CertificateDer<'static>>,
    verifying: OnceLock<TlsConnector>,
    accepting: OnceLock<TlsConnector>,
}

impl Tls {
    /// Trusts the system's roots and `extra_roots`.
    pub(super) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Tls {
        Tls {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            extra_roots,
            verifying: OnceLock::new(),
            accepting: OnceLock::new(),
        }
    }

    /// Reads the roots, if that is still to be done: no probe's time is to be spent on it.
    pub(super) fn prepare(&self, verify: bool) {
        self.connector(verify);
    }

    /// The handshake. `name` goes out as SNI unless it is an address, and the certificate must be
    /// for it unless `verify` is false.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        name: &str,
        verify: bool,
        family: Family,
    ) -> Result<TlsStream<TcpStream>, Seen> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Seen::NotJudged(NotJudged::Check))?;
        self.connector(verify).connect(name, stream).await.map_err(|error| judge(&error, Phase::Tls, family))
    }

    fn connector(&self, verify: bool) -> &TlsConnector {
        if verify { self.verifying() } else { self.accepting() }
    }

    fn verifying(&self) -> &TlsConnector {
        self.verifying.get_or_init(|| connector(self.builder().with_root_certificates(self.roots())))
    }

    fn accepting(&self) -> &TlsConnector {
        let verifier = || Arc::new(AcceptAny(self.provider.clone()));
        self.accepting.get_or_init(|| connector(self.builder().dangerous().with_custom_certificate_verifier(verifier())))
    }

    fn builder(&self) -> ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
        ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring offers cipher suites for TLS 1.2 and 1.3")
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!("some of the system's root certificates cannot be read: {error}");
        }
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            tracing::warn!("the system has no root certificates: https checks that verify a public certificate will fail");
        }
        roots.add_parsable_certificates(self.extra_roots.iter().cloned());
        roots
    }
}

fn connector(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> TlsConnector {
    let mut config = builder.with_no_client_auth();
    // A resumed session shows no certificate: every probe makes a whole handshake.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// What an error of a stream that may be TLS says about an endpoint.
pub(super) fn judge(error: &io::Error, phase: Phase, family: Family) -> Seen {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => Seen::Fail(reason(error)),
        None => route::judge(error, phase, family),
    }
}

fn reason(error: &Error) -> FailReason {
    FailReason::Tls(match error {
        Error::InvalidCertificate(error) => return FailReason::Certificate(rule(error)),
        Error::NoCertificatesPresented => return FailReason::Certificate(CertificateRule::Other),
        Error::AlertReceived(alert) => TlsFault::Alert(u8::from(*alert)),
        Error::InvalidMessage(_) => TlsFault::NotTls,
        Error::PeerIncompatible(_) => TlsFault::Incompatible,
        _ => TlsFault::Other,
    })
}

fn rule(error: &CertificateError) -> CertificateRule {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateRule::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertificateRule::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => CertificateRule::Name,
        CertificateError::UnknownIssuer => CertificateRule::UnknownIssuer,
        CertificateError::BadSignature => CertificateRule::Signature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => CertificateRule::Purpose,
        CertificateError::Revoked => CertificateRule::Revoked,
        CertificateError::BadEncoding => CertificateRule::Encoding,
        // rustls has no name of its own for this one, and hands on that of webpki.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            CertificateRule::AuthorityAsServer
        }
        _ => CertificateRule::Other,
    }
}

/// `verify_certificate = false`: the probe proves reachability, not identity.
struct AcceptAny(Arc<CryptoProvider>);

impl fmt::Debug for AcceptAny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcceptAny")
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
