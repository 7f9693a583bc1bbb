//! `icmp` checks of loopback addresses.

#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::health::NotJudged;
use crate::model::IcmpSpec;

fn echo(size: u16) -> CheckSpec {
    check(CheckKind::Icmp(IcmpSpec { size }), 0)
}

/// False, and said, where the system lets this process open no ICMP socket at all.
async fn allowed(prober: &Prober) -> bool {
    let seen = probe(prober, &echo(8), &loopback()).await.seen;
    let allowed = seen != Seen::NotJudged(NotJudged::NoIcmp);
    if !allowed {
        eprintln!(
            "left out: neither CAP_NET_RAW nor net.ipv4.ping_group_range lets this process send echo requests"
        );
    }
    allowed
}

#[tokio::test]
async fn the_loopback_replies_in_both_families_and_sizes() {
    let prober = Prober::new(Clock);
    if !allowed(&prober).await {
        return;
    }
    for size in [8, 56, 1400] {
        let outcome = probe(&prober, &echo(size), &loopback()).await;
        assert_eq!(outcome.seen, Seen::Pass);
        assert_eq!(
            outcome
                .phases
                .iter()
                .map(|(phase, _)| phase)
                .collect::<Vec<_>>(),
            [Phase::Response]
        );
    }
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        let target = Target::Address("::1".parse().unwrap());
        assert_eq!(probe(&prober, &echo(56), &target).await.seen, Seen::Pass);
    } else {
        eprintln!("left out: there is no IPv6 here");
    }
}

/// One socket, and each reply finds its probe: many of one address, many addresses.
#[tokio::test]
async fn replies_find_their_probes() {
    let prober = Arc::new(Prober::new(Clock));
    if !allowed(&prober).await {
        return;
    }
    let targets = (0..400u32).map(|i| {
        if i % 2 == 0 {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::from(0x7f00_0100 + i)
        }
    });
    let probes: Vec<_> = targets
        .map(|address| {
            let prober = prober.clone();
            tokio::spawn(async move {
                prober
                    .probe(&Check::from(echo(56)), &Target::Address(address.into()))
                    .await
                    .seen
            })
        })
        .collect();
    for probe in probes {
        assert_eq!(probe.await.unwrap(), Seen::Pass);
    }
}
