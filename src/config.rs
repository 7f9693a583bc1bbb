//! Configuration: text → tables with positions → [`Config`] (checked, names resolved).
//!
//! [`load`] reads `meridian.toml` and the zone files through a [`Source`], touching no file itself.
//! Parse, don't validate: what it returns needs no second look, and what is wrong it reports with
//! file, line and column, all of it and not only the first.
//!
//! ```text
//! document   TOML with positions; tables that know which keys were asked for
//! kinds      what a value may be: ranges, durations, addresses, names
//! server, admin, geography, checks the sections of meridian.toml
//! tokens                           the token file
//! zones, services, routing_tests   a zone file
//! known      the names that a configuration gives, to complete what an operator types
//! ```

mod admin;
mod checks;
mod context;
mod digest;
mod dnstap;
mod document;
mod drills;
mod geography;
mod kinds;
mod known;
mod names;
mod notify;
mod pattern;
mod routing_tests;
mod server;
mod services;
mod tokens;
mod zones;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::diag::{At, Diagnostics, Sources};
use crate::dns::{Name, RrType};
use crate::model::{
    CheckSpec, DrillSpec, Endpoint, MapSpec, NotifySpec, Pool, Prefix, ProbeTarget, Region,
    RegionId, RoutingTest, SecretPlace, Service, SvcbSet, Target, TargetId, ZoneId,
};
use crate::zone::{self, MasterText, Records, ZoneUnderCheck};

pub use checks::{CheckOption, OptionDefault, check_options};
pub use digest::Digest;
pub use known::{NameKind, names_beginning};
pub use pattern::compile_pattern;
pub use server::is_node_name;
pub use tokens::{TOKEN_PREFIX, Token, TokenScope, Tokens, read_tokens, token_hash, token_name};
pub use zones::OUTSIDE;

use checks::Targets;
use context::Context;
use digest::Sha256;
use document::{Document, Item, Table};
use names::Names;
use zones::{Files, ZoneDraft};

/// The origin of the files: the disk, or the copies of the last good ones.
pub trait Source {
    /// The whole text of `path`.
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable>;
    /// The text of a master file, which `records_file` or `$INCLUDE` names, of at most `room`
    /// octets. It lies in one of the directories `allowed`, links followed, where these are given;
    /// only who reads the disk itself knows.
    fn master_file(
        &mut self,
        path: &Path,
        allowed: Option<&[PathBuf]>,
        room: u64,
    ) -> Result<MasterText, Unreadable> {
        let _ = (allowed, room);
        self.text(path).map(MasterText::from)
    }
    /// The zone files in `directory`: each `*.toml` that is not hidden, in the order of their
    /// names.
    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable>;
    /// Reads an MMDB and keeps it for whoever compiles the maps; here only its being there counts.
    fn database(&mut self, path: &Path) -> Result<(), Unreadable>;
    /// Reads a secret, which is kept nowhere else. `None` where it is not there to be had now, and
    /// the configuration is to be good without it. Only who reads the disk itself can.
    fn secret(&mut self, place: &SecretPlace) -> Result<Option<String>, Unreadable> {
        let _ = place;
        Ok(None)
    }
    /// Looks whether the certificate and the key of the admin address can be used together. False
    /// where they are not there to be had now, and the configuration is to be good without them.
    /// Only who reads the disk itself can.
    fn certificate(&mut self, places: &CertificatePlaces) -> Result<bool, Unreadable> {
        let _ = places;
        Ok(false)
    }
    /// Reads the token file, which is kept nowhere else; its path, and its text. `None` where it is
    /// not there to be had now, and the configuration is to be good without it.
    fn tokens(&mut self, place: &SecretPlace) -> Result<Option<(PathBuf, Arc<str>)>, Unreadable> {
        let _ = place;
        Ok(None)
    }
    /// Looks whether the program at `path` can be run. Only who reads the disk itself knows.
    fn program(&mut self, path: &Path) -> Result<(), Unreadable> {
        let _ = path;
        Ok(())
    }
    /// The name of the host that runs this, which is the node's where the files name none. Only who
    /// runs on it knows.
    fn host_name(&mut self) -> String {
        "localhost".to_owned()
    }
}

