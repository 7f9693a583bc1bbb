//! Probes: asking endpoints how they are, and telling the publisher what was seen.
//!
//! ```text
//! Timetable (when, pure) ─► Scheduler (at most N at once) ─► Prober (one probe) ─► Observed, on a channel
//!                                                               └─ tcp, tls, http, icmp, dns, grpc, exec: one file each
//! ```
//! One probe is bounded in time by its check's `timeout` over everything it does (resolving,
//! connecting, TLS, request, response head), and in memory by [`MAX_HEAD`] and [`MAX_BODY`]. Whatever an
//! endpoint does, the outcome is a pass or a reason out of the closed list in
//! [`crate::health::FailReason`]; what is this node's own fault is not judged at all.
//!
//! HTTP runs over hyper on our own socket, not over reqwest: reqwest pins an address per client
//! only (about 100 KiB and milliseconds for each), reports no phases, and takes half as much CPU again.

mod attempt;
mod certificate;
mod check;
mod counters;
mod dns;
mod exec;
mod first_round;
mod grpc;
mod http;
mod icmp;
mod keeper;
mod limit;
mod observed;
mod prober;
pub(crate) mod program;
mod report;
mod resolver;
mod route;
mod scheduler;
mod slot;
mod tcp;
mod timetable;
mod tls;
mod watch;

pub use check::Check;
pub use counters::{CheckCounts, DURATIONS, ProbeCounters};
pub use dns::{Heard, Question};
pub use exec::MAX_OUTPUT;
pub use first_round::{first_round, first_round_each};
pub use icmp::{EchoHeard, hear_v4, hear_v6};
pub use limit::ProbeLimit;
pub use observed::{Observed, Sight};
pub use prober::{EXEC_PROCESSES, MAX_ADDRESSES, Prober};
pub use route::{has_route, unrouted};
pub use scheduler::{Job, Scheduler};

/// The longest head of an HTTP response that is read, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most bytes that are read of a body, or of the reply on a connection.
pub const MAX_BODY: usize = 64 * 1024;

#[cfg(test)]
mod tests;
