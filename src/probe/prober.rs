//! One probe of one target, whatever its check.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use super::exec::{Programs, Turn};
use super::icmp::Icmp;
use super::report::Report;
use super::resolver::Resolver;
use super::tls::Tls;
use super::{dns, exec, grpc, http, icmp, tcp, tls};
use crate::clock::Clock;
use crate::dns::Name;
use crate::health::{FailReason, NotJudged, Outcome, Phase, ResolveFault, Seen, Warning};
use crate::model::{CheckKind, CheckSpec, DnsSpec, DnsTransport, Family, Target};

/// How many of a target name's addresses are probed at most.
pub const MAX_ADDRESSES: usize = 8;
/// How many programs of `exec` checks run at once where nothing else is said: each takes a core for
/// a while, and answers need them.
pub const EXEC_PROCESSES: usize = 8;

/// Probes targets; shared by all probes of a process.
pub struct Prober {
    clock: Clock,
    tls: Tls,
    resolver: Arc<Resolver>,
    icmp: Icmp,
    programs: Programs,
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// One run of a check, on one address or several.
pub(super) struct Run<'a> {
    /// What is run.
    pub(super) check: &'a CheckSpec,
    /// The turn of an `exec` check to run its program.
    pub(super) turn: Option<Turn>,
    /// When it is over.
    pub(super) deadline: Instant,
}

/// What one attempt at one address needs.
pub(super) struct Attempt<'a> {
    /// What all probes share.
    pub(super) prober: &'a Prober,
    /// What it is an attempt of.
    pub(super) run: &'a Run<'a>,
    /// The target's name, without its final dot; `None` where it is an address.
    pub(super) name: Option<&'a str>,
    /// What is probed; with port 0 where the type of the check has none.
    pub(super) address: SocketAddr,
    /// When the attempt is cut off.
    pub(super) deadline: Instant,
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

    /// The clock its outcomes are dated by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The sockets of `icmp` checks.
    pub(super) fn icmp(&self) -> &Icmp {
        &self.icmp
    }

    /// Runs the programs of `exec` checks.
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Whom TLS trusts.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Runs `check` on `target` once; takes at most the check's `timeout`, after the wait for a turn
    /// where it runs a program.
    pub async fn probe(&self, check: &CheckSpec, target: &Target) -> Outcome {
        if let Some(tls) = check.kind.tls() {
            self.tls.prepare(tls);
        }
        let turn = match &check.kind {
            CheckKind::Exec(_) => Some(self.programs.turn().await),
            _ => None,
        };
        let run = Run {
            check,
            turn,
            deadline: Instant::now() + check.timeout,
        };
        let (seen, mut report) = match target {
            Target::Address(address) => self.probe_address(&run, *address).await,
            Target::Name(name) => self.probe_name(&run, name).await,
        };
        for value in check
            .kind
            .secrets()
            .filter_map(|secret| secret.value.as_ref())
        {
            report.evidence = report.evidence.map(|evidence| evidence.without(value));
        }
        report.finish(self.clock.now(), seen)
    }

    async fn probe_address(&self, run: &Run<'_>, address: IpAddr) -> (Seen, Report) {
        let mut report = Report::start(first_phase(&run.check.kind));
        let address = SocketAddr::new(address, run.check.port);
        let attempt = Attempt {
            prober: self,
            run,
            name: None,
            address,
            deadline: run.deadline,
        };
        let seen = attempt.run(&mut report).await;
        (seen, report)
    }

    /// Looks up `name` and probes its addresses in turn until one passes. Each
    /// gets an equal share of the time that is left, so that a hung one leaves some to the others.
    async fn probe_name(&self, run: &Run<'_>, name: &Name) -> (Seen, Report) {
        let mut report = Report::start(Phase::Resolve);
        let addresses = match self.resolver.addresses(name, run.deadline).await {
            Ok(addresses) => addresses,
            Err(why) => return (why.seen(), report),
        };
        let port = run.check.port;
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
            report.begin_attempt(first_phase(&run.check.kind));
            let now = Instant::now();
            let share =
                run.deadline.saturating_duration_since(now) / (addresses.len() - index) as u32;
            let attempt = Attempt {
                prober: self,
                run,
                name: Some(name),
                address: *address,
                deadline: now + share,
            };
            let seen = attempt.run(report).await;
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

    /// Looks up names.
    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }
}

impl Attempt<'_> {
    /// Probes the address, and ends at the deadline.
    async fn run(&self, report: &mut Report) -> Seen {
        match timeout_at(self.deadline, self.steps(report)).await {
            Ok(Ok(())) => Seen::Pass,
            Ok(Err(seen)) => seen,
            Err(_) => Seen::Fail(FailReason::Timeout(report.phase())),
        }
    }

    /// What the check's type does; each has a file of its own. The larger ones are boxed: the future
    /// of every probe is as large as the largest that is not.
    async fn steps(&self, report: &mut Report) -> Result<(), Seen> {
        match &self.run.check.kind {
            CheckKind::Tcp(spec) => tcp::probe(spec, self, report).await,
            CheckKind::Http(spec) => Box::pin(http::probe(spec, None, self, report)).await,
            CheckKind::Https(spec, tls) => {
                Box::pin(http::probe(spec, Some(tls), self, report)).await
            }
            CheckKind::Icmp(spec) => Box::pin(icmp::probe(spec, self)).await,
            CheckKind::Dns(spec) => Box::pin(dns::probe(spec, self, report)).await,
            CheckKind::Grpc(spec) => Box::pin(grpc::probe(spec, self, report)).await,
            CheckKind::Exec(spec) => Box::pin(exec::probe(spec, self, report)).await,
            CheckKind::Tls(spec) => Box::pin(tls::probe(spec, self, report)).await,
            CheckKind::Push(_) => Err(Seen::NotJudged(NotJudged::Check)),
        }
    }

    /// The target as a Host header names it, port not included.
    pub(super) fn named(&self) -> Cow<'_, str> {
        match (self.name, self.address.ip()) {
            (Some(name), _) => Cow::Borrowed(name),
            (None, IpAddr::V4(address)) => Cow::Owned(address.to_string()),
            (None, IpAddr::V6(address)) => Cow::Owned(format!("[{address}]")),
        }
    }

    /// The family of the address.
    pub(super) fn family(&self) -> Family {
        tcp::family(&self.address)
    }
}

/// What a probe begins with, once there is an address.
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
    use crate::model::TcpSpec;

    /// Probes the addresses of `target.example.` with a `tcp` check of 400 ms.
    async fn probe(addresses: &[SocketAddr]) -> Seen {
        let check = CheckSpec {
            name: "test".into(),
            kind: CheckKind::Tcp(TcpSpec::default()),
            address: None,
            port: 80,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(400),
            fall: 3,
            rise: 2,
            forgive: 5,
            flap: None,
        };
        let mut report = Report::start(Phase::Connect);
        let run = Run {
            check: &check,
            turn: None,
            deadline: Instant::now() + check.timeout,
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
