#![doc = "Meridian: an authoritative DNS server that steers traffic."]

pub mod config;
pub mod diag;
pub mod dns;
pub mod health;
pub mod loader;
pub mod model;
pub mod steer;
pub mod zone;
