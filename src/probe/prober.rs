//! One probe of one target, whatever its check.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use super::attempt::Attempt;
use super::check::Check;
use super::counters::ProbeCounters;
use super::exec::{Programs, Turn};
use super::http::Network;
use super::icmp::Icmp;
use super::report::Report;
use super::resolver::Resolver;
use super::tls::Tls;
use super::{dns, exec, grpc, http, icmp, tcp, tls};
use crate::clock::Clock;
use crate::dns::Name;
use crate::health::{FailReason, NotJudged, Outcome, Phase, ResolveFault, Seen, Warning};
use crate::model::{CheckKind, DnsSpec, DnsTransport, Target};

/// The most addresses of a target name that are probed.
pub const MAX_ADDRESSES: usize = 8;
/// The default number of programs of `exec` checks that run at once: each takes a core for a while,
/// and answers need them.
pub const EXEC_PROCESSES: usize = 8;

/// Probes targets; shared by all probes of a process.
pub struct Prober {
    clock: Clock,
    tls: Tls,
    resolver: Arc<Resolver>,
    icmp: Icmp,
    programs: Programs,
    counters: Arc<ProbeCounters>,
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// One run of a check, on one address or several.
struct Run<'a> {
    check: &'a Check,
    /// The turn of an `exec` check to run its program.
    turn: Option<Turn>,
    /// The moment at which its time is over.
    deadline: Instant,
}

impl Prober {
    /// Trusts the system's root certificates (read when a check first needs them).
    pub fn new(clock: Clock) -> Prober {
        Prober::with_roots(clock, Vec::new())
    }

    /// Trusts `roots` besides the system's.
    pub fn with_roots(clock: Clock, roots: Vec<CertificateDer<'static>>) -> Prober {
        let resolver = Arc::new(Resolver::new(&[]));
        Prober {
            clock,
            tls: Tls::new(roots),
            resolver,
            icmp: Icmp::default(),
            programs: Programs::new(EXEC_PROCESSES),
            counters: Arc::default(),
        }
    }

    /// Runs at most `at_once` programs of `exec` checks at the same time, instead of [`EXEC_PROCESSES`].
    pub fn with_exec_processes(self, at_once: usize) -> Prober {
        Prober {
            programs: Programs::new(at_once),
            ..self
        }
    }

    /// Looks names up at `servers` from now on; where none are given, at those of `/etc/resolv.conf`.
    pub fn look_up_at(&self, servers: &[SocketAddr]) {
        self.resolver.ask_at(servers);
    }

    /// The counters of its probes.
    pub fn counters(&self) -> Arc<ProbeCounters> {
        self.counters.clone()
    }

    /// The clock its outcomes are dated by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Runs `check` on `target` once; takes at most the check's `timeout`, after the wait for a turn
    /// where it runs a program.
    pub async fn probe(&self, check: &Check, target: &Target) -> Outcome {
        self.visit(check, target).await.0
    }

    /// Runs a check like [`Prober::probe`], and tells the address that passed as well.
    pub(super) async fn visit(
        &self,
        check: &Check,
        target: &Target,
    ) -> (Outcome, Option<SocketAddr>) {
        let spec = &check.spec;
        if let Some(tls) = spec.kind.tls() {
            // Before the time begins to run: work of this node must not count against the endpoint.
            self.tls.prepare(tls);
        }
        // The wait for a turn is this node's affair: the deadline is set after it.
        let turn = match &spec.kind {
            CheckKind::Exec(_) => Some(self.programs.turn().await),
            _ => None,
        };
        let run = Run {
            check,
            turn,
            deadline: Instant::now() + spec.timeout,
        };
        let (seen, mut report) = match target {
            Target::Address(address) => self.probe_address(&run, *address).await,
            Target::Name(name) => self.probe_name(&run, name).await,
        };
        // An endpoint may send the request's headers back, and evidence reaches logs and the API.
        for secret in spec.kind.secrets() {
            if let (Some(value), Some(evidence)) = (&secret.value, report.evidence.take()) {
                report.evidence = Some(evidence.without(value));
            }
        }
        let address = report.passed_at;
        let outcome = report.finish(self.clock.now(), seen);
        self.counters.count(&spec.name, &outcome);
        (outcome, address)
    }

    /// The ways to connect inside TLS, for connections that are held.
    pub(super) fn connectors(&self) -> &Tls {
        &self.tls
    }

    async fn probe_address(&self, run: &Run<'_>, address: IpAddr) -> (Seen, Report) {
        let mut report = Report::start(first_phase(&run.check.spec.kind));
        let address = SocketAddr::new(address, run.check.spec.port);
        let attempt = Attempt {
            check: run.check,
            name: None,
            address,
            deadline: run.deadline,
        };
        let seen = self.attempt(run, &attempt, &mut report).await;
        (seen, report)
    }

    /// Looks up `name` and probes its addresses in turn until one passes. Each gets an equal share of
    /// the time that is left, so that a hung one leaves some to the others.
    async fn probe_name(&self, run: &Run<'_>, name: &Name) -> (Seen, Report) {
        let mut report = Report::start(Phase::Resolve);
        let addresses = match self.resolver.addresses(name, run.deadline).await {
            Ok(addresses) => addresses,
            Err(why) => return (why.seen(), report),
        };
        let port = run.check.spec.port;
        let sockets: Vec<_> = addresses
            .list
            .iter()
            .take(MAX_ADDRESSES)
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        let seen = self
            .probe_addresses(
                run,
                name.to_string().trim_end_matches('.'),
                &sockets,
                &mut report,
            )
            .await;
        report.warning = report.warning.or(addresses.old.map(Warning::LastAddresses));
        (seen, report)
    }

