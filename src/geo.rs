//! Locations of clients, and the region orders that follow from them.
//!
//! ```text
//! MMDB bytes ── mmdb, record ──▶ Locations ─┐
//!                                           ├─ resolve ──▶ GeoMap ── lookup(client) ──▶ order, scope
//! [maps.NAME] ── networks, distance ────────┘
//! ```
//!
//! [`Locations`] is what the files say about addresses; [`GeoMap`] is one map, compiled for every
//! address there is into flat tables of runs (`runs`, `tree`, `table`), so that a lookup is a few
//! memory accesses and its scope is exact. The rules that decide are one function (`resolve`), asked by
//! the compiler once for each distinct kind of client and by `why` for one client. IPv4 addresses
//! inside IPv6 ones are looked up as IPv4 (`embedded`). Nothing here reads a file: bytes come in.
//!
//! [`build`] goes the other way and makes an MMDB out of an address plan.

pub mod build;
mod continents;
mod distance;
mod embedded;
mod location;
mod locations;
mod map;
mod mmdb;
mod networks;
mod record;
mod resolve;
mod runs;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use continents::continent_of;
pub use embedded::hashed_prefix;
pub use location::{Code, Location, Subdivision};
pub use locations::{Known, Locations};
pub use map::{Explanation, GeoMap, Located, OrderId};
pub use mmdb::{Database, GeoError, Packing, Problem, Skipped};
pub use resolve::Source;
pub use runs::zip_runs;

/// The MMDB that is used where `[geo] city` names none: coarse, and free. See `geoip/README.md`.
pub const EMBEDDED: &[u8] = include_bytes!("../geoip/world.mmdb");

/// Steps in which the memory for a lookup is fetched; see [`GeoMap::fetch`].
pub const FETCH_STEPS: usize = 3;

/// Maps of our own data: a fixed hash, so that nothing here depends on chance.
type FastMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::FixedState>;
