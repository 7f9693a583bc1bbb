//! Configuration: text → spec (the files' shape, with spans) → [`Config`] (checked, names resolved).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::diag::At;
use crate::dns::Name;
use crate::model::{CheckSpec, MapSpec, Prefix, ProbeTarget, Region, RoutingTest, Service, TargetId};
use crate::zone::Records;

/// Everything the files say, checked: what a dataset is compiled from.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`.
    pub server: ServerSpec,
    /// `[admin] listen`.
    pub admin: Option<SocketAddr>,
    /// `[geo]`; without `city` the embedded default is used.
    pub geo: GeoSpec,
    /// By [`crate::model::RegionId`], in the order of their names.
    pub regions: Vec<Region>,
    /// By [`crate::model::MapId`], in the order of their names.
    pub maps: Vec<MapSpec>,
    /// By [`crate::model::CheckId`], in the order of their names.
    pub checks: Vec<CheckSpec>,
    /// By [`TargetId`]: every (check, address) pair used.
    pub targets: Vec<ProbeTarget>,
    /// By [`crate::model::ZoneId`], in the order of their origins.
    pub zones: Vec<ZoneSpec>,
    /// By [`crate::model::ServiceId`], those of one zone together.
    pub services: Vec<Service>,
    /// `[[tests]]` of every zone.
    pub tests: Vec<RoutingTest>,
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// This node's name: NSID, metrics, logs.
    pub node: String,
    /// UDP and TCP on each.
    pub listen: Vec<SocketAddr>,
    /// Directory of zone files.
    pub zones: PathBuf,
    /// State directory.
    pub state: PathBuf,
    /// UDP workers; 0 is one per core.
    pub workers: usize,
    /// Limits of TCP.
    pub tcp: TcpLimits,
    /// Probes of our own network; see semantics "Isolation".
    pub sanity: Vec<TargetId>,
    /// Clients that may ask `why` in class CH.
    pub why_from: Vec<Prefix>,
    /// Answers `id.server`, `hostname.bind` and `version.bind` in class CH, and NSID.
    pub identity: bool,
}

/// Limits of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections per client address.
    pub connections_per_address: usize,
    /// How long a connection may be idle, or take for one message in either direction.
    pub idle_timeout: Duration,
}

/// `[geo]`.
#[derive(Debug, Clone, Default)]
pub struct GeoSpec {
    /// An MMDB in the GeoIP2 City or Country layout.
    pub city: Option<(PathBuf, At)>,
    /// An MMDB in the GeoLite2 ASN layout.
    pub asn: Option<(PathBuf, At)>,
}

/// One zone file.
#[derive(Debug, Clone)]
pub struct ZoneSpec {
    /// Its apex.
    pub origin: Name,
    /// Where `zone = ` stands.
    pub at: At,
    /// Its static records, inside the zone and checked.
    pub records: Records,
    /// Its services: a range of [`Config::services`].
    pub services: std::ops::Range<usize>,
}
