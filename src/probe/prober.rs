//! One probe of one target, whatever its check.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::progress::Progress;
use super::tls::Tls;
use super::{Clock, http, tcp};
use crate::dns::Name;
use crate::health::{FailReason, Outcome, Phase, ResolveFault, Seen};
use crate::model::{CheckKind, CheckSpec, HttpSpec, Target};

/// How many of a target name's addresses are probed at most.
pub const MAX_ADDRESSES: usize = 8;
/// How many names are resolved at once: each takes a thread of the runtime's for as long as the
/// system's resolver wishes, even after the probe's timeout.
const MAX_LOOKUPS: usize = 32;

/// Probes targets; shared by all probes of a process.
pub struct Prober {
    clock: Clock,
    tls: Tls,
    lookups: Arc<Semaphore>,
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// What one attempt at one address needs.
struct Attempt<'a> {
    check: &'a CheckSpec,
    /// The target as a Host header names it, port not included.
    named: &'a str,
    address: SocketAddr,
    deadline: Instant,
}

impl Prober {
    /// Trusts the system's root certificates (read when an `https` check first needs them).
    pub fn new(clock: Clock) -> Prober {
        Prober::with_roots(clock, Vec::new())
    }

    /// Trusts `roots` besides the system's.
    pub fn with_roots(clock: Clock, roots: Vec<CertificateDer<'static>>) -> Prober {
        Prober { clock, tls: Tls::new(roots), lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// The clock its outcomes are dated by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Runs `check` on `target` once; takes at most the check's `timeout`.
    pub async fn probe(&self, check: &CheckSpec, target: &Target) -> Outcome {
        if let CheckKind::Https { verify_certificate, .. } = &check.kind {
            self.tls.prepare(*verify_certificate);
        }
        let deadline = Instant::now() + check.timeout;
        let (seen, progress) = match target {
            Target::Address(address) => self.probe_address(check, *address, deadline).await,
            Target::Name(name) => self.probe_name(check, name, deadline).await,
        };
        Outcome { at: self.clock.now(), seen, phases: progress.finish() }
    }

    async fn probe_address(&self, check: &CheckSpec, address: IpAddr, deadline: Instant) -> (Seen, Progress) {
        let mut progress = Progress::start(Phase::Connect);
        let named = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let address = SocketAddr::new(address, check.port);
        let seen = self.attempt(Attempt { check, named: &named, address, deadline }, &mut progress).await;
        (seen, progress)
    }

    /// Resolves `name` and probes its addresses in the resolver's order until one passes. Each
    /// gets an equal share of the time that is left, so that a hung one leaves some to the others.
    async fn probe_name(&self, check: &CheckSpec, name: &Name, deadline: Instant) -> (Seen, Progress) {
        let mut progress = Progress::start(Phase::Resolve);
        let text = name.to_string();
        let addresses = match timeout_at(deadline, self.resolve(text.clone(), check.port)).await {
            Err(_) => return (Seen::Fail(FailReason::Timeout(Phase::Resolve)), progress),
            Ok(Err(fault)) => return (Seen::Fail(FailReason::Resolve(fault)), progress),
            Ok(Ok(addresses)) => addresses,
        };
        let seen = self.probe_addresses(check, text.trim_end_matches('.'), &addresses, deadline, &mut progress).await;
        (seen, progress)
    }

    async fn probe_addresses(
        &self,
        check: &CheckSpec,
        named: &str,
        addresses: &[SocketAddr],
        deadline: Instant,
        progress: &mut Progress,
    ) -> Seen {
        let mut verdict = Seen::Fail(FailReason::Resolve(ResolveFault::NoAddress));
        for (index, address) in addresses.iter().enumerate() {
            progress.enter(Phase::Connect);
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (addresses.len() - index) as u32;
            let attempt = Attempt { check, named, address: *address, deadline: now + share };
            let seen = self.attempt(attempt, progress).await;
            match (seen, verdict) {
                (Seen::Pass, _) => return Seen::Pass,
                // The first failure that is the endpoint's is told, rather than our missing route.
                (_, Seen::Fail(_)) if index > 0 => {}
                _ => verdict = seen,
            }
        }
        verdict
    }

    async fn resolve(&self, name: String, port: u16) -> Result<Vec<SocketAddr>, ResolveFault> {
        let permit = self.lookups.clone().acquire_owned().await.map_err(|_| ResolveFault::Failed)?;
        // The permit lives as long as the lookup's thread does, which outlives a probe cut off.
        let lookup = tokio::spawn(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), port)).await;
            drop(permit);
            addresses.map(|addresses| addresses.take(MAX_ADDRESSES).collect::<Vec<_>>())
        });
        match lookup.await {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(ResolveFault::NoAddress),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(_)) | Err(_) => Err(ResolveFault::Failed),
        }
    }

    async fn attempt(&self, attempt: Attempt<'_>, progress: &mut Progress) -> Seen {
        match timeout_at(attempt.deadline, self.steps(&attempt, progress)).await {
            Ok(Ok(())) => Seen::Pass,
            Ok(Err(seen)) => seen,
            Err(_) => Seen::Fail(FailReason::Timeout(progress.phase())),
        }
    }

    /// Connect, TLS, exchange: as far as the check's type goes.
    async fn steps(&self, attempt: &Attempt<'_>, progress: &mut Progress) -> Result<(), Seen> {
        let family = tcp::family(&attempt.address);
        let stream = tcp::connect(attempt.address).await?;
        match &attempt.check.kind {
            CheckKind::Tcp => Ok(()),
            CheckKind::Http(http) => {
                progress.enter(Phase::Response);
                Box::pin(http::exchange(stream, http, &attempt.host(http, 80), family)).await
            }
            CheckKind::Https { http, verify_certificate } => {
                progress.enter(Phase::Tls);
                // The request follows the handshake's last flight at once; it must not wait for its ACK.
                stream.set_nodelay(true).map_err(|error| super::route::judge(&error, Phase::Tls, family))?;
                let host = attempt.host(http, 443);
                let name = http::server_name(&host);
                let stream = Box::pin(self.tls.connect(stream, name, *verify_certificate, family)).await?;
                progress.enter(Phase::Response);
                Box::pin(http::exchange(stream, http, &host, family)).await
            }
        }
    }
}

