//! The commands.

pub mod geoip;