/// The reason why a file cannot be read.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Name of the rule, for the diagnostic.
    pub rule: &'static str,
    /// A sentence that names the file.
    pub message: String,
    /// The way to solve the problem.
    pub hint: Option<String>,
    /// The place in the file itself, if the trouble is inside it.
    pub position: Option<At>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.position {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything the files say, checked: what a dataset is compiled from.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`.
    pub server: ServerSpec,
    /// `[admin]`.
    pub admin: Option<AdminSpec>,
    /// `[[notify]]`, in the order of the file.
    pub notify: Vec<NotifySpec>,
    /// `[audit]`.
    pub audit: AuditSpec,
    /// `[dnstap]`; `None` where no query is sampled.
    pub dnstap: Option<DnstapSpec>,
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
    /// `[[drills]]`.
    pub drills: Vec<DrillSpec>,
}

impl Config {
    /// The name of a region of this configuration; the one way from an id to its name.
    pub fn region_name(&self, region: RegionId) -> &str {
        &self.regions[region.index()].name
    }

    /// The target of the `push` check of this name, and of this address or name; `None` where there
    /// is none.
    pub fn push_target(&self, check: &str, target: &Target) -> Option<TargetId> {
        let found = self.targets.iter().position(|probe| {
            let spec = &self.checks[probe.check.index()];
            spec.kind.is_push() && spec.name == check && probe.target == *target
        });
        found.map(TargetId::from_index)
    }

    /// The targets of the `push` check of this name whose endpoints are `wanted`, each once.
    pub fn push_targets(
        &self,
        check: &str,
        wanted: impl Fn(&Pool, &Endpoint) -> bool,
    ) -> Vec<TargetId> {
        let mut found = BTreeSet::new();
        for pool in self.services.iter().flat_map(|service| &service.pools) {
            for endpoint in pool.endpoints.iter().filter(|own| wanted(pool, own)) {
                found.extend(endpoint.probes.iter().filter(|target| {
                    let spec = &self.checks[self.targets[target.index()].check.index()];
                    spec.kind.is_push() && spec.name == check
                }));
            }
        }
        found.into_iter().collect()
    }

    /// The number of targets that a connection is held to.
    pub fn watched(&self) -> usize {
        let is_watched = |probe: &&ProbeTarget| self.checks[probe.check.index()].watch;
        self.targets.iter().filter(is_watched).count()
    }
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// This node's name, [`is_node_name`]: NSID, class CH.
    pub node: String,
    /// UDP and TCP on each.
    pub listen: Vec<SocketAddr>,
    /// `listen` is written nowhere: of its addresses those count whose version of IP the host
    /// speaks.
    pub listen_default: bool,
    /// Directory of zone files.
    pub zones: PathBuf,
    /// Directories beside `zones` from which zones may take in master files.
    pub include_from: Vec<PathBuf>,
    /// State directory; where none is written, `state::state_directory` decides.
    pub state: Option<PathBuf>,
    /// UDP workers; 0 is one per core.
    pub workers: usize,
    /// The options of the UDP transport.
    pub udp: UdpOptions,
    /// The number of programs of `exec` checks that run at once; at least 1.
    pub exec_processes: usize,
    /// Name servers that target names are looked up at; empty takes those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// Limits of TCP.
    pub tcp: TcpLimits,
    /// Probes of our own network; see semantics "Isolation".
    pub sanity: Vec<TargetId>,
    /// Clients that may ask `why` in class CH; none by default, since a forwarder on this host asks
    /// for anybody.
    pub why_from: Vec<Prefix>,
    /// Answers `id.server`, `hostname.bind` and `version.bind` in class CH, and NSID.
    pub identity: bool,
    /// No other node answers these zones: units may be taken over without asking anyone.
    pub sole: bool,
    /// The share of zones, services or names that a reload may remove, 0 … 1.
    pub max_removed: f64,
    /// Every zone file must end with `[end]`.
    pub require_end: bool,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSpec {
    /// The addresses on which the HTTP interface listens; at least one.
    pub listen: Vec<SocketAddr>,
    /// The addresses at which endpoints report themselves, and nothing else is answered.
    pub push_listen: Vec<SocketAddr>,
    /// Names by which it may be asked, besides `localhost`; in lower case, without a dot at the
    /// end.
    pub hosts: Vec<String>,
    /// The certificate and its key; there where an address is not loopback's.
    pub certificate: Option<CertificatePlaces>,
    /// The place of the token file; there where an address is not loopback's.
    pub token_place: Option<SecretPlace>,
    /// The tokens of that file.
    pub tokens: Tokens,
    /// Limits of the HTTP interface.
    pub limits: AdminLimits,
}

/// The places of the certificate of the admin address and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePlaces {
    /// The certificate, and those of the authorities between it and a root; PEM.
    pub certificate: SecretPlace,
    /// Its private key; PEM.
    pub key: SecretPlace,
}

/// Limits of the HTTP interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminLimits {
    /// Connections to all of its addresses.
    pub connections: usize,
    /// Connections beside these on which a stream of events is under way.
    pub streams: usize,
    /// Requests a second of one caller; twice as many at once.
    pub request_rate: u32,
}

impl Default for AdminLimits {
    fn default() -> AdminLimits {
        AdminLimits {
            connections: 64,
            streams: 128,
            request_rate: 500,
        }
    }
}

/// `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSpec {
    /// Octets of a file of the audit log, beyond which the next one is begun.
    pub size: u64,
    /// The number of full files that are kept.
    pub keep: u32,
}

impl Default for AuditSpec {
    fn default() -> AuditSpec {
        AuditSpec {
            size: 10_000_000,
            keep: 10,
        }
    }
}

/// `[dnstap]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnstapSpec {
    /// The place that samples are written to.
    pub place: DnstapPlace,
    /// One query in so many is sampled; at least 1.
    pub sample: u32,
    /// The name in every frame; `None` takes the node's.
    pub identity: Option<String>,
    /// The version in every frame; `None` takes that of Meridian.
    pub version: Option<String>,
}

