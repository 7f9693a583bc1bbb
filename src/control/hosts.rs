//! The names by which the admin address may be asked.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version, header};

use super::problem::Problem;

/// Refuses requests for names that are not ours.
///
/// A web page can be read from a name whose owner then points it at this address (DNS rebinding); the browser takes what it
/// gets from here for that page's own. The name is in the request. An address cannot be pointed elsewhere, and so passes.
///
/// # Errors
/// A problem with status 421, or 400 where a request does not name one host.
pub(super) fn check(request: &Request, hosts: &[String]) -> Result<(), Problem> {
    let mut written = request.headers().get_all(header::HOST).iter();
    let authority = match (written.next(), written.next()) {
        // Browsers speak no HTTP/1.0; some probes of load balancers do.
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (Some(host), None) => host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    // "the host component of the request-target" comes first where it has one (RFC 9112 §3.2.2).
    let Some(authority) = request.uri().authority().cloned().or(authority) else {
        let why = "a request must name exactly one host";
        return Err(Problem::new(StatusCode::BAD_REQUEST, why).of_field("Host"));
    };
    // Brackets and a final dot are other spellings of the same host.
    let host = authority
        .host()
        .trim_matches(['[', ']'])
        .to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if host == "localhost"
        || host.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|known| known == host)
    {
        return Ok(());
    }
    let why = format!(
        "{host} is not a name of this server: use an address, or list the name in [admin]: hosts = [\"{host}\"]"
    );
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, why).breaking("unknown-host"))
}
