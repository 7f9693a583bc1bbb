//! TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::process::{Command, Stdio};

use super::*;

/// As long as a test dares to let a connection be idle.
const IDLE: Duration = Duration::from_millis(300);

fn impatient() -> TcpLimits {
    TcpLimits {
        idle_timeout: IDLE,
        ..limits()
    }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection from an address of our own choice.
fn connect_from(client: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(server),
        socket2::Type::STREAM,
        None,
    )
    .unwrap();
    socket.bind(&SocketAddr::new(client, 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

fn next(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn asks(stream: &mut TcpStream, id: u16) {
    stream.write_all(&framed(&query(id, "www"))).unwrap();
    assert_eq!(next(stream), answer(id, "www", Transport::Tcp));
}

/// The server closes the connection, with or without a reset, and says nothing more.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn one_connection_asks_many_times_in_both_families() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], 1, limits());
    for address in server.addresses() {
        let mut stream = connect(*address);
        (0..10).for_each(|id| asks(&mut stream, id));
    }
    eventually(&server, |c| c.tcp.closed.get() == 2);
    let counters = server.counters();
    assert_eq!(
        (
            counters.tcp.received.get(),
            counters.tcp.answered.get(),
            counters.tcp.accepted.get()
        ),
        (20, 20, 2)
    );
}

#[test]
fn pipelined_queries_are_answered_in_order() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut stream = connect(server.addresses()[0]);
    let burst: Vec<u8> = (0..20_000)
        .flat_map(|id| framed(&query(id, "www")))
        .collect();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&burst).unwrap());
        for id in 0..20_000 {
            assert_eq!(next(&mut stream), answer(id, "www", Transport::Tcp));
        }
    });
}

#[test]
fn an_answer_of_many_messages_comes_whole_and_before_the_next_answer() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut stream = connect(server.addresses()[0]);
    let asked = [
        framed(&query(7, "stream0")),
        framed(&query(8, "stream20000")),
        framed(&query(9, "where")),
    ];
    stream.write_all(&asked.concat()).unwrap();
    assert_eq!(next(&mut stream), answer(7, "stream0", Transport::Tcp));
    for id in [8].into_iter().chain((0..20_000).rev()) {
        assert_eq!(next(&mut stream), answer(id, "stream20000", Transport::Tcp));
    }
    let mut last = answer(9, "where", Transport::Tcp);
    let (client, local) = (stream.local_addr().unwrap(), server.addresses()[0]);
    last.extend(format!(" {client} {local}").bytes());
    assert_eq!(next(&mut stream), last);
    // A question has one answer, however many messages that has.
    eventually(&server, |c| c.tcp.answered.get() == 3);
}

/// Its messages are made as they are read: the server does not hold them, and serves others between.
#[test]
fn a_client_that_does_not_read_on_holds_nobody_up_and_is_cut_off() {
    let server = start(&["127.0.0.1:0"], 1, impatient());
    let mut slow = connect(server.addresses()[0]);
    slow.write_all(&framed(&query(1, "stream60000"))).unwrap();
    assert_eq!(next(&mut slow), answer(1, "stream60000", Transport::Tcp));
    asks(&mut connect(server.addresses()[0]), 2);
    eventually(&server, |c| c.tcp.timed_out.get() == 1);
}

#[test]
fn a_query_may_come_byte_by_byte() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut stream = connect(server.addresses()[0]);
    let two = [framed(&query(1, "www")), framed(&query(2, "mail"))].concat();
    for byte in two {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(next(&mut stream), answer(1, "www", Transport::Tcp));
    assert_eq!(next(&mut stream), answer(2, "mail", Transport::Tcp));
}

#[test]
fn the_longest_query_and_the_longest_answer_pass() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut stream = connect(server.addresses()[0]);
    let longest = query(1, &"x".repeat(65535 - 12));
    stream.write_all(&framed(&longest)).unwrap();
    assert_eq!(next(&mut stream)[3..], longest[3..]);
    stream.write_all(&framed(&query(2, "huge"))).unwrap();
    assert_eq!(next(&mut stream).len(), 65535);
    asks(&mut stream, 3);
}

#[test]
fn a_client_that_has_said_all_it_wants_still_gets_its_answers() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut stream = connect(server.addresses()[0]);
    stream
        .write_all(
            &[
                framed(&query(1, "www")),
                framed(&query(2, "www")),
                vec![0, 20, 1],
            ]
            .concat(),
        )
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&mut stream), answer(1, "www", Transport::Tcp));
    assert_eq!(next(&mut stream), answer(2, "www", Transport::Tcp));
    assert!(is_closed(&mut stream));
}