/// A place that dnstap frames are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnstapPlace {
    /// A unix socket on which a reader listens.
    Socket(PathBuf),
    /// A file.
    File(PathBuf),
}

/// Options of the UDP transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpOptions {
    /// Datagrams taken from a socket with one system call, 1 to 1024.
    pub batch: usize,
    /// Octets of each socket's receive buffer; `None` leaves it to the kernel.
    pub receive_buffer: Option<usize>,
    /// Octets of each socket's send buffer; `None` leaves it to the kernel.
    pub send_buffer: Option<usize>,
    /// Each worker stays on a core of its own, as far as there are as many.
    pub pin_workers: bool,
}

impl Default for UdpOptions {
    fn default() -> UdpOptions {
        UdpOptions {
            batch: 64,
            receive_buffer: None,
            send_buffer: None,
            pin_workers: false,
        }
    }
}

/// Limits of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections per client address.
    pub connections_per_address: usize,
    /// The time that a connection may be idle, or take for one message in either direction.
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
    /// The place of `zone = `.
    pub at: At,
    /// The digest of its file and of the master files that belong to it.
    pub digest: Digest,
    /// Its static records, inside the zone and checked.
    pub records: Records,
    /// Its services: a range of [`Config::services`].
    pub services: std::ops::Range<usize>,
}

