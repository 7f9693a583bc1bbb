#![doc = "Meridian: an authoritative DNS server that steers traffic."]

pub mod answer;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod dataset;
pub mod diag;
pub mod dns;
pub mod geo;
pub mod health;
pub mod loader;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod probe;
pub mod publisher;
pub mod server;
pub mod simulate;
pub mod state;
pub mod steer;
pub mod zone;