    async fn probe_addresses(
        &self,
        run: &Run<'_>,
        name: &str,
        addresses: &[SocketAddr],
        report: &mut Report,
    ) -> Seen {
        let mut verdict = Seen::Fail(FailReason::Resolve(ResolveFault::NoAddress));
        let mut evidence = None;
        for (index, address) in addresses.iter().enumerate() {
            report.begin_attempt(first_phase(&run.check.spec.kind));
            let now = Instant::now();
            // [`MAX_ADDRESSES`] at most.
            let left = (addresses.len() - index) as u32;
            let share = run.deadline.saturating_duration_since(now) / left;
            let attempt = Attempt {
                check: run.check,
                name: Some(name),
                address: *address,
                deadline: now + share,
            };
            let seen = self.attempt(run, &attempt, report).await;
            let found = report.evidence.take();
            match (seen, verdict) {
                (Seen::Pass, _) => return Seen::Pass,
                // The first failure that is the endpoint's is told, rather than our missing route.
                (_, Seen::Fail(_)) if index > 0 => {}
                _ => (verdict, evidence) = (seen, found),
            }
        }
        report.evidence = evidence;
        verdict
    }

    /// Probes one address, and ends at the deadline.
    async fn attempt(&self, run: &Run<'_>, attempt: &Attempt<'_>, report: &mut Report) -> Seen {
        match timeout_at(attempt.deadline, self.steps(run, attempt, report)).await {
            Ok(Ok(())) => {
                report.passed_at = Some(attempt.address);
                Seen::Pass
            }
            Ok(Err(seen)) => seen,
            Err(_) => Seen::Fail(FailReason::Timeout(report.phase())),
        }
    }

    /// Does what the check's type does; each has a file of its own. The larger ones are boxed: the
    /// future of every probe is as large as the largest that is not.
    async fn steps(
        &self,
        run: &Run<'_>,
        attempt: &Attempt<'_>,
        report: &mut Report,
    ) -> Result<(), Seen> {
        let (connectors, resolver) = (&self.tls, &*self.resolver);
        let network = Network {
            connectors,
            resolver,
        };
        match &run.check.spec.kind {
            CheckKind::Tcp(spec) => tcp::probe(spec, attempt, report).await,
            CheckKind::Http(spec) => {
                Box::pin(http::probe(spec, None, attempt, network, report)).await
            }
            CheckKind::Https(spec, tls) => {
                Box::pin(http::probe(spec, Some(tls), attempt, network, report)).await
            }
            CheckKind::Icmp(spec) => Box::pin(icmp::probe(spec, attempt, &self.icmp)).await,
            CheckKind::Dns(spec) => Box::pin(dns::probe(spec, attempt, report)).await,
            CheckKind::Grpc(spec) => Box::pin(grpc::probe(spec, attempt, connectors, report)).await,
            CheckKind::Exec(spec) => {
                let turn = run.turn.clone();
                Box::pin(exec::probe(spec, attempt, &self.programs, turn, report)).await
            }
            CheckKind::Tls(spec) => Box::pin(tls::probe(spec, attempt, connectors, report)).await,
            CheckKind::Push(_) => Err(Seen::NotJudged(NotJudged::Check)),
        }
    }
}

/// The phase that a probe begins with, once there is an address.
fn first_phase(kind: &CheckKind) -> Phase {
    match kind {
        CheckKind::Icmp(_)
        | CheckKind::Dns(DnsSpec {
            transport: DnsTransport::Udp,
            ..
        }) => Phase::Response,
        CheckKind::Exec(_) => Phase::Run,
        _ => Phase::Connect,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{CheckSpec, TcpSpec};

    /// Probes the addresses of `target.example.` with a `tcp` check of 400 ms.
    async fn probe(addresses: &[SocketAddr]) -> Seen {
        let check = Check::from(CheckSpec {
            name: "test".into(),
            kind: CheckKind::Tcp(TcpSpec::default()),
            address: None,
            port: 80,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(400),
            fall: 3,
            rise: 2,
            forgive: 5,
            fall_refused: 3,
            recheck: Duration::from_millis(500),
            recheck_up: false,
            watch: false,
            flap: None,
        });
        let mut report = Report::start(Phase::Connect);
        let run = Run {
            check: &check,
            turn: None,
            deadline: Instant::now() + check.spec.timeout,
        };
        Prober::new(Clock)
            .probe_addresses(&run, "target.example", addresses, &mut report)
            .await
    }

    #[tokio::test]
    async fn a_name_passes_when_any_of_its_addresses_does() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = listener.local_addr().unwrap();
        let refusing = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        full.listen(0).unwrap();
        let hanging = full.local_addr().unwrap().as_socket().unwrap();
        let _queue: Vec<_> = (0..4)
            .map(|_| std::net::TcpStream::connect_timeout(&hanging, Duration::from_millis(100)))
            .collect();

        assert_eq!(probe(&[refusing, answering]).await, Seen::Pass);
        assert_eq!(
            probe(&[hanging, answering]).await,
            Seen::Pass,
            "a hung one leaves time to the others"
        );
        let refused = Seen::Fail(FailReason::ConnectRefused);
        assert_eq!(
            probe(&[refusing, hanging]).await,
            refused,
            "the first failure is told"
        );
        assert_eq!(
            probe(&[]).await,
            Seen::Fail(FailReason::Resolve(ResolveFault::NoAddress))
        );
    }
}
