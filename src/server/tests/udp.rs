//! UDP.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::config::UdpOptions;
use crate::server::UDP_BUFFER;
use crate::server::mmsg::QUERY_SIZE;

#[test]
fn every_worker_answers_in_both_families_and_the_counters_add_up() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], 2, limits());
    for address in server.addresses() {
        for id in 0..32 {
            let client = udp_client(*address);
            client.send(&query(id, "www")).unwrap();
            assert_eq!(receive(&client), answer(id, "www", Transport::Udp));
        }
    }
    let client = udp_client(server.addresses()[0]);
    client.send(b"short").unwrap();
    eventually(&server, |c| c.sum_udp(|u| &u.received) == 65);
    let counters = server.counters();
    assert_eq!(counters.udp.len(), 4);
    assert!(
        counters.udp.iter().all(|thread| thread.received.get() > 0),
        "the kernel spreads 32 clients over the sockets"
    );
    assert_eq!(
        (
            counters.sum_udp(|u| &u.answered),
            counters.sum_udp(|u| &u.dropped)
        ),
        (64, 1)
    );
    assert_eq!(
        (
            counters.sum_udp(|u| &u.send_errors),
            counters.sum_udp(|u| &u.panics)
        ),
        (0, 0)
    );
}

#[test]
fn a_wildcard_socket_answers_from_the_address_asked() {
    let server = start(&["0.0.0.0:0", "[::]:0"], 1, limits());
    let (v4, v6) = (server.addresses()[0].port(), server.addresses()[1].port());
    let mut asked: Vec<SocketAddr> = vec![([127, 0, 0, 2], v4).into(), ([127, 0, 0, 1], v4).into()];
    asked.extend(
        ipv6_of_this_machine()
            .into_iter()
            .map(|(ip, scope)| SocketAddr::V6(SocketAddrV6::new(ip, v6, 0, scope))),
    );
    assert!(asked.len() > 2, "IPv6's loopback at least");
    for (id, address) in asked.into_iter().enumerate() {
        let client = udp_client(address);
        client.send(&query(id as u16, "where")).unwrap();
        let mut expected = answer(id as u16, "where", Transport::Udp);
        let local = SocketAddr::new(address.ip(), address.port());
        expected.extend(format!(" {} {local}", client.local_addr().unwrap()).bytes());
        assert_eq!(
            String::from_utf8_lossy(&receive(&client)),
            String::from_utf8_lossy(&expected),
            "{address}"
        );
    }
}

/// Every IPv6 address of an interface that is up, with the interface where it is link-local.
fn ipv6_of_this_machine() -> Vec<(Ipv6Addr, u32)> {
    let table = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let ip = Ipv6Addr::from_bits(u128::from_str_radix(fields[0], 16).unwrap());
        let interface = u32::from_str_radix(fields[1], 16).unwrap();
        (
            ip,
            if ip.is_unicast_link_local() {
                interface
            } else {
                0
            },
        )
    };
    table.lines().map(row).collect()
}

#[test]
fn more_than_one_batch_was_waiting() {
    for options in [
        UdpOptions::default(),
        UdpOptions {
            batch: 1,
            pin_workers: true,
            ..UdpOptions::default()
        },
    ] {
        let listeners = bind(
            &["127.0.0.1:0".parse().unwrap()],
            NonZeroUsize::MIN,
            options,
        )
        .unwrap();
        let client = udp_client(listeners.addresses()[0]);
        for id in 0..150 {
            client.send(&query(id, "www")).unwrap();
        }
        let _server = Server::start(listeners, limits(), |_| Parrot::default()).unwrap();
        for id in 0..150 {
            assert_eq!(receive(&client), answer(id, "www", Transport::Udp));
        }
    }
}

