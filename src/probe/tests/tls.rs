//! `https` checks, against certificates made for each rule.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::server::{answer, banner, hang, start};
use super::*;
use crate::health::{CertificateRule, TlsFault, Warning};
use crate::model::{Roots, TlsSpec};

const NAME: &str = "www.example.com";

/// A server's certificate with its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

pub(super) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn valid(names: &[&str]) -> CertificateParams {
    CertificateParams::new(
        names
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

pub(super) fn issued(
    authority: &CertifiedIssuer<'_, KeyPair>,
    params: CertificateParams,
) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key,
    }
}

fn self_signed(params: CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key,
    }
}

pub(super) fn config(identity: &Identity) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), key)
        .unwrap()
}

/// A server that answers 200 inside TLS, and tells which server names it was asked for.
async fn serve(config: ServerConfig) -> (SocketAddr, mpsc::UnboundedReceiver<Option<String>>) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, names) = mpsc::unbounded_channel();
    let address = start(move |stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = sender.send(stream.get_ref().1.server_name().map(str::to_owned));
                answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    (address, names)
}

fn https(host: Option<&str>, verify_certificate: bool) -> CheckKind {
    let http = HttpSpec {
        host: host.map(str::to_owned),
        ..http()
    };
    CheckKind::Https(
        http,
        TlsSpec {
            verify_certificate,
            ..TlsSpec::default()
        },
    )
}

async fn seen(
    roots: &CertifiedIssuer<'_, KeyPair>,
    kind: CheckKind,
    address: SocketAddr,
) -> Outcome {
    let prober = Prober::with_roots(Clock, vec![roots.der().clone()]);
    probe(&prober, &check(kind, address.port()), &loopback()).await
}

#[tokio::test]
async fn a_valid_certificate_passes_under_the_name_set_apart() {
    let authority = authority("ours");
    let (address, mut names) = serve(config(&issued(&authority, valid(&[NAME])))).await;
    let outcome = seen(
        &authority,
        https(Some("www.example.com:8443"), true),
        address,
    )
    .await;
    assert_eq!(outcome.seen, Seen::Pass);
    assert!(outcome.phases.get(Phase::Tls).is_some());
    assert_eq!(
        names.recv().await.unwrap().as_deref(),
        Some(NAME),
        "SNI has no port"
    );
}

#[tokio::test]
async fn an_address_is_a_name_too_but_no_sni() {
    let authority = authority("ours");
    let (address, mut names) = serve(config(&issued(&authority, valid(&["127.0.0.1"])))).await;
    assert_eq!(
        seen(&authority, https(None, true), address).await.seen,
        Seen::Pass
    );
    assert_eq!(names.recv().await.unwrap(), None);
}

#[tokio::test]
async fn each_rule_of_certificates_is_named_and_may_be_waived() {
    let authority = authority("ours");
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = valid(&[NAME]);
        change(&mut params);
        params
    };
    let past = with(|params| {
        (params.not_before, params.not_after) =
            (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1))
    });
    let future = with(|params| params.not_before = date_time_ymd(4000, 1, 1));
    let client_only =
        with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let own = with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for (identity, rule) in [
        (issued(&authority, past), CertificateRule::Expired),
        (issued(&authority, future), CertificateRule::NotYetValid),
        (
            issued(&authority, valid(&["other.example.com"])),
            CertificateRule::Name,
        ),
        (issued(&authority, client_only), CertificateRule::Purpose),
        (self_signed(valid(&[NAME])), CertificateRule::UnknownIssuer),
        (
            issued(&self::authority("theirs"), valid(&[NAME])),
            CertificateRule::UnknownIssuer,
        ),
        (
            issued(&self::authority("ours"), valid(&[NAME])),
            CertificateRule::Signature,
        ),
        (self_signed(own), CertificateRule::AuthorityAsServer),
    ] {
        let (address, _names) = serve(config(&identity)).await;
        let verified = seen(&authority, https(Some(NAME), true), address)
            .await
            .seen;
        assert_eq!(verified, Seen::Fail(FailReason::Certificate(rule)));
        assert_eq!(
            seen(&authority, https(Some(NAME), false), address)
                .await
                .seen,
            Seen::Pass,
            "{rule:?} waived"
        );
    }
}

