#![doc = "Meridian: an authoritative DNS server that steers traffic."]

pub mod cli;
pub mod config;
pub mod diag;
pub mod dns;
pub mod geo;
pub mod model;
pub mod zone;
