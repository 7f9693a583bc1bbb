//! Shares of the descriptors, so that no client takes those of the probes.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{AdminLimits, ServerSpec};
use crate::control;
use crate::probe::ProbeLimit;

/// More descriptors than this are not asked for.
const ENOUGH: u64 = 65_536;
/// For what has no limit of its own: files of a reload, the state, the resolver, logs.
const OTHERS: u64 = 128;
/// Pipes and handle of a program that an `exec` check runs.
const OF_A_PROGRAM: u64 = 4;
/// More probes than this at once would cost memory and gain nothing.
const MOST_PROBES: u64 = 16_384;
/// Fewer probes than this at once would delay each other.
const LEAST_PROBES: u64 = 8;

/// Everybody's share of RLIMIT_NOFILE.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) probes: ProbeLimit,
    /// Connections of the DNS server.
    pub(super) tcp: usize,
    /// Connections of the admin addresses.
    pub(super) admin: usize,
    /// Connections beside these on which streams are under way.
    pub(super) streams: usize,
}

impl Shares {
    /// Raises the soft limit towards the hard one, shares out what is not open yet, and says so. So many
    /// `sockets` are still to be opened, and so many targets are `watched`.
    pub(super) fn of_process(
        server: &ServerSpec,
        admin: Option<AdminLimits>,
        sockets: usize,
        watched: usize,
    ) -> io::Result<Shares> {
        let (mut soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let wanted = hard.min(ENOUGH);
        // A refusal is no error: the shares below are cut from what there is.
        if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            soft = wanted;
        }
        // The listing has one descriptor too many, its own; that errs on the safe side. The count
        // fits: usize has at most 64 bits.
        let open = std::fs::read_dir("/proc/self/fd")?.count() as u64;
        let shares = Shares::of(
            soft,
            open + sockets as u64 + OTHERS + OF_A_PROGRAM * server.exec_processes as u64,
            server.tcp.connections,
            admin.unwrap_or_default(),
            watched,
        );
        let Shares {
            probes,
            tcp,
            admin,
            streams,
        } = &shares;
        tracing::info!(
            "file descriptors: the limit of {soft} (RLIMIT_NOFILE) allows {} concurrent probes, {tcp} TCP connections, and {admin} connections and {streams} event streams to the admin addresses",
            probes.probes
        );
        if *tcp < server.tcp.connections {
            tracing::warn!(
                "TCP connections limited to {tcp}, not {} (tcp_connections): raise the limit of descriptors (LimitNOFILE= of the \
                 systemd unit, ulimit -n)",
                server.tcp.connections
            );
        }
        Ok(shares)
    }

    /// The shares of `descriptors`, of which `taken` are spoken for, where `wanted` TCP connections
    /// are allowed and so many targets are `watched`.
    fn of(
        descriptors: u64,
        taken: u64,
        wanted: usize,
        limits: AdminLimits,
        watched: usize,
    ) -> Shares {
        let local = control::LOCAL_CONNECTIONS + control::LOCAL_STREAMS;
        let left = descriptors.saturating_sub(taken + local as u64);
        // Probes and the admin addresses first: without them a node is blind, while refused TCP
        // clients retry.
        let connections = (left / 8).clamp(1, limits.connections as u64);
        let streams = (left / 8 - connections.min(left / 8)).min(limits.streams as u64);
        let admin = connections + streams;
        // Twice: the first round of a reload probes beside those that go on.
        let probes = (left / 4).clamp(LEAST_PROBES, MOST_PROBES);
        let rest = left.saturating_sub(2 * probes + admin);
        // What is watched has a quarter of the rest where there is not enough for everybody: without
        // it failover is slower, and without the other three some clients find no connection.
        let kept = (watched as u64).min(rest / 4);
        let tcp = (rest - kept).clamp(1, wanted as u64);
        Shares {
            probes: ProbeLimit {
                descriptors,
                probes: probes as usize,
                watches: rest.saturating_sub(tcp) as usize,
            },
            tcp: tcp as usize,
            admin: connections as usize,
            streams: streams as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(descriptors: u64, watched: usize) -> [usize; 5] {
        let limits = AdminLimits::default();
        let Shares {
            probes,
            tcp,
            admin,
            streams,
        } = Shares::of(descriptors, 200, 1000, limits, watched);
        [probes.probes, tcp, admin, streams, probes.watches]
    }

    #[test]
    fn clients_get_what_probes_and_others_leave() {
        assert_eq!(shares(65_536, 0), [16_326, 1000, 64, 128, 31_460]);
        assert_eq!(shares(4096, 0), [966, 1000, 64, 128, 740]);
        assert_eq!(shares(1024, 0), [198, 297, 64, 35, 0]);
        assert_eq!(shares(256, 0), [8, 5, 3, 0, 0]);
        assert_eq!(shares(64, 0), [8, 1, 1, 0, 0]);
    }

    #[test]
    fn what_is_watched_gets_a_quarter_of_what_would_be_left_to_clients() {
        assert_eq!(shares(65_536, 20_000), [16_326, 1000, 64, 128, 31_460]);
        assert_eq!(shares(1024, 20), [198, 277, 64, 35, 20]);
        assert_eq!(shares(1024, 20_000), [198, 223, 64, 35, 74]);
        assert_eq!(shares(64, 20_000), [8, 1, 1, 0, 0]);
    }
}