#[tokio::test]
async fn servers_that_refuse_tls_are_named() {
    let authority = authority("ours");
    let plain = start(|stream| banner(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    assert_eq!(
        seen(&authority, https(Some(NAME), true), plain).await.seen,
        Seen::Fail(FailReason::Tls(TlsFault::NotTls))
    );
    let refusing = start(|stream| banner(stream, b"\x15\x03\x03\x00\x02\x02\x28")).await;
    let alert = Seen::Fail(FailReason::Tls(TlsFault::Alert(40)));
    assert_eq!(
        seen(&authority, https(Some(NAME), true), refusing)
            .await
            .seen,
        alert
    );
    let closing = start(|stream| async { drop(stream) }).await;
    assert_eq!(
        seen(&authority, https(Some(NAME), true), closing)
            .await
            .seen,
        Seen::Fail(FailReason::Closed(Phase::Tls))
    );
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_is_named() {
    let authority = authority("ours");
    let identity = issued(&authority, valid(&[NAME]));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    )
    .build()
    .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(identity.chain.clone(), key)
        .unwrap();
    let (address, _names) = serve(config).await;
    let refused = seen(&authority, https(Some(NAME), true), address)
        .await
        .seen;
    // The alert comes after our side of the handshake; a reset may overtake it.
    let expected = [
        FailReason::Tls(TlsFault::Alert(116)),
        FailReason::Closed(Phase::Response),
    ];
    assert!(
        expected.iter().any(|reason| refused == Seen::Fail(*reason)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_handshake_that_hangs_is_a_timeout() {
    let address = start(hang).await;
    assert_eq!(
        probe_port(https(Some(NAME), true), address, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Tls))
    );
}

/// A check of type `tls` for [`NAME`].
fn tls(change: impl FnOnce(&mut TlsSpec)) -> CheckKind {
    let mut spec = TlsSpec {
        server_name: Some(NAME.into()),
        ..TlsSpec::default()
    };
    change(&mut spec);
    CheckKind::Tls(spec)
}

#[tokio::test]
async fn a_handshake_alone_is_a_check() {
    let authority = authority("ours");
    let (address, mut names) = serve(config(&issued(&authority, valid(&[NAME])))).await;
    let outcome = seen(&authority, tls(|_| {}), address).await;
    assert_eq!(outcome.seen, Seen::Pass);
    assert_eq!(
        outcome
            .phases
            .iter()
            .map(|(phase, _)| phase)
            .collect::<Vec<_>>(),
        [Phase::Connect, Phase::Tls]
    );
    assert_eq!(names.recv().await.unwrap().as_deref(), Some(NAME));
    let other = seen(
        &authority,
        tls(|spec| spec.server_name = Some("other.example.com".into())),
        address,
    )
    .await
    .seen;
    assert_eq!(
        other,
        Seen::Fail(FailReason::Certificate(CertificateRule::Name))
    );
}

#[tokio::test]
async fn authorities_of_a_file_are_trusted_besides_the_systems() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let (address, _names) = serve(config(&issued(&theirs, valid(&[NAME])))).await;
    let unknown = Seen::Fail(FailReason::Certificate(CertificateRule::UnknownIssuer));
    assert_eq!(seen(&ours, tls(|_| {}), address).await.seen, unknown);
    let roots = Roots {
        file: "ca.pem".into(),
        certificates: [theirs.der().as_ref().into()].into(),
    };
    assert_eq!(
        seen(&ours, tls(|spec| spec.roots = Some(roots)), address)
            .await
            .seen,
        Seen::Pass
    );
}

#[tokio::test]
async fn the_end_of_a_certificate_is_warned_of_and_then_a_failure() {
    let authority = authority("ours");
    let in_days = |days: i64| {
        let mut params = valid(&[NAME]);
        // Half a day more, so that the whole days are the same a minute later.
        params.not_after =
            (SystemTime::now() + Duration::from_secs(days as u64 * 86_400 + 43_200)).into();
        params
    };
    let (address, _names) = serve(config(&issued(&authority, in_days(9)))).await;
    let told = |outcome: Outcome| (outcome.seen, outcome.warning);
    let soon = Some(Warning::CertificateEndsIn(9));
    assert_eq!(
        told(seen(&authority, tls(|_| {}), address).await),
        (Seen::Pass, soon),
        "14 days by default"
    );
    let quiet = tls(|spec| spec.certificate_warn_days = 9);
    assert_eq!(
        told(seen(&authority, quiet, address).await),
        (Seen::Pass, None)
    );
    let failed = Seen::Fail(FailReason::Certificate(CertificateRule::EndsIn(9)));
    let strict = tls(|spec| spec.certificate_min_days = 10);
    assert_eq!(
        told(seen(&authority, strict, address).await),
        (failed, None)
    );
    let mut past = valid(&[NAME]);
    (past.not_before, past.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let (address, _names) = serve(config(&issued(&authority, past))).await;
    let unverified = |days| {
        tls(move |spec| {
            (
                spec.verify_certificate,
                spec.certificate_min_days,
                spec.certificate_warn_days,
            ) = (false, days, 0)
        })
    };
    assert_eq!(
        told(seen(&authority, unverified(0), address).await),
        (Seen::Pass, None)
    );
    let expired = Seen::Fail(FailReason::Certificate(CertificateRule::Expired));
    assert_eq!(
        told(seen(&authority, unverified(1), address).await),
        (expired, None)
    );
}
