//! Targets of redirects.
//!
//! As long as host and port stay the same so does the address: it is the endpoint that is probed. A
//! redirect to another port of the same host goes to that port of the endpoint's address. Another
//! host is resolved, and gets none of the check's headers.

use std::borrow::Cow;
use std::net::SocketAddr;

use hyper::header::LOCATION;
use url::{Host, Url};

use super::exchange::Answer;
use super::{Place, passes};
use crate::dns::Name;
use crate::health::{Evidence, FailReason, HttpFault, Phase, Seen};
use crate::model::HttpSpec;
use crate::probe::attempt::Attempt;
use crate::probe::report::Report;
use crate::probe::resolver::{Resolver, Unresolved};

/// True for a status that redirects, unless the check expects it.
pub(super) fn is_one(spec: &HttpSpec, status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308) && !passes(spec, status)
}

/// The place that `answer`, which came from `place`, redirects to.
pub(super) async fn follow(
    place: &Place<'_>,
    answer: &Answer,
    attempt: &Attempt<'_>,
    resolver: &Resolver,
    report: &mut Report,
) -> Result<Place<'static>, Seen> {
    let location = answer
        .headers
        .get(LOCATION)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    let urls = std::str::from_utf8(location)
        .ok()
        .filter(|text| !text.is_empty())
        .and_then(|text| urls(place, text));
    let Some((from, to)) = urls else {
        report.evidence = Evidence::of(location);
        return Err(Seen::Fail(FailReason::Http(HttpFault::BadRedirect)));
    };
    let same_host = from.host() == to.host();
    let port = to
        .port_or_known_default()
        .expect("http and https have usual ports");
    let address = match to.host() {
        _ if same_host && from.port_or_known_default() == Some(port) => place.address,
        _ if same_host => SocketAddr::new(place.address.ip(), port),
        Some(Host::Ipv4(address)) => SocketAddr::new(address.into(), port),
        Some(Host::Ipv6(address)) => SocketAddr::new(address.into(), port),
        Some(Host::Domain(name)) => {
            report.enter(Phase::Resolve);
            let name = Name::from_text(name, Some(&Name::root()))
                .map_err(|_| Seen::Fail(FailReason::Http(HttpFault::BadRedirect)))?;
            let addresses = resolver.addresses_once(&name, attempt.deadline).await;
            let addresses = addresses.map_err(Unresolved::seen)?;
            SocketAddr::new(*addresses.first().expect("no address is a fault"), port)
        }
        None => return Err(Seen::Fail(FailReason::Http(HttpFault::BadRedirect))),
    };
    let path = to[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let authority = to[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
    let secure = to.scheme() == "https";
    Ok(Place {
        secure,
        address,
        authority: Cow::Owned(authority),
        path: Cow::Owned(path),
        ours: place.ours && same_host,
    })
}

/// The URL of `place`, and the one that `location`, absolute or relative to it, names.
fn urls(place: &Place<'_>, location: &str) -> Option<(Url, Url)> {
    let scheme = if place.secure { "https" } else { "http" };
    let from = Url::parse(&format!("{scheme}://{}{}", place.authority, place.path)).ok()?;
    let to = from.join(location).ok()?;
    matches!(to.scheme(), "http" | "https").then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::health::Phase;
    use crate::model::{CheckKind, CheckSpec, HttpSpec};
    use crate::probe::Check;

    const ADDRESS: SocketAddr = SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        8080,
    );

    async fn followed(location: &str) -> Result<Place<'static>, Seen> {
        let place = Place {
            secure: false,
            address: ADDRESS,
            authority: "www.example.com".into(),
            path: "/a/b?c".into(),
            ours: true,
        };
        let answer = Answer {
            headers: [(LOCATION, location.parse().unwrap())]
                .into_iter()
                .collect(),
            ..Answer::default()
        };
        let check = Check::from(CheckSpec {
            name: "test".into(),
            kind: CheckKind::Http(HttpSpec::default()),
            address: None,
            port: ADDRESS.port(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            forgive: 5,
            fall_refused: 3,
            recheck: Duration::from_millis(500),
            recheck_up: false,
            watch: false,
            flap: None,
        });
        let attempt = Attempt {
            check: &check,
            name: None,
            address: ADDRESS,
            deadline: tokio::time::Instant::now(),
        };
        follow(
            &place,
            &answer,
            &attempt,
            &Resolver::new(&[]),
            &mut Report::start(Phase::Connect),
        )
        .await
    }

    #[tokio::test]
    async fn the_address_stays_while_the_host_does() {
        for (location, path) in [
            ("/x", "/x"),
            ("d", "/a/d"),
            ("?e", "/a/b?e"),
            ("http://www.example.com/y#z", "/y"),
            ("//WWW.example.com", "/"),
        ] {
            let place = followed(location).await.unwrap();
            assert_eq!(
                (place.address, &*place.path, place.ours, place.secure),
                (ADDRESS, path, true, false),
                "{location}"
            );
        }
        let place = followed("https://www.example.com/").await.unwrap();
        assert_eq!(
            (place.address, place.secure, place.ours),
            (SocketAddr::new(ADDRESS.ip(), 443), true, true)
        );
    }

    #[tokio::test]
    async fn another_host_is_elsewhere_and_gets_no_headers() {
        let place = followed("http://[2001:db8::1]:81/").await.unwrap();
        assert_eq!(
            (place.address, place.ours),
            ("[2001:db8::1]:81".parse().unwrap(), false)
        );
        assert_eq!(place.authority, "[2001:db8::1]:81");
    }

    #[tokio::test]
    async fn what_leads_nowhere_is_named() {
        for location in [
            "",
            "ftp://www.example.com/",
            "http://",
            "mailto:a@example.com",
        ] {
            assert_eq!(
                followed(location).await,
                Err(Seen::Fail(FailReason::Http(HttpFault::BadRedirect))),
                "{location}"
            );
        }
    }
}