impl Attempt<'_> {
    /// The Host header: the check's as written, else the target with a port that is not the scheme's.
    fn host(&self, http: &HttpSpec, scheme_port: u16) -> String {
        match &http.host {
            Some(host) => host.clone(),
            None if self.address.port() == scheme_port => self.named.to_owned(),
            None => format!("{}:{}", self.named, self.address.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Probes the addresses of `target.example.` with a `tcp` check of 400 ms.
    async fn probe(addresses: &[SocketAddr]) -> Seen {
        let check = CheckSpec {
            name: "test".into(),
            kind: CheckKind::Tcp,
            address: None,
            port: 80,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(400),
            fall: 3,
            rise: 2,
            forgive: 5,
        };
        let mut progress = Progress::start(Phase::Connect);
        let deadline = Instant::now() + check.timeout;
        Prober::new(Clock::start()).probe_addresses(&check, "target.example", addresses, deadline, &mut progress).await
    }

    #[tokio::test]
    async fn a_name_passes_when_any_of_its_addresses_does() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = listener.local_addr().unwrap();
        let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let hanging = full.local_addr().unwrap().as_socket().unwrap();
        let _queue: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect_timeout(&hanging, Duration::from_millis(100))).collect();

        assert_eq!(probe(&[refusing, answering]).await, Seen::Pass);
        assert_eq!(probe(&[hanging, answering]).await, Seen::Pass, "a hung one leaves time to the others");
        let refused = Seen::Fail(FailReason::ConnectRefused);
        assert_eq!(probe(&[refusing, hanging]).await, refused, "the first failure is told");
        assert_eq!(probe(&[]).await, Seen::Fail(FailReason::Resolve(ResolveFault::NoAddress)));
    }
}
