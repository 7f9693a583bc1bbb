//! Rules for a server's certificate: which one it breaks, and how near its end is.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::report::Report;
use crate::health::{CertificateRule, FailReason, Seen, Warning};
use crate::model::TlsSpec;

const DAY: i64 = 86_400;

/// Holds the end of the server's certificate, the first of `chain`, to the days of `spec`.
pub(super) fn check_end(
    spec: &TlsSpec,
    chain: Option<&[CertificateDer<'_>]>,
    report: &mut Report,
) -> Result<(), Seen> {
    let end = chain.and_then(<[_]>::first).and_then(end);
    // Told in any case: metrics show it, whatever days the check asks for.
    report.certificate_end = end.and_then(|end| u32::try_from(end).ok());
    if spec.certificate_min_days == 0 && spec.certificate_warn_days == 0 {
        return Ok(());
    }
    let fail = |rule| Err(Seen::Fail(FailReason::Certificate(rule)));
    let Some(end) = end else {
        return fail(CertificateRule::Encoding);
    };
    let left = end - now();
    let days = u32::try_from(left.div_euclid(DAY)).unwrap_or(0);
    if days < spec.certificate_min_days {
        return fail(if left < 0 {
            CertificateRule::Expired
        } else {
            CertificateRule::EndsIn(days)
        });
    }
    if days < spec.certificate_warn_days {
        report.warning = Some(Warning::CertificateEndsIn(days));
    }
    Ok(())
}

/// The end of a certificate, in seconds since 1970; `None` where it cannot be read.
fn end(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The present, in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The rule that TLS found broken.
pub(super) fn rule(error: &CertificateError) -> CertificateRule {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateRule::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateRule::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateRule::Name
        }
        CertificateError::UnknownIssuer => CertificateRule::UnknownIssuer,
        CertificateError::BadSignature => CertificateRule::Signature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertificateRule::Purpose
        }
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
pub(super) struct AcceptAny(pub(super) Arc<CryptoProvider>);

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