#[test]
fn what_is_too_long_for_a_query_is_dropped_and_counted() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let client = udp_client(server.addresses()[0]);
    for content in ["x".repeat(4096), "x".repeat(65_000), "www".to_owned()] {
        client.send(&query(1, &content)).unwrap();
    }
    assert_eq!(receive(&client), answer(1, "www", Transport::Udp));
    client.send(&query(2, "huge")).unwrap();
    assert_eq!(receive(&client).len(), UDP_BUFFER);
    eventually(&server, |c| {
        c.udp[0].received.get() == 4 && c.udp[0].dropped.get() == 2
    });
}

#[test]
fn a_panic_costs_its_batch_and_nothing_more() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let client = udp_client(server.addresses()[0]);
    client.send(&query(1, "panic")).unwrap();
    eventually(&server, |c| c.udp[0].panics.get() == 1);
    client.send(&query(2, "www")).unwrap();
    assert_eq!(receive(&client), answer(2, "www", Transport::Udp));
}

#[test]
fn what_was_queued_is_answered_before_the_server_stops() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let address = server.addresses()[0];
    let client = udp_client(address);
    client.send(&query(0, "slow")).unwrap();
    // More than the batch of the slow one, which the thread is at when it is told to leave.
    for id in 1..=100 {
        client.send(&query(id, "www")).unwrap();
    }
    server.stop();
    assert_eq!(receive(&client), answer(0, "slow", Transport::Udp));
    for id in 1..=100 {
        assert_eq!(receive(&client), answer(id, "www", Transport::Udp));
    }
    UdpSocket::bind(address).expect("the port is free again");
}

#[test]
fn stopping_an_idle_server_is_quick() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], 2, limits());
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < Duration::from_secs(3));
}

/// The same service with one datagram per system call and nothing unsafe: what the batches are held to.
fn twin(socket: &UdpSocket, stop: &AtomicBool) {
    let (mut engine, mut buffer, mut out) =
        (Parrot::default(), vec![0; 65536], vec![0; UDP_BUFFER]);
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let query = Query {
            peer: client,
            local: socket.local_addr().unwrap(),
            ..Query::synthetic(
                &buffer[..length.min(QUERY_SIZE)],
                client.ip(),
                Transport::Udp,
            )
        };
        if length <= QUERY_SIZE
            && let Response::Send(length) = engine.answer(&query, &mut out)
        {
            socket.send_to(&out[..length], client).unwrap();
        }
    }
}

/// Sends all of `queries` at once and returns the answers up to that to the last, which has one.
fn ask(client: &UdpSocket, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for query in queries {
        client.send(query).unwrap();
    }
    client.send(&query(0xFFFF, "last")).unwrap();
    let last = answer(0xFFFF, "last", Transport::Udp);
    let mut answers = Vec::new();
    while answers.last() != Some(&last) {
        answers.push(receive(client));
    }
    answers
}

fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => 0..64usize, 1 => 0..1600usize, 1 => QUERY_SIZE - 2..QUERY_SIZE + 3, 1 => Just(UDP_BUFFER)];
    length
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length))
        .prop_filter("wants to panic", |datagram| {
            !datagram.get(12..).is_some_and(|content| {
                content.starts_with(b"panic") || content.starts_with(b"slow")
            })
        })
}

#[test]
fn batches_give_the_same_answers_as_single_calls() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = start(&[address], 1, limits());
        let single = UdpSocket::bind(address).unwrap();
        single
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let stop = AtomicBool::new(false);
        let (batched, plain) = (
            udp_client(server.addresses()[0]),
            udp_client(single.local_addr().unwrap()),
        );
        std::thread::scope(|scope| {
            scope.spawn(|| twin(&single, &stop));
            let result = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48))
                .run(
                    // So many fit into the default receive buffer though each is as long as can be.
                    &prop::collection::vec(any_datagram(), 0..24),
                    |queries| {
                        prop_assert_eq!(ask(&batched, &queries), ask(&plain, &queries));
                        Ok(())
                    },
                );
            stop.store(true, Ordering::Relaxed);
            result.unwrap();
        });
    }
}
