//! Targets whose octets come over a connection: a peer that says them, or a client that sends them, on loopback.
//!
//! The product's own code reads them from a socket of the kernel's, whole: nothing of it has to be
//! public for this. It costs some hundred microseconds for each.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use meridian::answer::{Query, Response, TCP_BUFFER, Transport, Worker, respond};
use meridian::clock::Clock;
use meridian::config::{AdminLimits, AdminSpec, Config, TcpLimits, Tokens, UdpOptions};
use meridian::control::{
    self, Audit, Command, Control, Gate, LastReload, Liveness, ReadModel, Reloads, Request, Started,
};
use meridian::dataset::Published;
use meridian::health::Seen;
use meridian::model::{CheckKind, CheckSpec, Moment, Target};
use meridian::probe::{Check, Prober};
use meridian::publisher::{
    AcmeEvent, Event, OverrideEvent, ProbeEvent, Publisher, UnitEvent, View,
};
use meridian::server::{self, Engine, Server};
use meridian::units::{find_region, find_unit};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::ANSWERS;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A listener on an address that no other target uses: so none is out of ports.
fn listener(last: u8) -> std::net::TcpListener {
    std::net::TcpListener::bind((Ipv4Addr::new(127, 7, 7, last), 0)).unwrap()
}

/// The checks of this `meridian.toml`, of a peer at `address`.
fn checks(text: &str, address: SocketAddr) -> Vec<CheckSpec> {
    let zone = "zone = \"fuzz.example\"\nrecords = '''\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.53\n'''\n";
    let text = [super::main_file(), text].concat();
    let config = super::files(&text, zone)
        .load()
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let fuzzed = config
        .checks
        .into_iter()
        .filter(|check| check.name.starts_with("fuzz"));
    fuzzed
        .map(|check| CheckSpec {
            port: address.port(),
            timeout: PATIENCE,
            ..check
        })
        .collect()
}

/// What `check` sees of a peer that says `bytes` to whatever it is asked, and closes.
fn probe(
    runtime: &Runtime,
    prober: &Prober,
    listener: &TcpListener,
    check: &CheckSpec,
    bytes: &[u8],
) -> Seen {
    let target = Target::Address(listener.local_addr().unwrap().ip());
    let ready = Check::from(check.clone());
    let peer = async {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            // What is not read would be answered with a reset, before what was said is.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            outcome = prober.probe(&ready, &target) => outcome.seen,
            () = peer => unreachable!("it accepts for ever"),
        }
    })
}

/// A peer and the checks that ask it.
struct Peer {
    runtime: Runtime,
    prober: Prober,
    listener: TcpListener,
    checks: Vec<CheckSpec>,
}

impl Peer {
    fn new(last: u8, text: &str) -> Peer {
        let (runtime, listener) = (runtime(), listener(last));
        listener.set_nonblocking(true).unwrap();
        let _context = runtime.enter();
        let (address, listener) = (
            listener.local_addr().unwrap(),
            TcpListener::from_std(listener).unwrap(),
        );
        let checks = checks(text, address);
        assert!(!checks.is_empty());
        let prober = Prober::new(Clock);
        drop(_context);
        Peer {
            runtime,
            prober,
            listener,
            checks,
        }
    }

    /// No check may wait for a peer that has closed, nor blame this node for what it said.
    fn say(&self, bytes: &[u8]) {
        for check in &self.checks {
            let seen = probe(&self.runtime, &self.prober, &self.listener, check, bytes);
            assert!(
                !matches!(seen, Seen::NotJudged(_)),
                "{}: {seen:?}",
                check.name
            );
            let waited = format!("{seen:?}").contains("Timeout");
            assert!(
                !waited,
                "{}: {seen:?} of a peer that has closed",
                check.name
            );
        }
    }
}