#[test]
fn silence_ends_a_connection_wherever_it_falls() {
    let server = start(&["127.0.0.1:0"], 1, impatient());
    for beginning in [
        vec![],
        vec![0],
        vec![0, 40, 1, 2, 3],
        framed(&query(1, "www")),
    ] {
        let begin = Instant::now();
        let mut stream = connect(server.addresses()[0]);
        stream.write_all(&beginning).unwrap();
        if beginning.len() > 12 {
            next(&mut stream);
        }
        assert!(is_closed(&mut stream));
        assert!(begin.elapsed() >= IDLE, "{:?}", begin.elapsed());
    }
    eventually(&server, |c| c.tcp.timed_out.get() == 4);
}

#[test]
fn a_message_that_trickles_in_is_cut_off_though_bytes_keep_coming() {
    let server = start(&["127.0.0.1:0"], 1, impatient());
    let mut stream = connect(server.addresses()[0]);
    let begin = Instant::now();
    while stream.write_all(&[1]).is_ok() {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(IDLE / 6);
    }
    eventually(&server, |c| {
        c.tcp.timed_out.get() == 1 && c.tcp.received.get() == 0
    });
}

#[test]
fn a_connection_in_use_outlives_the_idle_timeout() {
    let idle_timeout = Duration::from_secs(1);
    let server = start(
        &["127.0.0.1:0"],
        1,
        TcpLimits {
            idle_timeout,
            ..limits()
        },
    );
    let mut stream = connect(server.addresses()[0]);
    for id in 0..22 {
        asks(&mut stream, id);
        std::thread::sleep(idle_timeout / 10);
    }
    assert_eq!(server.counters().tcp.timed_out.get(), 0);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = start(&["127.0.0.1:0"], 1, impatient());
    let mut stream = connect(server.addresses()[0]);
    stream
        .set_write_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let huge = framed(&query(1, "huge"));
    // Until the server no longer reads, since it cannot write.
    while stream.write_all(&huge).is_ok() {
        if server.counters().tcp.timed_out.get() > 0 {
            break;
        }
    }
    eventually(&server, |c| {
        c.tcp.timed_out.get() == 1 && c.tcp.closed.get() == 1
    });
    // What it has not taken is not kept for it.
    let end = std::iter::repeat_with(|| stream.read(&mut [0; 65536]))
        .find(|read| !matches!(read, Ok(1..)));
    assert_eq!(end.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn clients_that_do_not_read_hold_little_memory() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let clients = 10;
    let mut streams = Vec::new();
    for _ in 0..clients {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&server.addresses()[0].into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_nonblocking(true).unwrap();
        // Until neither kernel takes any more.
        let queries = framed(&query(1, "huge")).repeat(1000);
        let _ = stream.write_all(&queries);
        streams.push(stream);
    }
    eventually(&server, |c| c.tcp.answered.get() >= clients);
    let turns = server.counters().tcp.turns.get();
    eventually(&server, |c| c.tcp.turns.get() > turns + 5);
    // Each answer has 65 535 octets: what the kernel takes for a client, and what waits to be taken.
    let answered = server.counters().tcp.answered.get();
    assert!(
        answered <= clients * 3,
        "{answered} answers wait for {clients} clients"
    );
}

#[test]
fn a_client_that_pipelines_much_work_gives_others_their_turn() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut busy = connect(server.addresses()[0]);
    let mut writer = busy.try_clone().unwrap();
    let total = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let burst: Vec<u8> = (0..total)
                .flat_map(|id| framed(&query(id, "brief")))
                .collect();
            writer.write_all(&burst).unwrap();
        });
        scope.spawn(|| {
            (0..total)
                .for_each(|id| assert_eq!(next(&mut busy), answer(id, "brief", Transport::Tcp)))
        });
        eventually(&server, |c| c.tcp.received.get() > 0);
        let before = server.counters().tcp.received.get();
        asks(&mut connect(server.addresses()[0]), 1);
        let meanwhile = server.counters().tcp.received.get() - before;
        // Accepted in one turn and answered in the next, and in each the other gets a few dozen messages in.
        assert!(
            meanwhile < 400,
            "{meanwhile} messages of one client before the first of the other"
        );
    });
}

#[test]
fn a_client_beyond_its_share_is_refused_at_once() {
    let server = start(
        &["127.0.0.1:0"],
        1,
        TcpLimits {
            connections_per_address: 2,
            ..limits()
        },
    );
    let address = server.addresses()[0];
    let (mut first, mut second) = (connect(address), connect(address));
    asks(&mut first, 1);
    asks(&mut second, 2);
    assert!(is_closed(&mut connect(address)));
    let mut other = connect_from([127, 0, 0, 5].into(), address);
    asks(&mut other, 3);
    drop(first);
    eventually(&server, |c| c.tcp.closed.get() == 1);
    asks(&mut connect(address), 4);
    assert_eq!(server.counters().tcp.refused.get(), 1);
}

