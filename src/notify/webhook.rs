//! A webhook: one HTTP POST, signed where there is a secret.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::failed::Failed;
use crate::model::{Roots, WebhookSpec};

/// The header of the signature: `t=UNIX,v1=HEX`.
const SIGNATURE: HeaderName = HeaderName::from_static("meridian-signature");
/// The longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Sends one message, at the Unix time `unix` in seconds.
pub(super) async fn post(
    client: &Client,
    spec: &WebhookSpec,
    (body, kind): (String, &str),
    timeout: Duration,
    unix: u64,
) -> Result<(), Failed> {
    let headers = headers(spec, &body, kind, unix)?;
    let Some(url) = spec.url.text() else {
        return Err(Failed::forever("the secret that is its URL cannot be read"));
    };
    let request = client
        .post(&*url)
        .headers(headers)
        .body(body)
        .timeout(timeout);
    // The URL may be a secret, and an error would show it.
    let response = request
        .send()
        .await
        .map_err(|error| Failed::once(chain(&error.without_url())))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let failed = Failed::once(format!("it answered {status}"));
    Err(match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            failed.after(pause(response.headers()))
        }
        // The same message would be refused again.
        _ if status.is_client_error() || status.is_redirection() => {
            Failed::forever(format!("it answered {status}"))
        }
        _ => failed.after(pause(response.headers())),
    })
}

/// A client that trusts the system's authorities and `roots`, and nothing that the environment says.
pub(super) fn client(roots: Option<&Roots>) -> Result<Client, Failed> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(roots) = roots {
        let own = roots.certificates.iter();
        store.add_parsable_certificates(own.map(|der| CertificateDer::from(der.to_vec())));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth();
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")))
        // Messages are rare: a connection that is kept is most often closed when it is wanted.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| Failed::once(chain(&error)))
}

fn headers(spec: &WebhookSpec, body: &str, kind: &str, unix: u64) -> Result<HeaderMap, Failed> {
    let mut headers = HeaderMap::new();
    let bad = |_| Failed::forever("a header of it cannot be sent");
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).map_err(bad)?);
    for (name, text) in &spec.headers {
        let Some(text) = text.text() else {
            return Err(Failed::forever(format!(
                "the secret of its header {name} cannot be read"
            )));
        };
        let mut value = HeaderValue::from_str(&text).map_err(bad)?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(name.as_bytes());
        headers.insert(
            name.map_err(|_| Failed::forever("a header of it cannot be sent"))?,
            value,
        );
    }
    if let Some(secret) = &spec.secret {
        let Some(key) = &secret.value else {
            return Err(Failed::forever(
                "the secret of its signatures cannot be read",
            ));
        };
        let signature = signature(key.as_bytes(), unix, body);
        headers.insert(SIGNATURE, HeaderValue::from_str(&signature).map_err(bad)?);
    }
    Ok(headers)
}

/// HMAC-SHA256 over the time, a dot and the body: a receiver refuses old messages, and others' ones.
fn signature(key: &[u8], unix: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("{unix}.{body}").as_bytes());
    let mut text = format!("t={unix},v1=");
    for octet in tag.as_ref() {
        let _ = write!(text, "{octet:02x}");
    }
    text
}

/// The pause that the receiver asks for, in seconds (RFC 9110 §10.2.3); dates are left aside.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// An error with its causes: reqwest's own text seldom says more than "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_openssl() {
        // printf '1800000000.{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", 1_800_000_000, "{}"),
            "t=1800000000,v1=7321475872b03ff21bdc2dfd86ea2d99ec29c479fbe4a77aa6acf4509505493f"
        );
    }

    #[test]
    fn a_pause_is_heeded_and_bounded() {
        let asked = |text: &str| {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            pause(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("86400"), Some(LONGEST_PAUSE));
        assert_eq!(asked("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