/// Reads `config_path` and every zone file. `None` where anything is wrong, all of which is in
/// `out` then; warnings are there either way. The text of every file read goes into `sources`.
pub fn load(
    source: &mut dyn Source,
    config_path: &Path,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Option<Config> {
    load_with_geo(source, config_path, sources, out).0
}

/// The same, and the location databases as far as they are there, whatever is wrong elsewhere.
pub fn load_with_geo(
    source: &mut dyn Source,
    config_path: &Path,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> (Option<Config>, GeoSpec) {
    let mut geo = GeoSpec::default();
    (load_files(source, config_path, sources, &mut geo, out), geo)
}

fn load_files(
    source: &mut dyn Source,
    config_path: &Path,
    sources: &mut Sources,
    geo: &mut GeoSpec,
    out: &mut Diagnostics,
) -> Option<Config> {
    let file: Arc<str> = config_path.display().to_string().into();
    let text = match source.text(config_path) {
        Ok(text) => text,
        Err(mut problem) => {
            if problem.rule == "missing-file" {
                problem.hint = Some("name the configuration with --config FILE".to_owned());
            }
            report(problem, At::file(file), "", out);
            return None;
        }
    };
    let document = Document::new(file, text);
    if !document.has_key(SECTIONS) && !document.is_empty() {
        refuse_config(&document, out);
        return None;
    }
    sources.insert(document.file.clone(), document.text.clone());
    let entries = document.parse(out)?;
    let directory = config_path.parent().unwrap_or(Path::new(""));
    // Zone files refer to regions, maps and checks by name, so those are read first, wrong ones
    // too: a name that is known is not reported as unknown.
    let (mut main, zones) = read_main(document.root(&entries), directory, source, sources, out);
    geo.clone_from(&main.geo);
    let drafts = zones
        .map(|zones| read_zones(source, zones, &mut main, sources, out))
        .unwrap_or_default();
    check_zones(&drafts, &main, out);
    if out.has_errors() {
        None
    } else {
        main.into_config(drafts)
    }
}

/// The sections of `meridian.toml`: a file with none of them is another one.
const SECTIONS: &[&str] = &[
    "server", "admin", "audit", "dnstap", "geo", "regions", "maps", "checks", "notify", "drills",
];

/// Reports a file without any section of `meridian.toml`: its kind, as far as that is to be seen,
/// and nothing of what it holds.
fn refuse_config(document: &Document, out: &mut Diagnostics) {
    let (problem, hint) = if document.has_key(zones::KEYS) {
        (
            "is a zone file, not the configuration",
            "name the meridian.toml; its [server] zones is the directory of the zone files",
        )
    } else if has_word(&document.text, "SOA") {
        (
            "is a master file, not the configuration",
            "name the meridian.toml; a zone file takes in a master file with records_file",
        )
    } else {
        (
            "is not a Meridian configuration: it has none of its sections, so its text is not shown",
            "name the file with [server], [regions] and [checks]",
        )
    };
    let message = format!("{} {problem}", document.file);
    let at = At::file(document.file.clone());
    out.error("not-a-configuration", at, "", message).hint(hint);
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|other| other == word)
}

/// Finds `[server] state` in a `meridian.toml` that may be broken everywhere else: where the last
/// good files are. Relative to `directory`.
pub fn find_state(text: &str, directory: &Path) -> Option<PathBuf> {
    // What is broken before the section, or after it, may swallow it: then it is read alone.
    let state = state_of(text).or_else(|| state_of(server_section(text)?))?;
    Some(directory.join(state))
}

fn state_of(text: &str) -> Option<String> {
    let (root, _) = toml::de::DeTable::parse_recoverable(text);
    let server = root.get_ref().get("server")?;
    let state = server.get_ref().get("state")?;
    let state = state.get_ref().as_str()?;
    (!state.is_empty()).then(|| state.to_owned())
}

/// The lines from `[server]` up to the next section.
fn server_section(text: &str) -> Option<&str> {
    let (start, _) = text
        .match_indices("[server]")
        .find(|(i, _)| *i == 0 || text.as_bytes()[i - 1] == b'\n')?;
    let section = &text[start..];
    let end = section.find("\n[").unwrap_or(section.len());
    Some(&section[..end])
}

/// The sections of `meridian.toml`; a part that is wrong, and reported, is `None`.
struct Main {
    server: Option<ServerSpec>,
    admin: Option<AdminSpec>,
    notify: Vec<NotifySpec>,
    audit: AuditSpec,
    dnstap: Option<DnstapSpec>,
    geo: GeoSpec,
    region_names: Names,
    regions: Vec<Option<Region>>,
    map_names: Names,
    maps: Vec<Option<MapSpec>>,
    check_names: Names,
    checks: Vec<Option<CheckSpec>>,
    targets: Targets,
    drills: Vec<DrillSpec>,
}

/// Reads every section of `meridian.toml`, and the place of the zone files.
fn read_main(
    mut root: Table<'_>,
    directory: &Path,
    source: &mut dyn Source,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> (Main, Option<server::Zones>) {
    let (region_names, regions) = read_regions(&mut root, out);
    let (map_names, maps) = read_maps(&mut root, &region_names, &regions, out);

    let section = root.table(out, "checks");
    let (check_names, items) = names::collect(section, "check", "unknown-check", out);
    let mut files = checks::Files { directory, source };
    let mut checks = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        checks.push(checks::check(check_names.name(i), item, &mut files, out));
    }

    let notify = notify::destinations(&mut root, &region_names, &mut files, out);
    let mut targets = Targets::default();
    let host_name = files.source.host_name();
    let section = root.table_or_empty(out, "server");
    // The list is one of checks: it is read by who knows them.
    let read_sanity = |item: &Item<'_>, out: &mut Diagnostics| {
        checks::sanity(item, &check_names, &checks, &mut targets, out)
    };
    let server::Server {
        spec: server,
        listen,
        zones,
    } = server::server(section, directory, host_name, read_sanity, out);
    if let Some(server) = &server {
        let sanity = server.sanity.iter();
        let used: Vec<_> = sanity.map(|target| targets.check(*target)).collect();
        checks::warn_unused_addresses(&items, &used, out);
    }
    let admin = match root.table(out, "admin") {
        Some(t) => {
            let beside = admin::Beside {
                taken: &listen,
                check_names: &check_names,
                checks: &checks,
            };
            let mut files = checks::Files { directory, source };
            admin::admin(t, &beside, &mut files, sources, out)
        }
        None => None,
    };
    let audit = admin::audit(root.table_or_empty(out, "audit"), out);
    let dnstap = match root.table(out, "dnstap") {
        Some(t) => dnstap::dnstap(t, directory, out),
        None => None,
    };
    let geo = match root.table(out, "geo") {
        Some(t) => server::geo(t, directory, source, out),
        None => GeoSpec::default(),
    };
    let items = root.optional(out, "drills", |item, out| item.elements(out));
    let drills = drills::drills(&items.unwrap_or_default(), &regions, out);
    root.finish(out);
    let main = Main {
        server,
        admin,
        notify,
        audit,
        dnstap,
        geo,
        region_names,
        regions,
        map_names,
        maps,
        check_names,
        checks,
        targets,
        drills,
    };
    (main, zones)
}