#[test]
fn when_all_places_are_taken_the_least_useful_connection_makes_room() {
    let server = start(
        &["127.0.0.1:0"],
        1,
        TcpLimits {
            connections: 2,
            ..limits()
        },
    );
    let address = server.addresses()[0];
    let mut busy = connect(address);
    asks(&mut busy, 1);
    let mut holder = connect(address);
    holder.write_all(&[0]).unwrap();
    eventually(&server, |c| c.tcp.accepted.get() == 2);
    asks(&mut busy, 2);
    let mut new = connect(address);
    asks(&mut new, 3);
    assert!(is_closed(&mut holder));
    asks(&mut busy, 4);
    eventually(&server, |c| {
        c.tcp.evicted.get() == 1 && c.tcp.closed.get() == 1 && c.tcp.refused.get() == 0
    });
}

#[test]
fn a_message_that_deserves_no_answer_ends_its_connection_after_the_answers_before_it() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    for hostile in [
        framed(b""),
        framed(b"short"),
        framed(&answer(1, "www", Transport::Tcp)),
    ] {
        let mut stream = connect(server.addresses()[0]);
        stream
            .write_all(&[framed(&query(1, "www")), hostile].concat())
            .unwrap();
        assert_eq!(next(&mut stream), answer(1, "www", Transport::Tcp));
        assert!(is_closed(&mut stream));
    }
    eventually(&server, |c| c.tcp.dropped.get() == 3);
}

#[test]
fn garbage_harms_nobody_else() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut bystander = connect(server.addresses()[0]);
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(65_537).collect();
        let mut stream = connect(server.addresses()[0]);
        // The server may have closed the connection before the last byte.
        let _ = stream.write_all(&garbage);
        asks(&mut bystander, 1);
    }
}

#[test]
fn a_panic_ends_its_own_connection_only() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let (mut stream, mut bystander) = (
        connect(server.addresses()[0]),
        connect(server.addresses()[0]),
    );
    stream.write_all(&framed(&query(1, "panic"))).unwrap();
    assert!(is_closed(&mut stream));
    asks(&mut bystander, 2);
    eventually(&server, |c| c.tcp.closed.get() == 1);
}

#[test]
fn stopping_closes_idle_connections_and_lets_open_exchanges_finish() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let address = server.addresses()[0];
    let (mut idle, mut open) = (connect(address), connect(address));
    asks(&mut idle, 1);
    asks(&mut open, 2);
    let last = framed(&query(3, "www"));
    open.write_all(&last[..7]).unwrap();
    // Two rounds of the server's clock: the seven bytes have been read.
    let turns = server.counters().tcp.turns.get();
    eventually(&server, |c| c.tcp.turns.get() > turns + 1);
    let stopping = std::thread::spawn(move || server.stop());
    assert!(is_closed(&mut idle));
    open.write_all(&last[7..]).unwrap();
    assert_eq!(next(&mut open), answer(3, "www", Transport::Tcp));
    assert!(is_closed(&mut open));
    stopping.join().unwrap();
    assert!(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err());
}

/// A server in a process of its own, with few file descriptors. Says its port, serves until its input ends, and then says
/// how many seconds of processor time it took and how often it could not accept.
#[test]
#[ignore = "run by the test below, in a child process"]
fn serves_with_few_descriptors() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    nix::sys::resource::setrlimit(
        nix::sys::resource::Resource::RLIMIT_NOFILE,
        open + 5,
        open + 5,
    )
    .unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nport {}", server.addresses()[0].port()).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let busy = usage.user_time().tv_sec() + usage.system_time().tv_sec();
    writeln!(
        out,
        "busy {busy}\nfailed {}",
        server.counters().tcp.accept_errors.get()
    )
    .unwrap();
}

#[test]
fn without_descriptors_the_server_waits_and_goes_on() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "server::tests::tcp::serves_with_few_descriptors",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut value = |key: &str| -> u64 {
        let line = lines
            .find_map(|line| line.unwrap().strip_prefix(key).map(str::to_owned))
            .unwrap();
        line.trim().parse().unwrap()
    };
    let address = SocketAddr::from(([127, 0, 0, 1], value("port ") as u16));
    let many: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
    std::thread::sleep(Duration::from_millis(1500));
    drop(many);
    asks(&mut connect(address), 1);
    drop(child.stdin.take());
    assert_eq!(
        value("busy "),
        0,
        "seconds of processor time: it did not spin"
    );
    let failed = value("failed ");
    assert!((2..100).contains(&failed), "{failed}");
    assert!(child.wait().unwrap().success());
}