/// Probes a peer that says any octets, by HTTP/1.1 with all that looks into a body, by HTTP/2, and by `tcp` with `expect`.
pub(super) fn hear_http(bytes: &[u8]) {
    thread_local! {
        static PEER: Peer = Peer::new(1, r#"
[checks.fuzz-body]
type = "http"
expect_body = { regex = "(?i)re(ad|d)y+[^a-z]" }
[checks.fuzz-json]
type = "http"
json = [{ pointer = "/a/0", min = 1, max = 2.5 }, { pointer = "/s", equals = "ok" }, { pointer = "/f", not = false }, { pointer = "/p" }]
load_json = "/load"
[checks.fuzz-head]
type = "http"
follow_redirects = 1
load_header = "x-load"
[checks.fuzz-http2]
type = "http"
http_version = "2"
expect_body = "ready"
[checks.fuzz-tcp]
type = "tcp"
port = 80
send = "PING"
expect = "PONG"
"#);
    }
    PEER.with(|peer| peer.say(bytes));
}

/// Probes a peer that says any octets by gRPC.
pub(super) fn hear_grpc(bytes: &[u8]) {
    thread_local! {
        static PEER: Peer = Peer::new(2, "[checks.fuzz]\ntype = \"grpc\"\nport = 80\n");
    }
    PEER.with(|peer| peer.say(bytes));
}

/// Offers one chain of certificates, whatever is in them.
#[derive(Debug)]
struct Offer(Arc<CertifiedKey>);

impl ResolvesServerCert for Offer {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Probes a TLS server whose certificate is any octets.
pub(super) fn hear_certificate(bytes: &[u8]) {
    static KEY: LazyLock<Vec<u8>> =
        LazyLock::new(|| rcgen::KeyPair::generate().unwrap().serialize_der());
    const CHECKS: &str = r#"
[checks.fuzz-any]
type = "tls"
port = 443
verify_certificate = false
certificate_min_days = 2
[checks.fuzz-verified]
type = "tls"
port = 443
server_name = "www.example.com"
"#;
    thread_local! {
        static PROBER: (Runtime, Prober) = (runtime(), Prober::new(Clock));
    }
    if bytes.is_empty() || bytes.len() > 16_000 {
        return;
    }
    let key = default_provider()
        .key_provider
        .load_private_key(PrivateKeyDer::try_from(KEY.clone()).unwrap())
        .unwrap();
    let offer = Offer(Arc::new(CertifiedKey::new(
        vec![CertificateDer::from(bytes.to_vec())],
        key,
    )));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(offer));
    let (config, listener) = (Arc::new(config), listener(3));
    let address = listener.local_addr().unwrap();
    let checks = checks(CHECKS, address);
    let count = checks.len();
    let peer = std::thread::spawn(move || {
        for _ in 0..count {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut stream =
                StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            while stream.conn.is_handshaking() && stream.conn.complete_io(&mut stream.sock).is_ok()
            {
            }
            let _ = stream.read(&mut [0; 16]);
        }
    });
    for check in checks {
        let CheckKind::Tls(spec) = &check.kind else {
            unreachable!("both are of type tls")
        };
        let target = Target::Address(address.ip());
        let ready = Check::from(check.clone());
        let seen =
            PROBER.with(|(runtime, prober)| runtime.block_on(prober.probe(&ready, &target)).seen);
        assert!(
            !spec.verify_certificate || seen != Seen::Pass,
            "nobody we trust has signed it"
        );
        assert!(
            !matches!(seen, Seen::NotJudged(_)),
            "{}: {seen:?}",
            check.name
        );
    }
    peer.join().unwrap();
}

/// Answers from [`ANSWERS`].
struct Answers(Worker);

impl Engine for Answers {
    type Rest = Infallible;

    fn refresh(&mut self) {}

    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Response {
        respond(&ANSWERS, &mut self.0, query, out)
    }
}

/// Sends any octets to the TCP server: an answer comes to each whole message, in order, up to the first that gets none.
pub(super) fn frame(bytes: &[u8]) {
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        let limits = TcpLimits {
            connections: 100,
            connections_per_address: 100,
            idle_timeout: PATIENCE,
        };
        let address = SocketAddr::from(([127, 7, 7, 4], 0));
        let listeners = server::bind(&[address], NonZeroUsize::MIN, UdpOptions::default()).unwrap();
        Server::start(listeners, limits, |_| Answers(Worker::new(1))).unwrap()
    });
    let (mut expected, mut rest, mut hostile) = (Vec::new(), bytes, false);
    let (mut worker, mut out) = (Worker::new(1), vec![0; TCP_BUFFER]);
    while let Some((length, after)) = rest.split_first_chunk()
        && let Some((message, after)) =
            after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        && !hostile
    {
        let query = Query::synthetic(message, Ipv4Addr::LOCALHOST.into(), Transport::Tcp);
        match respond(&ANSWERS, &mut worker, &query, &mut out) {
            Response::Send(length) => expected.push((message[..2].to_vec(), length)),
            Response::Drop(_) => hostile = true,
        }
        rest = after;
    }
    let mut stream = TcpStream::connect(SERVER.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has closed on a hostile message takes no more.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Ok(_) => {}
        // It had octets of ours unread when it closed.
        Err(error) if hostile && error.kind() == ErrorKind::ConnectionReset => return,
        Err(error) => panic!("{error}"),
    }
    let mut rest = &answers[..];
    for (id, length) in expected {
        let (announced, after) = rest
            .split_first_chunk()
            .expect("an answer to each whole message");
        let (answer, after) = after.split_at(usize::from(u16::from_be_bytes(*announced)));
        // Draws by weight may differ; what is drawn from is of one size here.
        assert!(answer[..2] == id && answer.len() == length, "{answer:02x?}");
        rest = after;
    }
    assert!(rest.is_empty(), "{rest:02x?}");
}

/// The admin address and the control socket, before a publisher's loop of their own.
struct Admin {
    address: SocketAddr,
    directory: tempfile::TempDir,
}