/// Reads `[regions.*]`; `None` stands for a region that is wrong and has been reported.
fn read_regions(root: &mut Table<'_>, out: &mut Diagnostics) -> (Names, Vec<Option<Region>>) {
    let section = root.table(out, "regions");
    let (names, items) = names::collect(section, "region", "unknown-region", out);
    let mut regions = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        regions.push(geography::region(names.name(i), item, out));
    }
    (names, regions)
}

/// Reads `[maps.*]`; `None` stands for a map that is wrong and has been reported.
fn read_maps(
    root: &mut Table<'_>,
    region_names: &Names,
    regions: &[Option<Region>],
    out: &mut Diagnostics,
) -> (Names, Vec<Option<MapSpec>>) {
    let section = root.table(out, "maps");
    let (names, items) = names::collect(section, "map", "unknown-map", out);
    let mut maps = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        maps.push(geography::map(names.name(i), item, region_names, out));
    }
    // A region that is wrong may have had coordinates: then nothing is said of those that lack
    // them.
    if let Some(regions) = regions.iter().cloned().collect::<Option<Vec<Region>>>() {
        for (map, item) in maps.iter().zip(&items) {
            if let Some(map) = map {
                geography::warn_without_coordinates(map, item, &regions, out);
            }
        }
    }
    (names, maps)
}

