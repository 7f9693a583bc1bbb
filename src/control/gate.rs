//! The gate of the HTTP interface: who is let in, to what, and how often.
//!
//! ```text
//! edge (connection, Peer) ─► host ─► token ─► rate ─► origin ─► scope ─► body ─► a route's handler
//! ```
//! A request that is refused on the way gets a [`Problem`], and is counted. Handlers find a [`Caller`] and a
//! [`Requester`] beside the request. `X-Forwarded-For` and its like are not read: whoever connects
//! is who asks.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::rand::{SecureRandom, SystemRandom};

use super::access::{Caller, Scope};
use super::audit::Entry;
use super::certificate::Certificate;
use super::hosts;
use super::problem::Problem;
use super::rates::Rates;
use crate::config::{AdminLimits, AdminSpec, Token, TokenScope, Tokens};

/// The most octets of a body.
const LARGEST_BODY: usize = 64 * 1024;
/// The time that a client may take for a body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Failed attempts to show a token that an address has at once, and in a second.
const ATTEMPTS: (f64, f64) = (10.0, 1.0 / 6.0);
/// The time between two log lines about refused tokens.
const QUIET: Duration = Duration::from_secs(60);
/// The policy for responses that bring none of their own: a browser loads nothing because of them.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The parts that all addresses of the HTTP interface have in common.
#[derive(Debug)]
pub struct Gate {
    pub(super) certificate: Arc<Certificate>,
    rules: ArcSwap<Rules>,
    callers: Mutex<Rates<Who>>,
    strangers: Mutex<Rates<IpAddr>>,
    complaints: Mutex<Complaints>,
    pub(super) counts: Counts,
}

/// The part of `[admin]` that a reload changes at once.
#[derive(Debug, Default)]
struct Rules {
    hosts: Vec<String>,
    tokens: Tokens,
    /// Requests a second of one caller.
    rate: f64,
}

/// Counts of the HTTP interface.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By the first digit of the status.
    statuses: [AtomicU64; 6],
    denied: [AtomicU64; Denial::ALL.len()],
    /// Connections on which requests are answered.
    pub(super) connections: AtomicU64,
    /// Connections on which a stream is under way.
    pub(super) streams: AtomicU64,
}

