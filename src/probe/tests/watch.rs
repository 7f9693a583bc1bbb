//! Connections that are held to endpoints, and how they end.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::schedule::{LIMIT, job, prober};
use super::server::{self, start};
use super::tls::{authority, config, issued, valid};
use super::*;
use crate::health::Watch;
use crate::model::{HttpVersion, TargetId, TlsSpec};
use crate::probe::attempt::Attempt;
use crate::probe::keeper::End;
use crate::probe::watch::Connection;
use crate::probe::{Job, Observed, ProbeLimit, Scheduler, Sight};

/// Longer than any test: what happens sooner was not brought about by a turn of the probes.
const HOUR: Duration = Duration::from_secs(3600);

fn watched(kind: CheckKind, address: SocketAddr) -> CheckSpec {
    CheckSpec {
        watch: true,
        interval: Duration::from_millis(50),
        ..check(kind, address.port())
    }
}

/// A scheduler, and what it sees.
struct Watching {
    scheduler: Scheduler,
    seen: mpsc::Receiver<Vec<Observed>>,
    states: std::collections::VecDeque<(u32, TargetId, Watch)>,
}

impl Watching {
    fn start(limit: ProbeLimit, jobs: Vec<Job>) -> Watching {
        let (sender, seen) = mpsc::channel(64);
        Watching {
            scheduler: Scheduler::spawn(prober(), limit, 1, jobs, sender).unwrap(),
            seen,
            states: Default::default(),
        }
    }

    fn of(check: &CheckSpec) -> Watching {
        Watching::start(LIMIT, vec![job(0, check)])
    }

    /// The next state that is told, with its configuration and target.
    async fn next_of(&mut self) -> (u32, TargetId, Watch) {
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        while self.states.is_empty() {
            let batch = tokio::time::timeout_at(end, self.seen.recv()).await;
            for observed in batch.expect("a state is told").expect("the scheduler runs") {
                if let Sight::Watch(watch) = observed.sight {
                    self.states
                        .push_back((observed.generation, observed.target, watch));
                }
            }
        }
        self.states.pop_front().unwrap()
    }

    async fn next(&mut self) -> Watch {
        self.next_of().await.2
    }
}

/// A server that keeps every connection, and can be killed.
struct Kept {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Kept {
    async fn start() -> Kept {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.lock().unwrap().push(stream);
            }
        });
        Kept {
            address,
            connections,
            accepting,
        }
    }

    async fn kill(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
        self.connections.lock().unwrap().clear();
    }

    /// The connections that the other side has not ended.
    fn open(&self) -> usize {
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|stream| {
            let ended = stream.try_read(&mut [0]);
            ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        connections.len()
    }

    /// Waits until so many are open.
    async fn wait_open(&self, count: usize) {
        for _ in 0..2000 {
            if self.open() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} connections are open, not {count}", self.open());
    }
}

#[tokio::test]
async fn the_death_of_a_server_is_noticed_between_two_probes() {
    let server = Kept::start().await;
    let check = CheckSpec {
        interval: HOUR,
        ..watched(connects(), server.address)
    };
    let mut watching = Watching::of(&check);
    assert_eq!(watching.next().await, Watch::Held);
    server.wait_open(1).await;
    server.kill().await;
    assert_eq!(watching.next().await, Watch::Lost);
}

#[tokio::test]
async fn a_reset_is_the_end_too() {
    let server = Kept::start().await;
    let check = CheckSpec {
        interval: HOUR,
        ..watched(connects(), server.address)
    };
    let mut watching = Watching::of(&check);
    assert_eq!(watching.next().await, Watch::Held);
    server.wait_open(1).await;
    for stream in server.connections.lock().unwrap().drain(..) {
        stream.set_zero_linger().unwrap();
    }
    assert_eq!(watching.next().await, Watch::Lost);
}

