//! The real binary from end to end: its command line, its sockets, its signals and its files, asked by
//! `dig`, `kdig` and `unbound`, with nginx as an endpoint.
//!
//! Every test has loopback addresses of its own ([`support::Net`]), so that all run at once on fixed
//! ports. Processes started here are killed when their handle is dropped, and by the kernel should the
//! test itself be killed.

#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod support;

mod access;
mod acme;
mod addresses;
mod admin;
mod api;
mod big_peers;
mod clock;
mod commands;
mod completions;
mod demo;
mod descriptors;
mod dnstap;
mod drills;
mod events;
mod figures;
mod files;
mod last_good;
mod lifecycle;
mod load;
mod locations;
mod logs;
mod names;
mod nginx;
mod notify;
mod overrides;
mod packets;
mod probe;
mod queries;
mod reload;
mod resolver;
mod restart;
mod stalls;
mod start;
mod steering;
mod units;
mod watch;