impl Counts {
    /// Responses by the class of their status: `2xx` and so on.
    pub(super) fn statuses(&self) -> [(&'static str, u64); 4] {
        [("2xx", 2), ("3xx", 3), ("4xx", 4), ("5xx", 5)]
            .map(|(class, digit)| (class, self.statuses[digit].load(Ordering::Relaxed)))
    }

    /// Requests that the gate refused, by its reasons.
    pub(super) fn denied(&self) -> [(&'static str, u64); Denial::ALL.len()] {
        // The cast is the index of a variant, of which there are as many as counters.
        Denial::ALL.map(|denial| {
            let count = self.denied[denial as usize].load(Ordering::Relaxed);
            (denial.as_label(), count)
        })
    }

    pub(super) fn deny(&self, denial: Denial) {
        self.denied[denial as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A reason why the gate refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// It is for another host.
    Host,
    /// It shows no token where one is needed.
    NoToken,
    /// It shows a token that is none.
    UnknownToken,
    /// Its token has expired.
    ExpiredToken,
    /// Its token does not allow this.
    Scope,
    /// A page of another origin made a browser send it.
    Origin,
    /// Its caller asks too often.
    Rate,
    /// Its address has shown too many wrong tokens.
    Attempts,
    /// Its body is too large, or comes too slowly.
    Body,
    /// All streams are taken.
    Streams,
}

impl Denial {
    const ALL: [Denial; 10] = [
        Denial::Host,
        Denial::NoToken,
        Denial::UnknownToken,
        Denial::ExpiredToken,
        Denial::Scope,
        Denial::Origin,
        Denial::Rate,
        Denial::Attempts,
        Denial::Body,
        Denial::Streams,
    ];

    fn as_label(self) -> &'static str {
        match self {
            Denial::Host => "host",
            Denial::NoToken => "no_token",
            Denial::UnknownToken => "unknown_token",
            Denial::ExpiredToken => "expired_token",
            Denial::Scope => "scope",
            Denial::Origin => "origin",
            Denial::Rate => "rate",
            Denial::Attempts => "attempts",
            Denial::Body => "body",
            Denial::Streams => "streams",
        }
    }
}

/// A way into the HTTP interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Door {
    /// True beyond loopback: TLS is spoken, and a token is asked for.
    pub(super) is_exposed: bool,
    /// True where endpoints report themselves and nothing else is answered.
    pub(super) is_for_pushes: bool,
}

/// The party at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process of this user, through the control socket.
    User(u32),
    /// Whoever has this address, through a door.
    Address(IpAddr, Door),
}

/// The origin of a request, for records.
#[derive(Debug, Clone, Default)]
pub(super) struct Requester {
    /// The address; `None` for the control socket.
    pub(super) from: Option<IpAddr>,
    /// The id of the request, which its response has as `X-Request-Id`.
    pub(super) id: String,
}

impl Requester {
    /// The entry with what is known of the request.
    pub(super) fn record(&self, entry: Entry) -> Entry {
        Entry {
            from: self.from.map(|address| address.to_string()),
            request: Some(self.id.clone()),
            ..entry
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Requester {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Requester, Infallible> {
        Ok(parts
            .extensions
            .get::<Requester>()
            .cloned()
            .unwrap_or_default())
    }
}

/// A caller as rates tell them apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User(u32),
    Address(IpAddr),
    /// A token shown from an address: many endpoints may push with one.
    Token(String, IpAddr),
}

/// A route's demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Nothing: load balancers and supervisors ask, who have no tokens.
    Nothing,
    Read,
    /// A scope for pushes; the handler knows the check.
    Push,
    Operate,
}

/// The demand of the route at `path`.
fn demand(method: &Method, path: &str) -> Demand {
    let is_reading = is_reading(method);
    match path {
        "/healthz" | "/readyz" | "/announcez" if is_reading => Demand::Nothing,
        // The dashboard's pages ask for a token themselves: a browser sends none before that.
        "/" if is_reading => Demand::Nothing,
        _ if is_reading && path.starts_with("/ui/") => Demand::Nothing,
        "/push" => Demand::Push,
        _ if path.starts_with("/v1/push/") => Demand::Push,
        _ if is_reading => Demand::Read,
        _ => Demand::Operate,
    }
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

impl Default for Gate {
    /// A gate without `[admin]`, as the control socket has it.
    fn default() -> Gate {
        Gate::new(None)
    }
}

impl Gate {
    /// A gate by the rules of `[admin]`.
    pub fn new(spec: Option<&AdminSpec>) -> Gate {
        let (burst, rate) = ATTEMPTS;
        Gate {
            certificate: Arc::default(),
            rules: ArcSwap::from_pointee(Rules::of(spec)),
            callers: Mutex::new(Rates::new(1.0, 1.0)),
            strangers: Mutex::new(Rates::new(rate, burst)),
            complaints: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// Takes the tokens, the host names and the rate of `[admin]` from now on. Neither waits nor
    /// reads a file.
    pub fn adopt(&self, spec: Option<&AdminSpec>) {
        self.rules.store(Arc::new(Rules::of(spec)));
    }

    /// Reads the certificate that `[admin]` names. Reads files, and so may wait.
    pub fn read_certificate(&self, spec: Option<&AdminSpec>) {
        let places = spec.and_then(|spec| spec.certificate.clone());
        self.certificate.follow(places);
    }

    /// Lets a request in, with its caller and its whole body.
    async fn admit(&self, mut request: Request, id: &str) -> Result<Request, (Denial, Problem)> {
        let peer = request.extensions().get::<Peer>().copied();
        let rules = self.rules.load_full();
        if let Some(Peer::Address(_, door)) = peer {
            hosts::check(&request, &rules.hosts).map_err(|problem| (Denial::Host, problem))?;
            if door.is_for_pushes && demand(&Method::POST, request.uri().path()) != Demand::Push {
                let why = "only endpoints of push checks report here; ask at [admin] listen";
                let problem = Problem::new(StatusCode::NOT_FOUND, why).breaking("push-only");
                return Err((Denial::Scope, problem));
            }
        }
        let demand = demand(request.method(), request.uri().path());
        let identified = self.identify(peer, request.headers(), demand, &rules);
        // Whoever is refused has asked too.
        self.check_rate(
            peer,
            identified.as_ref().ok().and_then(Option::as_ref),
            &rules,
        )?;
        let caller = identified?;
        if !is_reading(request.method()) {
            check_origin(request.headers(), peer).map_err(|problem| (Denial::Origin, problem))?;
        }
        if let Some(caller) = caller {
            check_scope(&caller, demand).map_err(|problem| (Denial::Scope, problem))?;
            request.extensions_mut().insert(caller);
        }
        request.extensions_mut().insert(Requester {
            from: match peer {
                Some(Peer::Address(address, _)) => Some(address),
                _ => None,
            },
            id: id.to_owned(),
        });
        whole(request)
            .await
            .map_err(|problem| (Denial::Body, problem))
    }

    /// The caller of a request; `None` for a stranger at a route that asks for nothing.
    fn identify(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
        demand: Demand,
        rules: &Rules,
    ) -> Result<Option<Caller>, (Denial, Problem)> {
        let (address, door) = match peer {
            Some(Peer::User(uid)) => return Ok(Some(Caller::Local(uid))),
            Some(Peer::Address(address, door)) => (address, door),
            None => return Ok(None),
        };
        if !door.is_exposed {
            return Ok(Some(Caller::Loopback));
        }
        let Some(shown) = bearer(headers) else {
            return match demand {
                Demand::Nothing => Ok(None),
                _ => Err((
                    Denial::NoToken,
                    unauthorized("no-token", "send a token: Authorization: Bearer TOKEN"),
                )),
            };
        };
        match rules.tokens.find(shown) {
            Some(token) if token.expires.is_some_and(|end| end <= unix_time()) => {
                let why = format!("the token {} has expired", token.name);
                Err(self.fail(address, Denial::ExpiredToken, "expired-token", &why))
            }
            Some(token) => Ok(Some(Caller::Token(token))),
            None => Err(self.fail(
                address,
                Denial::UnknownToken,
                "unknown-token",
                "this is no token of this server",
            )),
        }
    }

    /// The refusal of a token. An address that has shown too many is told to wait, and learns
    /// nothing more.
    fn fail(&self, address: IpAddr, denial: Denial, rule: &str, why: &str) -> (Denial, Problem) {
        let key = accountable(address);
        let asked = lock(&self.strangers).ask(&key, Instant::now());
        lock(&self.complaints).complain(address, why);
        match asked {
            Ok(()) => (denial, unauthorized(rule, why)),
            Err(wait) => (
                Denial::Attempts,
                too_many("too many wrong tokens came from this address", wait),
            ),
        }
    }

    fn check_rate(
        &self,
        peer: Option<Peer>,
        caller: Option<&Caller>,
        rules: &Rules,
    ) -> Result<(), (Denial, Problem)> {
        let who = match (peer, caller) {
            (Some(Peer::Address(address, _)), Some(Caller::Token(token))) => {
                Who::Token(token.name.clone(), accountable(address))
            }
            (Some(Peer::Address(address, _)), _) => Who::Address(accountable(address)),
            (Some(Peer::User(uid)), _) => Who::User(uid),
            (None, _) => return Ok(()),
        };
        let mut callers = lock(&self.callers);
        callers.set(rules.rate, 2.0 * rules.rate);
        callers.ask(&who, Instant::now()).map_err(|wait| {
            let why = format!("a caller may send {} requests a second", rules.rate);
            (Denial::Rate, too_many(&why, wait))
        })
    }
}

impl Rules {
    fn of(spec: Option<&AdminSpec>) -> Rules {
        let rate = |limits: AdminLimits| f64::from(limits.request_rate);
        match spec {
            Some(spec) => Rules {
                hosts: spec.hosts.clone(),
                tokens: spec.tokens.clone(),
                rate: rate(spec.limits),
            },
            None => Rules {
                rate: rate(AdminLimits::default()),
                ..Rules::default()
            },
        }
    }
}

/// The layer around all routes.
pub(super) async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let id = request_id();
    let mut response = match gate.admit(request, &id).await {
        Ok(request) => next.run(request).await,
        Err((denial, problem)) => {
            gate.counts.deny(denial);
            refusal(problem)
        }
    };
    dress(response.headers_mut(), &id);
    let class = usize::from(response.status().as_u16() / 100);
    if let Some(count) = gate.counts.statuses.get(class) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    response
}

/// A problem as a response. The rest of a body that was not read would be taken for a request, so
/// the connection ends with it.
fn refusal(problem: Problem) -> Response {
    let mut response = problem.into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Adds what every response has, unless it brings its own.
fn dress(headers: &mut HeaderMap, id: &str) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID.clone(), id);
    }
}

/// 64 random bits as hexadecimal digits.
fn request_id() -> String {
    let mut octets = [0; 8];
    // The system's randomness does not fail once it has begun; ids may repeat if it did.
    let _ = SystemRandom::new().fill(&mut octets);
    format!("{:016x}", u64::from_ne_bytes(octets))
}

fn unix_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
}

/// Checks that no page of another origin sends the request: a browser says on whose behalf it does,
/// and to a rebound name it would say that name.
fn check_origin(headers: &HeaderMap, peer: Option<Peer>) -> Result<(), Problem> {
    let refuse = |field: &str| {
        let why = "web pages of other origins may not change anything here";
        Err(Problem::forbidden("cross-origin", why).of_field(field))
    };
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return refuse("Sec-Fetch-Site");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let scheme = match peer {
        Some(Peer::Address(_, door)) if door.is_exposed => "https",
        Some(Peer::Address(..)) => "http",
        // No browser speaks through the control socket.
        _ => return refuse("Origin"),
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = host.map(|host| format!("{scheme}://{}", host.to_ascii_lowercase()));
    match own {
        Some(own) if origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()) => Ok(()),
        _ => refuse("Origin"),
    }
}

/// Checks what a caller may before any handler sees the request; handlers know more of it, and ask
/// once more.
fn check_scope(caller: &Caller, demand: Demand) -> Result<(), Problem> {
    match demand {
        Demand::Nothing => Ok(()),
        Demand::Read => caller.may(Scope::Read),
        Demand::Operate => caller.may(Scope::Operate),
        Demand::Push => match caller {
            Caller::Token(token) if !is_for_pushes(token) => caller.may(Scope::Push("")),
            _ => Ok(()),
        },
    }
}

fn is_for_pushes(token: &Token) -> bool {
    let mut scopes = token.scopes.iter();
    scopes.any(|scope| matches!(scope, TokenScope::Push(_)))
}

/// The request with its body read: no handler waits for a client.
async fn whole(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(parts, body));
    }
    let bytes = read(body).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let reading = Limited::new(body, LARGEST_BODY).collect();
    match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("a body has at most {LARGEST_BODY} octets");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Ok(Err(_)) => {
            let why = "the body ended before it was complete";
            Err(Problem::new(StatusCode::BAD_REQUEST, why))
        }
        Err(_) => {
            let why = format!("the body took longer than {} s", BODY_TIME.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}

fn unauthorized(rule: &str, why: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, why)
        .breaking(rule)
        .with_header(
            header::WWW_AUTHENTICATE,
            match rule {
                // RFC 6750 §3.1: without a token there is no error code.
                "no-token" => HeaderValue::from_static("Bearer realm=\"meridian\""),
                _ => HeaderValue::from_static("Bearer realm=\"meridian\", error=\"invalid_token\""),
            },
        )
}