#[tokio::test]
async fn what_is_not_watched_has_no_connection() {
    let server = Kept::start().await;
    let check = CheckSpec {
        watch: false,
        ..watched(connects(), server.address)
    };
    let watching = Watching::of(&check);
    let mut seen = watching.seen;
    for _ in 0..5 {
        for observed in seen.recv().await.unwrap() {
            assert!(matches!(observed.sight, Sight::Outcome(_)));
        }
    }
}

#[tokio::test]
async fn a_closed_connection_is_opened_again_after_longer_and_longer_pauses() {
    let address = start(|stream| async move {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        drop(stream);
    })
    .await;
    let mut watching = Watching::of(&watched(connects(), address));
    assert_eq!(watching.next().await, Watch::Held);
    for pause in [1, 2] {
        assert_eq!(watching.next().await, Watch::Lost);
        let lost = Instant::now();
        assert_eq!(watching.next().await, Watch::Held);
        assert!(
            lost.elapsed() > Duration::from_millis(pause * 1000 - 100),
            "{:?}",
            lost.elapsed()
        );
    }
}

#[tokio::test]
async fn a_server_that_closes_every_connection_at_once_is_given_up() {
    let address = start(|stream| async { drop(stream) }).await;
    let mut watching = Watching::of(&watched(connects(), address));
    let mut lost = 0;
    loop {
        match watching.next().await {
            Watch::Held => {}
            Watch::Lost => lost += 1,
            Watch::GivenUp => break,
            other => panic!("{other}"),
        }
    }
    assert_eq!(lost, 5);
}

#[tokio::test]
async fn a_server_that_sends_without_end_is_cut_off_and_given_up() {
    let address =
        start(|mut stream| async move { while stream.write_all(&[b'x'; 1000]).await.is_ok() {} })
            .await;
    let mut watching = Watching::of(&watched(connects(), address));
    loop {
        match watching.next().await {
            Watch::Held => {}
            Watch::GivenUp => break,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_reload_keeps_and_drops() {
    let (kept, dropped) = (Kept::start().await, Kept::start().await);
    let check_of = |server: &Kept| CheckSpec {
        interval: HOUR,
        ..watched(connects(), server.address)
    };
    let (first, second) = (check_of(&kept), check_of(&dropped));
    let mut watching = Watching::start(LIMIT, vec![job(0, &first), job(1, &second)]);
    // The phase of the other check is far in its interval.
    let early = |id| crate::health::Early {
        target: TargetId(id),
        due: Clock.now(),
    };
    watching.scheduler.probe_early(1, vec![early(1)]);
    for _ in 0..2 {
        assert_eq!(watching.next().await, Watch::Held);
    }
    kept.wait_open(1).await;
    dropped.wait_open(1).await;
    let unwatched = CheckSpec {
        watch: false,
        ..second
    };
    let moved = Job {
        id: TargetId(7),
        ..job(0, &first)
    };
    watching
        .scheduler
        .replace(2, vec![moved, job(1, &unwatched)]);
    dropped.wait_open(0).await;
    assert_eq!(kept.open(), 1);
    watching.scheduler.probe_early(2, vec![early(7)]);
    assert_eq!(
        watching.next_of().await,
        (2, TargetId(7), Watch::Held),
        "told again under its new id"
    );
    kept.wait_open(1).await;
    drop(watching);
    kept.wait_open(0).await;
}

#[tokio::test]
async fn connections_have_a_limit_of_their_own() {
    let server = Kept::start().await;
    let check = watched(connects(), server.address);
    let limit = ProbeLimit {
        watches: 1,
        ..LIMIT
    };
    let mut watching = Watching::start(limit, vec![job(0, &check), job(1, &check)]);
    let mut states = [watching.next().await, watching.next().await];
    states.sort_by_key(|state| state.to_string());
    assert_eq!(states, [Watch::Held, Watch::NoDescriptor]);
}

/// Opens a connection to hold, as a check of this kind does.
async fn open(prober: &Prober, kind: CheckKind, address: SocketAddr) -> Result<Connection, Seen> {
    let check = Check::from(watched(kind, address));
    let attempt = Attempt {
        check: &check,
        name: None,
        address,
        deadline: tokio::time::Instant::now() + TIMEOUT,
    };
    Connection::open(&attempt, prober.connectors()).await
}

async fn end_of(connection: Connection) -> End {
    tokio::time::timeout(Duration::from_secs(60), connection.hold())
        .await
        .expect("the end is noticed")
}

fn two() -> HttpSpec {
    HttpSpec {
        version: HttpVersion::Two,
        ..http()
    }
}

#[tokio::test]
async fn goaway_ends_a_connection_of_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut opening = [0; 33];
        stream.read_exact(&mut opening).await.unwrap();
        assert!(opening.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"));
        stream
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        stream.write_all(&ping).await.unwrap();
        let mut replies = [0; 26];
        stream.read_exact(&mut replies).await.unwrap();
        assert_eq!(replies[..9], [0, 0, 0, 4, 1, 0, 0, 0, 0]);
        assert_eq!(replies[9..14], [0, 0, 8, 6, 1]);
        assert_eq!(replies[18..], ping[9..]);
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        stream.write_all(&goaway).await.unwrap();
        // It does not close the connection itself.
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    };
    let watch = async {
        let connection = open(&Prober::new(Clock), CheckKind::Http(two()), address)
            .await
            .unwrap();
        assert_eq!(end_of(connection).await, End::Lost);
    };
    tokio::join!(server, watch);
}

/// A server with TLS that keeps a connection for as long as `until` says, and its prober.
async fn serving_tls(alpn: &[&str]) -> (SocketAddr, Prober, mpsc::Receiver<TlsStream>) {
    let authority = authority("ours");
    let mut config = config(&issued(&authority, valid(&["www.example.com"])));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, accepted) = mpsc::channel(1);
    let address = start(move |stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = sender.send(stream).await;
            }
        }
    })
    .await;
    let prober = Prober::with_roots(Clock, vec![authority.der().clone()]);
    (address, prober, accepted)
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

