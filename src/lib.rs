#![doc = "Meridian: an authoritative DNS server that steers traffic."]

// The core: it waits for nothing, and calls neither the system nor a clock. `clippy.toml` says which methods would.
#[deny(clippy::disallowed_methods)]
pub mod acme;
#[deny(clippy::disallowed_methods)]
pub mod answer;
#[deny(clippy::disallowed_methods)]
pub mod changes;
#[deny(clippy::disallowed_methods)]
pub mod commit;
#[deny(clippy::disallowed_methods)]
pub mod config;
#[deny(clippy::disallowed_methods)]
pub mod dataset;
#[deny(clippy::disallowed_methods)]
pub mod diag;
#[deny(clippy::disallowed_methods)]
pub mod dns;
#[deny(clippy::disallowed_methods)]
pub mod drills;
#[deny(clippy::disallowed_methods)]
pub mod failover;
#[deny(clippy::disallowed_methods)]
pub mod geo;
#[deny(clippy::disallowed_methods)]
pub mod health;
#[deny(clippy::disallowed_methods)]
pub mod metrics;
#[deny(clippy::disallowed_methods)]
pub mod model;
#[deny(clippy::disallowed_methods)]
pub mod overrides;
#[deny(clippy::disallowed_methods)]
pub mod prefetch;
#[deny(clippy::disallowed_methods)]
pub mod readiness;
#[deny(clippy::disallowed_methods)]
pub mod recovery;
#[deny(clippy::disallowed_methods)]
pub mod simulate;
#[deny(clippy::disallowed_methods)]
pub mod steer;
#[deny(clippy::disallowed_methods)]
pub mod units;
#[deny(clippy::disallowed_methods)]
pub mod zone;

// What surrounds it: files, sockets, threads, clocks.
pub mod allocator;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod dnstap;
pub mod loader;
pub mod log;
pub mod notify;
pub mod probe;
pub mod publisher;
pub mod server;
pub mod state;
