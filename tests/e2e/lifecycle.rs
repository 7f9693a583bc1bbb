//! From start to end: the service manager's socket, SIGTERM, and logs that nobody reads.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;

use crate::support::{Hammer, PATIENCE, Site, dig, exchange_tcp, query, wait_for};

#[test]
fn the_service_manager_hears_of_start_reload_life_and_end() {
    let site = Site::new();
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut serve = site.serve();
    serve
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");
    let mut buffer = [0; 4096];
    let mut next = |unlike: &str| loop {
        let length = socket
            .recv(&mut buffer)
            .expect("the service manager is told");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.trim() != unlike {
            return text;
        }
    };
    let mut server = site.start_as(&mut serve);
    assert_eq!(next(""), STARTING);
    let ready = next("WATCHDOG=1");
    assert!(
        ready.starts_with("READY=1\nSTATUS=ready: 1 zone"),
        "{ready}"
    );
    assert_eq!(next(""), "WATCHDOG=1\n");
    assert_eq!(next(""), "WATCHDOG=1\n", "again and again");
    let refused = "BUT the last reload was refused: a restart would not come up with these files";
    for (text, is_refused) in [("zone = ", true), (crate::support::ZONE, false)] {
        site.write("zones/gtm.example.toml", text);
        server.process.signal(Signal::SIGHUP);
        let reloading = next("WATCHDOG=1");
        assert!(
            reloading.starts_with("RELOADING=1\n") && reloading.contains("MONOTONIC_USEC="),
            "{reloading}"
        );
        let ready = next("WATCHDOG=1");
        assert!(
            ready.starts_with("READY=1\nSTATUS=ready: 1 zone"),
            "{ready}"
        );
        assert_eq!(ready.contains(refused), is_refused, "{ready}");
    }
    server.says("reloaded:");
    server.process.signal(Signal::SIGTERM);
    let stopping = next("WATCHDOG=1");
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    let (code, log) = server.process.end();
    assert_eq!(code, Some(0));
    // It was, of a thread that had not had the time to go round.
    assert!(!log.contains("threads stuck"), "{log}");
}

/// Said before the first round of probes.
const STARTING: &str =
    "STATUS=starting: no query is answered before the first round of probes has ended\n";

#[test]
fn signals_that_nobody_means_do_not_kill_the_server() {
    let site = Site::new();
    let mut server = site.start();
    let (usual, real_time) = (
        [
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGALRM,
            Signal::SIGVTALRM,
        ],
        ["34", "40", "64"],
    );
    for signal in usual.into_iter().chain([
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGXFSZ,
        Signal::SIGPIPE,
    ]) {
        server.process.signal(signal);
    }
    for signal in real_time {
        let done = Command::new("kill")
            .args(["-s", signal, &server.process.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success(), "{signal}");
    }
    server.reload("reloaded:");
    assert!(dig(server.net.dns(), &["www.gtm.example", "+short"]).starts_with("192.0.2."));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_node_that_is_not_ready_has_started_and_says_why() {
    let site = Site::new();
    assert_eq!(site.start().stop().0, Some(0));
    std::fs::write(site.path("zones/gtm.example.toml"), "zone = ").unwrap();
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _server = site.start_as(site.serve().env("NOTIFY_SOCKET", &path));
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), STARTING);
    let length = socket.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert_eq!(
        text,
        "READY=1\nSTATUS=NOT READY: configuration broken: serving the last good files until the files are fixed and reloaded\n"
    );
}

#[test]
fn sigterm_answers_what_is_queued_and_ends_with_0() {
    let site = Site::new();
    let server = site.start();
    let message = query("www.gtm.example", RecordType::A);
    let mut under_way = TcpStream::connect(server.net.dns()).unwrap();
    under_way.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut idle = TcpStream::connect(server.net.dns()).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(exchange_tcp(&mut idle, &message).is_ok());
    // Half of a message is on its way when the end is asked for.
    let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
    under_way.write_all(&framed[..10]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    let mut server = server;
    server.process.signal(Signal::SIGTERM);
    server.says("stopping: answering the queued queries");
    under_way.write_all(&framed[10..]).unwrap();
    let mut length = [0; 2];
    std::io::Read::read_exact(&mut under_way, &mut length)
        .expect("the exchange under way is finished");
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    std::io::Read::read_exact(&mut under_way, &mut answer).unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);
    assert_eq!(
        std::io::Read::read(&mut idle, &mut length).unwrap(),
        0,
        "an idle connection is closed"
    );
    let (code, log) = server.process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.trim_end().ends_with("stopped"), "{log}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn sigint_ends_it_too_and_the_ports_are_free_at_once() {
    let site = Site::new();
    for _ in 0..3 {
        let server = site.start();
        let clients = Hammer::start(
            server.net.dns(),
            "www.gtm.example",
            Duration::from_millis(1),
        );
        std::thread::sleep(Duration::from_millis(100));
        clients.stop();
        server.process.signal(Signal::SIGINT);
        assert_eq!(server.process.end().0, Some(0));
    }
}

#[test]
fn sigterm_in_the_first_round_ends_it() {
    let site = Site::with_app();
    // Connections to these endpoints neither open nor fail, so the first round takes all its time.
    site.edit(
        "meridian.toml",
        "interval = \"200ms\"\ntimeout  = \"100ms\"",
        "interval = \"20s\"\ntimeout  = \"10s\"",
    );
    let zone = std::fs::read_to_string(site.path("zones/gtm.example.toml")).unwrap();
    let listener = std::net::TcpListener::bind((site.net.host(11), 8080)).unwrap();
    let zone = zone.replace(
        &site.net.host(12).to_string(),
        &site.net.host(11).to_string(),
    );
    site.write(
        "zones/gtm.example.toml",
        &zone.replace(
            &site.net.host(13).to_string(),
            &site.net.host(11).to_string(),
        ),
    );
    let mut process = crate::support::Process::spawn(&mut site.serve());
    process.wait_log("concurrent probes", 0);
    std::thread::sleep(Duration::from_millis(300));
    process.signal(Signal::SIGTERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    drop(listener);
}

#[test]
fn a_log_that_nobody_reads_does_no_harm() {
    let site = Site::new();
    let mut child = site
        .serve()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let answers =
        || std::panic::catch_unwind(|| dig(site.net.dns(), &["www.gtm.example", "+short"])).is_ok();
    wait_for("it answers", || answers().then_some(()));
    site.edit("zones/gtm.example.toml", "192.0.2.", "203.0.113.");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        Signal::SIGHUP,
    )
    .unwrap();
    let moved = || dig(site.net.dns(), &["www.gtm.example", "+short"]).starts_with("203.0.113.");
    wait_for("the reload is done though nobody hears of it", || {
        moved().then_some(())
    });
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