/// Reads every zone file of the directory.
fn read_zones(
    source: &mut dyn Source,
    server::Zones {
        directory,
        at,
        allowed,
    }: server::Zones,
    main: &mut Main,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Vec<ZoneDraft> {
    let files = match source.zone_files(&directory) {
        Ok(files) => files,
        Err(problem) => {
            report(problem, at, "server.zones", out);
            return Vec::new();
        }
    };
    if files.is_empty() {
        let message = format!(
            "the directory {} has no zone file, so every query would be refused",
            directory.display()
        );
        out.error("empty-zones-directory", at, "server.zones", message)
            .hint("add a file such as gtm.example.toml; hidden files and other extensions are ignored");
    }
    let mut context = Context {
        regions: &main.region_names,
        region_specs: &main.regions,
        maps: &main.map_names,
        map_specs: &main.maps,
        checks: &main.check_names,
        targets: &mut main.targets,
        sole: main.server.as_ref().is_none_or(|server| server.sole),
        require_end: main
            .server
            .as_ref()
            .is_some_and(|server| server.require_end),
    };
    let mut drafts = Vec::new();
    for path in files {
        let mut files = Files {
            source,
            sources,
            allowed: &allowed,
            digest: Sha256::new(),
        };
        match files.source.text(&path) {
            Ok(text) => drafts.extend(zones::zone(&path, text, &mut context, &mut files, out)),
            Err(problem) => report(problem, At::file(path.display().to_string()), "", out),
        }
    }
    // Ids follow the origins, not the names of files: renaming a file changes nothing.
    drafts.sort_by(|a, b| a.origin.cmp(&b.origin));
    check_counts(&drafts, main.targets.len(), out);
    drafts
}

/// The most pools of all services, each unit of a service with its own: answers are counted by
/// pool, with numbers of 32 bits.
const MAX_POOLS: usize = 16_000_000;
/// The most (check, address) pairs.
const MAX_TARGETS: usize = 16_000_000;

/// Reports what is more than ids and counters can tell apart.
fn check_counts(drafts: &[ZoneDraft], targets: usize, out: &mut Diagnostics) {
    let mut pools = 0;
    for draft in drafts {
        pools += draft
            .services
            .iter()
            .map(|service| service.pools.len())
            .sum::<usize>();
        if pools > MAX_POOLS {
            let message = format!(
                "up to this zone, services and their units have more than {MAX_POOLS} pools"
            );
            out.error("too-many", draft.at.clone(), "services", message)
                .hint("split the zones over several servers");
            return;
        }
    }
    if let Some(last) = drafts.last().filter(|_| targets > MAX_TARGETS) {
        let message = format!(
            "all services together have {targets} endpoints to check; the limit is {MAX_TARGETS}"
        );
        out.error("too-many", last.at.clone(), "services", message)
            .hint("split the zones over several servers");
    }
}

/// Checks the rules of DNS, for each zone and for all beside each other.
fn check_zones(drafts: &[ZoneDraft], main: &Main, out: &mut Diagnostics) {
    let mut regions = Vec::with_capacity(main.regions.len());
    for (i, region) in main.regions.iter().enumerate() {
        regions.push(match region {
            Some(region) => region.clone(),
            None => geography::named(main.region_names.name(i)),
        });
    }
    let mut zones = Vec::with_capacity(drafts.len());
    for draft in drafts {
        zones.push(ZoneUnderCheck {
            origin: &draft.origin,
            at: &draft.at,
            records: &draft.records,
            services: &draft.services,
            regions: &regions,
            unread: &draft.unread,
        });
    }
    for zone in &zones {
        zone::check(zone, out);
    }
    zone::check_overlap(&zones, out);
    if main.server.as_ref().is_some_and(|server| !server.sole) {
        for draft in drafts {
            warn_of_scattered_units(draft, out);
        }
    }
}

/// Warns of units in a zone with several name servers. Each server keeps the owners for itself: a
/// unit that moves on one host stays where it was on the others.
fn warn_of_scattered_units(draft: &ZoneDraft, out: &mut Diagnostics) {
    for service in &draft.services {
        // One warning for each service, not for each of its units.
        let Some(unit) = service.unit.as_ref().filter(|unit| unit.index == 0) else {
            continue;
        };
        let servers = name_servers(draft);
        if servers < 2 {
            return;
        }
        let message = format!(
            "the zone has {servers} name servers, and each keeps its own record of the owners of {}: a unit moved on one host has \
             two owners until it is moved on all of them",
            unit.rules.service
        );
        let at = service.at.clone();
        out.warning("units-on-several-servers", at, "services", message)
            .hint("move units on every host at once (docs/units.md), or set [server] sole = true if this host alone answers");
    }
}

/// The number of NS records of the apex.
fn name_servers(draft: &ZoneDraft) -> usize {
    let apex = draft.origin.as_wire();
    draft
        .records
        .iter()
        .filter(|record| record.rtype == RrType::NS && record.owner.eq_ignore_ascii_case(apex))
        .count()
}

impl Main {
    /// Gives zones and services their ids; `None` only where a part is missing.
    fn into_config(self, drafts: Vec<ZoneDraft>) -> Option<Config> {
        let mut config = Config {
            server: self.server?,
            admin: self.admin,
            notify: self.notify,
            audit: self.audit,
            dnstap: self.dnstap,
            geo: self.geo,
            regions: self.regions.into_iter().collect::<Option<_>>()?,
            maps: self.maps.into_iter().collect::<Option<_>>()?,
            checks: self.checks.into_iter().collect::<Option<_>>()?,
            targets: self.targets.into_list(),
            zones: Vec::new(),
            services: Vec::new(),
            tests: Vec::new(),
            drills: self.drills,
        };
        for (i, mut draft) in drafts.into_iter().enumerate() {
            let first = config.services.len();
            let zone = ZoneId::from_index(i);
            take_steered(&mut draft);
            config.services.extend(
                draft
                    .services
                    .into_iter()
                    .map(|service| Service { zone, ..service }),
            );
            config.tests.extend(draft.tests);
            let services = first..config.services.len();
            config.zones.push(ZoneSpec {
                origin: draft.origin,
                at: draft.at,
                digest: draft.digest,
                records: draft.records,
                services,
            });
        }
        Some(config)
    }
}

/// Moves the HTTPS and SVCB records that follow the steering from a zone's records to its services.
fn take_steered(draft: &mut ZoneDraft) {
    let mut by_name: HashMap<Vec<u8>, usize> = HashMap::with_capacity(draft.services.len());
    for (at, service) in draft.services.iter().enumerate() {
        by_name.insert(service.name.as_wire().to_ascii_lowercase(), at);
    }
    let mut sets: BTreeMap<(usize, u16), Vec<usize>> = BTreeMap::new();
    for (index, record) in draft.records.iter().enumerate() {
        if SvcbSet::TYPES.contains(&record.rtype)
            && let Some(service) = by_name.get(&record.owner.to_ascii_lowercase())
        {
            let set = sets.entry((*service, record.rtype.0)).or_default();
            set.push(index);
        }
    }
    let mut moved = HashSet::new();
    for ((service, rtype), set) in sets {
        let mut rdatas: Vec<Box<[u8]>> = Vec::with_capacity(set.len());
        for index in &set {
            rdatas.push(draft.records.get(*index).rdata.into());
        }
        // An RRset goes as a whole, where any of it is steered.
        if rdatas.iter().any(|rdata| SvcbSet::is_steered(rdata)) {
            let rtype = RrType(rtype);
            draft.services[service].svcb.push(SvcbSet { rtype, rdatas });
            moved.extend(set);
        }
    }
    if !moved.is_empty() {
        draft.records.remove(&moved);
    }
}

fn report(problem: Unreadable, at: At, key: impl Into<String>, out: &mut Diagnostics) {
    let diagnostic = out.error(
        problem.rule,
        problem.position.unwrap_or(at),
        key,
        problem.message,
    );
    diagnostic.hint = problem.hint;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAIN: &str = include_str!("../meridian.toml");
    const ZONE: &str = include_str!("../zones/gtm.example.toml");

    struct Memory(Vec<(&'static str, String)>);

    impl Source for Memory {
        fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
            let found = self
                .0
                .iter()
                .find(|(name, _)| Path::new(name) == path)
                .map(|(_, text)| text.as_str().into());
            let message = format!("there is no file {}", path.display());
            found.ok_or(Unreadable {
                rule: "missing-file",
                message,
                hint: None,
                position: None,
            })
        }

        fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
            let inside = |name: &&str| {
                Path::new(name).parent() == Some(directory) && name.ends_with(".toml")
            };
            Ok(self
                .0
                .iter()
                .map(|(name, _)| *name)
                .filter(inside)
                .map(PathBuf::from)
                .collect())
        }

        fn database(&mut self, _: &Path) -> Result<(), Unreadable> {
            Ok(())
        }
    }

    fn load_texts(files: &[(&'static str, &str)]) -> (Option<Config>, Diagnostics) {
        let mut memory = Memory(
            files
                .iter()
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect(),
        );
        let (mut sources, mut out) = (Sources::new(), Diagnostics::default());
        let config = load(
            &mut memory,
            Path::new("meridian.toml"),
            &mut sources,
            &mut out,
        );
        assert_eq!(config.is_none(), out.has_errors());
        // Every position is inside its file, so that every message has its frame.
        for diagnostic in out.iter().filter(|d| d.at.line > 0) {
            let text = &sources[&diagnostic.at.file];
            let line = text
                .split('\n')
                .nth(diagnostic.at.line as usize - 1)
                .unwrap_or_else(|| panic!("{diagnostic}"));
            assert!(
                diagnostic.at.column as usize <= line.chars().count() + 1,
                "{diagnostic}"
            );
        }
        (config, out)
    }

    fn positions(out: &Diagnostics) -> Vec<(String, u32, u32)> {
        out.iter()
            .map(|d| (d.at.file.to_string(), d.at.line, d.at.column))
            .collect()
    }

    /// The records of a zone with a bad address in each way of writing them.
    #[test]
    fn record_errors_point_into_the_toml_file() {
        let main = "[server]\nnode = \"n\"\n";
        let soa = "@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n";
        let at = |zone: &str| {
            positions(&load_texts(&[("meridian.toml", main), ("zones/z.toml", zone)]).1)
        };
        let inline = |line, column| vec![("zones/z.toml".to_owned(), line, column)];
        assert_eq!(
            at(&format!(
                "zone = \"z.example\"\nrecords = '''\n{soa}x 60 A 1.2.3\n'''\n"
            )),
            inline(6, 8)
        );
        assert_eq!(
            at(&format!(
                "zone = \"z.example\"\nrecords = '''x 60 A 1.2.3\n{soa}'''\n"
            )),
            inline(2, 21)
        );
        assert_eq!(
            at(&format!(
                "zone = \"z.example\"\r\nrecords = \"\"\"\r\n{soa}x 60 A 1.2.3\"\"\"\n"
            )),
            inline(6, 8)
        );
        let escaped = format!(
            "zone = \"z.example\"\nrecords = \"{}x 60 A 1.2.3\\n\"\n",
            soa.replace('\n', "\\n")
        );
        assert_eq!(at(&escaped), [("zones/z.toml (records)".to_owned(), 4, 8)]);
    }

    #[test]
    fn an_include_that_includes_itself_is_shown_with_its_way() {
        let files = [
            ("meridian.toml", "[server]\nnode = \"n\"\n"),
            (
                "zones/z.toml",
                "zone = \"z.example\"\nrecords_file = \"z.zone\"\n",
            ),
            (
                "zones/z.zone",
                "@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n$INCLUDE a\n$INCLUDE b\n",
            ),
            ("zones/a", "$INCLUDE b\n"),
            ("zones/b", "$INCLUDE ./a\n"),
        ];
        let (_, out) = load_texts(&files);
        let messages: Vec<_> = out.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(
            messages[0].contains("zones/a → zones/b → zones/a"),
            "{messages:?}"
        );
    }

    /// Plans count the endpoints of a service in 16 bits.
    #[test]
    fn endpoints_and_last_resorts_beyond_what_a_plan_can_count_are_refused() {
        let main = "[server]\nnode = \"n\"\n[regions.a]\n[regions.b]\n";
        let zone = |pools: [usize; 2], fallback: usize| {
            let listed = |first: u32, count: usize| {
                let address =
                    |i: usize| format!("\"{}\"", std::net::Ipv4Addr::from(first + i as u32));
                (0..count).map(address).collect::<Vec<_>>().join(",")
            };
            format!(
                "zone = \"z.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n'''\n\
                 [services.www]\nroute = \"weighted\"\nfallback = [{}]\n[services.www.pools]\na.endpoints = [{}]\nb.endpoints = [{}]\n",
                listed(0x0a00_0000, fallback),
                listed(0x0b00_0000, pools[0]),
                listed(0x0c00_0000, pools[1])
            )
        };
        let rules = |pools, fallback| {
            let (config, out) = load_texts(&[
                ("meridian.toml", main),
                ("zones/z.toml", &zone(pools, fallback)),
            ]);
            let rules: Vec<_> = out.iter().map(|d| (d.rule, d.at.line)).collect();
            assert_eq!(config.is_some(), rules.is_empty());
            rules
        };
        assert_eq!(rules([65_534, 1], 1000), []);
        assert_eq!(rules([65_536, 1], 1), [("too-many", 10)]);
        assert_eq!(rules([40_000, 25_536], 1), [("too-many", 10)]);
        assert_eq!(rules([1, 1], 1001), [("too-many", 9)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever becomes of the files, loading them ends in words.
        #[test]
        fn damaged_files_never_panic(
            in_zone: bool,
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, "[ -~\n]{0,6}|\\PC{0,3}"), 1..6),
        ) {
            let mut text: Vec<char> = if in_zone { ZONE } else { MAIN }.lines().filter(|l| !l.starts_with('#')).flat_map(|l| l.chars().chain(['\n'])).collect();
            for (at, length, insert) in cuts {
                let at = at.index(text.len());
                let end = (at + length).min(text.len());
                text.splice(at..end, insert.chars());
            }
            let text: String = text.into_iter().collect();
            let (main, zone) = if in_zone { (MAIN, text.as_str()) } else { (text.as_str(), ZONE) };
            load_texts(&[("meridian.toml", main), ("zones/gtm.example.toml", zone)]);
            find_state(&text, Path::new(""));
        }
    }
}
