//! Few descriptors, and clients that hold as many as they can.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::{Site, Toy, command, dig, get, wait_for};

/// A connection from an address of its own.
fn connect_from(client: [u8; 4], server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((client, 0)).into())?;
    socket.connect_timeout(&server.into(), Duration::from_secs(2))?;
    Ok(socket.into())
}

#[test]
fn clients_that_hold_all_they_can_leave_descriptors_to_the_probes() {
    let site = Site::with_app();
    let net = site.net;
    site.edit(
        "meridian.toml",
        "tcp_idle_timeout = \"2s\"",
        "tcp_idle_timeout = \"1h\"",
    );
    let [dublin, _ashburn, _tokyo] = Toy::regions(net);
    let mut serve = command("prlimit");
    serve
        .args([
            "--nofile=1024:1024",
            "--",
            env!("CARGO_BIN_EXE_meridian"),
            "serve",
            "--config",
        ])
        .arg(site.path("meridian.toml"));
    let mut server = site.start_as(&mut serve);
    server.has_said("file descriptors: the limit of 1024 (RLIMIT_NOFILE) allows ");
    server.has_said(", not 1000 (tcp_connections): raise the limit of descriptors");
    // Thirty a client are allowed, and more than 1024 in all come.
    let held: Vec<_> = (0..1050)
        .filter_map(|n| connect_from([127, 200, 0, 1 + (n / 30) as u8], net.dns()).ok())
        .collect();
    let admin: Vec<_> = (0..300)
        .filter_map(|_| connect_from([127, 0, 0, 1], net.admin()).ok())
        .collect();
    assert!(
        held.len() > 900 && admin.len() > 200,
        "{} and {}",
        held.len(),
        admin.len()
    );
    let descriptors = format!("/proc/{}/fd", server.process.id());
    let open = || std::fs::read_dir(&descriptors).unwrap().count();
    wait_for("the server holds connections", || {
        (open() > 300).then_some(())
    });
    assert_eq!(
        get(net.admin(), "/healthz"),
        (200, "ok\n".to_owned()),
        "idle connections make room"
    );
    drop(dublin);
    server.says("region dublin is down, was up");
    assert_eq!(
        dig(
            net.dns(),
            &["app.gtm.example", "+subnet=203.0.113.0/24", "+short"]
        )
        .trim(),
        net.host(12).to_string()
    );
    assert!(
        dig(net.dns(), &["app.gtm.example", "+tcp", "+short"]).contains("127."),
        "and so do those of the DNS server"
    );
    assert!(open() < 1000, "{}", open());
    let log = server.process.log();
    assert!(!log.contains("cannot accept TCP connections"), "{log}");
}