/// The problem of a caller who is to wait.
pub(super) fn too_many(why: &str, wait: Duration) -> Problem {
    // Whole seconds, rounded up: sooner would be too soon.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!("{why}; ask again in {seconds} s"),
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// Returns what an address counts for: one host can use all addresses of its IPv6 /64.
fn accountable(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// Log lines about wrong tokens, at most one a minute.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn complain(&mut self, address: IpAddr, why: &str) {
        if self.last.is_some_and(|last| last.elapsed() < QUIET) {
            self.unsaid += 1;
            return;
        }
        let more = match std::mem::take(&mut self.unsaid) {
            0 => String::new(),
            unsaid => format!("; {unsaid} more since the last such line"),
        };
        self.last = Some(Instant::now());
        tracing::warn!("admin request refused: {address} showed a wrong token: {why}{more}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn peer(is_exposed: bool) -> Option<Peer> {
        let door = Door {
            is_exposed,
            is_for_pushes: false,
        };
        Some(Peer::Address(IpAddr::from([127, 0, 0, 1]), door))
    }

    #[test]
    fn only_pages_of_this_origin_may_write() {
        let host = ("host", "Localhost:8053");
        for (lines, is_exposed, passes) in [
            (&[host][..], false, true),
            (&[host, ("origin", "http://localhost:8053")], false, true),
            (&[host, ("origin", "https://localhost:8053")], true, true),
            (&[host, ("origin", "http://localhost:8053")], true, false),
            (&[host, ("origin", "http://localhost")], false, false),
            (&[host, ("origin", "http://localhost:80530")], false, false),
            (&[host, ("origin", "null")], false, false),
            (&[("origin", "http://localhost:8053")], false, false),
            (&[host, ("sec-fetch-site", "same-origin")], false, true),
            (&[host, ("sec-fetch-site", "same-site")], false, false),
            (&[host, ("sec-fetch-site", "cross-site")], false, false),
        ] {
            let checked = check_origin(&headers(lines), peer(is_exposed));
            assert_eq!(checked.is_ok(), passes, "{lines:?} {is_exposed}");
        }
        let page = headers(&[host, ("origin", "http://localhost:8053")]);
        assert!(check_origin(&page, Some(Peer::User(0))).is_err());
    }

    #[test]
    fn a_token_is_one_value_of_one_header() {
        for (lines, token) in [
            (&[("authorization", "Bearer abc")][..], Some("abc")),
            (&[("authorization", "bearer  abc ")], Some("abc")),
            (&[("authorization", "Basic abc")], None),
            (&[("authorization", "Bearer")], None),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                None,
            ),
            (&[], None),
        ] {
            assert_eq!(bearer(&headers(lines)), token, "{lines:?}");
        }
    }

    #[test]
    fn routes_ask_for_what_they_do() {
        for (method, path, wanted) in [
            (Method::GET, "/healthz", Demand::Nothing),
            (Method::POST, "/healthz", Demand::Operate),
            (Method::GET, "/", Demand::Nothing),
            (Method::GET, "/ui/services", Demand::Nothing),
            (Method::POST, "/ui/services", Demand::Operate),
            (Method::GET, "/metrics", Demand::Read),
            (Method::GET, "/healthz/", Demand::Read),
            (Method::POST, "/push", Demand::Push),
            (Method::POST, "/v1/push/own/192.0.2.1", Demand::Push),
            (Method::DELETE, "/v1/overrides/1", Demand::Operate),
            (Method::PUT, "/v1/anything", Demand::Operate),
        ] {
            assert_eq!(demand(&method, path), wanted, "{method} {path}");
        }
    }
}