fn tls() -> TlsSpec {
    TlsSpec {
        server_name: Some("www.example.com".into()),
        ..TlsSpec::default()
    }
}

#[tokio::test]
async fn inside_tls_the_handshake_is_made_and_the_end_noticed() {
    let (address, prober, mut accepted) = serving_tls(&[]).await;
    for kind in [CheckKind::Tls(tls()), CheckKind::Https(http(), tls())] {
        let connection = open(&prober, kind, address).await.unwrap();
        let mut server = accepted.recv().await.unwrap();
        assert_eq!(server.get_ref().1.server_name(), Some("www.example.com"));
        let holding = tokio::spawn(connection.hold());
        server.write_all(b"nobody reads this").await.unwrap();
        server.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!holding.is_finished());
        drop(server);
        assert_eq!(holding.await.unwrap(), End::Lost);
    }
}

#[tokio::test]
async fn inside_tls_a_connection_of_http_2_knows_the_settings_of_the_server() {
    let (address, prober, mut accepted) = serving_tls(&["h2", "http/1.1"]).await;
    let server = tokio::spawn(async move {
        let stream = accepted.recv().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let serving = async { assert!(connection.accept().await.is_none()) };
        let served = tokio::time::timeout(Duration::from_millis(500), serving).await;
        assert!(served.is_err(), "it goes on");
        connection
    });
    let connection = open(&prober, CheckKind::Https(http(), tls()), address)
        .await
        .unwrap();
    let holding = tokio::spawn(connection.hold());
    let connection = server.await.unwrap();
    assert!(!holding.is_finished());
    drop(connection);
    assert_eq!(holding.await.unwrap(), End::Lost);
}

#[tokio::test]
async fn an_answer_to_nothing_is_let_pass() {
    let address = start(|stream| server::banner(stream, b"220 mail.example.com ESMTP\r\n")).await;
    let connection = open(&Prober::new(Clock), connects(), address)
        .await
        .unwrap();
    let held = tokio::time::timeout(Duration::from_millis(300), connection.hold()).await;
    assert!(held.is_err());
}