static ADMIN: LazyLock<Admin> = LazyLock::new(|| {
    let dataset = crate::common::dataset(&crate::common::checked());
    let directory = tempfile::tempdir().unwrap();
    // A free port, for the admin address to be bound to in a moment.
    let (address, socket) = (
        listener(5).local_addr().unwrap(),
        directory.path().to_owned(),
    );
    let (bound, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let (requests, asked) = mpsc::channel(16);
            let mut publisher = Publisher::new(dataset.clone());
            publisher.handle(ProbeEvent::FirstRoundEnded, Moment::default());
            let published = Arc::new(Published::new(publisher.snapshot()));
            let listeners = server::bind(
                &[SocketAddr::from(([127, 7, 7, 6], 0))],
                NonZeroUsize::MIN,
                UdpOptions::default(),
            )
            .unwrap();
            let limits = TcpLimits {
                connections: 1,
                connections_per_address: 1,
                idle_timeout: PATIENCE,
            };
            let server = Server::start(listeners, limits, |_| Answers(Worker::new(1))).unwrap();
            let reloads = Arc::new(Reloads::from_pointee(LastReload {
                refused: None,
                ended: 0,
                failures: 0,
            }));
            let view = View::first(publisher.view_update(Moment::default())).unwrap();
            let (_, state) = ReadModel::new(view);
            let gate = Arc::new(Gate::default());
            let control = Control {
                published,
                counters: Vec::new(),
                server: server.counters(),
                requests,
                reloads,
                state,
                sampled: Arc::default(),
                liveness: Arc::new(Liveness::new(Moment::default())),
                work: Arc::default(),
                probes: Arc::default(),
                tallies: Arc::default(),
                events: Arc::default(),
                populations: Arc::default(),
                answers: Arc::default(),
                notifications: Arc::default(),
                gate: gate.clone(),
                audit: Audit::default(),
                drills: control::DrillDesk::new().0,
            };
            let started = Started::default();
            assert!(started.set(control.clone()).is_ok());
            let spec = AdminSpec {
                listen: vec![address],
                push_listen: Vec::new(),
                hosts: Vec::new(),
                certificate: None,
                token_place: None,
                tokens: Tokens::default(),
                limits: AdminLimits {
                    request_rate: 1_000_000,
                    ..AdminLimits::default()
                },
            };
            gate.adopt(Some(&spec));
            let admin = control::bind(&spec, gate).unwrap();
            tokio::spawn(control::serve(admin, 16, 4, started));
            tokio::spawn(control::local::serve(
                control::local::bind(&socket).unwrap(),
                control,
            ));
            bound.send(()).unwrap();
            hear_requests(publisher, asked).await;
        });
    });
    wait.recv().unwrap();
    Admin { address, directory }
});

/// The publisher's event of a command, where its names are known.
fn event(command: Command, config: &Config) -> Option<Event> {
    let request = 1;
    Some(match command {
        Command::Override(asked) => OverrideEvent::Request { request, asked }.into(),
        Command::Release { what, force } => OverrideEvent::Release {
            request,
            what,
            force,
        }
        .into(),
        Command::MoveUnit {
            unit,
            region,
            force,
        } => UnitEvent::Move {
            request,
            unit: find_unit(config, &unit).ok()?,
            region: find_region(config, &region).ok()?,
            force,
        }
        .into(),
        Command::SetChallenge(asked) => AcmeEvent::Set { request, asked }.into(),
        Command::ClearChallenges { subject, value, by } => AcmeEvent::Clear {
            request,
            subject,
            value,
            by,
        }
        .into(),
        Command::BeginUnits { .. } | Command::AcceptLoss => return None,
    })
}

/// What the publisher's loop does with requests, as far as it needs no disk: others are told that it is stopping.
async fn hear_requests(mut publisher: Publisher, mut asked: mpsc::Receiver<Request>) {
    let now = Moment::default();
    while let Some(request) = asked.recv().await {
        match request {
            Request::Report {
                targets,
                report,
                reply,
                ..
            } => {
                for target in targets {
                    let report = report.clone();
                    publisher.handle(ProbeEvent::Report { target, report }, now);
                }
                let _ = reply.send(Ok(()));
            }
            Request::Command { command, .. } => {
                if let Some(event) = event(command, &publisher.dataset().config) {
                    drop(publisher.handle(event, now));
                }
            }
            _ => {}
        }
    }
}

/// Sends any octets to the admin address, and nothing behind them: a whole response comes, or none.
pub(super) fn ask_admin(bytes: &[u8]) {
    let stream = TcpStream::connect(ADMIN.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(stream.try_clone().unwrap(), bytes, || {
        stream.shutdown(Shutdown::Write)
    });
}

/// The same to the control socket.
pub(super) fn ask_control(bytes: &[u8]) {
    let stream = UnixStream::connect(ADMIN.directory.path().join(meridian::state::SOCKET)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(stream.try_clone().unwrap(), bytes, || {
        stream.shutdown(Shutdown::Write)
    });
}

fn converse(
    mut stream: impl Read + Write,
    bytes: &[u8],
    end: impl FnOnce() -> std::io::Result<()>,
) {
    let _ = stream.write_all(bytes);
    let _ = end();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
        Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(bytes)),
    }
    let status = answer
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5));
    assert!(
        answer.is_empty() || status.is_some(),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    assert_ne!(
        status,
        Some(&b"500"[..]),
        "{:?} -> {:?}",
        String::from_utf8_lossy(bytes),
        String::from_utf8_lossy(&answer)
    );
}
