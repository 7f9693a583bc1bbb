//! `[server]` and `[geo]`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Item, Located, Table};
use super::kinds::{
    boolean, distinct, duration, integer, list, path, percentage, prefix, socket, text,
};
use super::{GeoSpec, ServerSpec, Source, TcpLimits, UdpOptions, report};
use crate::diag::{At, Diagnostics};
use crate::model::TargetId;

/// `[server]`, with the places of the parts that later rules report.
pub(super) struct Server {
    /// `None` where anything is wrong with the section.
    pub(super) spec: Option<ServerSpec>,
    pub(super) listen: Vec<Located<SocketAddr>>,
    pub(super) zones: Option<Zones>,
}

/// The directory of zone files, and the directories they may include files from.
pub(super) struct Zones {
    pub(super) directory: PathBuf,
    /// The place of the key that names it.
    pub(super) at: At,
    /// The directory itself, then those of `include_from`.
    pub(super) allowed: Vec<PathBuf>,
}

/// Reads `[server]`; paths are relative to `directory`, and `host_name` is the default of `node`.
/// `sanity` reads the list of that name.
pub(super) fn server<'d>(
    mut t: Table<'d>,
    directory: &Path,
    host_name: String,
    sanity: impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<Vec<TargetId>>,
    out: &mut Diagnostics,
) -> Server {
    // The order of reading is that in which a hint lists the keys.
    let node = t.optional(out, "node", node_name);
    let listen = t.optional(out, "listen", listen);
    let zones = zones(&mut t, directory, out);
    let spec = ServerSpec {
        node: node.unwrap_or(host_name),
        listen: addresses(listen.as_deref()),
        listen_default: listen.is_none(),
        zones: zones
            .as_ref()
            .map(|zones| zones.directory.clone())
            .unwrap_or_default(),
        include_from: zones
            .as_ref()
            .map(|zones| zones.allowed[1..].to_vec())
            .unwrap_or_default(),
        state: t.optional(out, "state", path(directory)),
        workers: t
            .optional(out, "workers", integer(0..=1024, ""))
            .map_or(0, count),
        udp: udp(&mut t, out),
        exec_processes: t
            .optional(out, "exec_processes", integer(1..=1000, "processes"))
            .map_or(8, count),
        resolvers: t.optional(out, "resolvers", resolvers).unwrap_or_default(),
        tcp: tcp(&mut t, out),
        sanity: t.optional(out, "sanity", sanity).unwrap_or_default(),
        why_from: t
            .optional(out, "why_from", distinct(prefix, "prefix"))
            .unwrap_or_default(),
        identity: t.optional(out, "identity", boolean).unwrap_or(true),
        sole: t.optional(out, "sole", boolean).unwrap_or(false),
        max_removed: t.optional(out, "max_removed", percentage).unwrap_or(0.2),
        require_end: t.optional(out, "require_end", boolean).unwrap_or(false),
    };
    let complete = t.finish(out) && zones.is_some();
    Server {
        spec: complete.then_some(spec),
        listen: listen.unwrap_or_default(),
        zones,
    }
}

/// Reads `zones` and `include_from`; `None` where the first is wrong, which is reported.
fn zones(t: &mut Table<'_>, directory: &Path, out: &mut Diagnostics) -> Option<Zones> {
    let zones = match t.item("zones") {
        Some(_) => t.located(out, "zones", path(directory)),
        None => Some(Located {
            value: directory.join("zones"),
            at: t.at(),
        }),
    };
    let include_from = t.optional(out, "include_from", list(path(directory)));
    let zones = zones?;
    let mut allowed = vec![zones.value.clone()];
    allowed.extend(include_from.unwrap_or_default());
    Some(Zones {
        directory: zones.value,
        at: zones.at,
        allowed,
    })
}

/// The addresses to listen on: those written, or else every address of the host.
fn addresses(listen: Option<&[Located<SocketAddr>]>) -> Vec<SocketAddr> {
    match listen {
        Some(listen) => listen.iter().map(|socket| socket.value).collect(),
        None => vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53)),
        ],
    }
}

fn udp(t: &mut Table<'_>, out: &mut Diagnostics) -> UdpOptions {
    let default = UdpOptions::default();
    // At least what the kernel gives anyway, and at most what its signed 32-bit option can hold.
    let buffer = 4096..=1 << 30;
    let receive = t.optional(out, "udp_receive_buffer", integer(buffer.clone(), "octets"));
    let send = t.optional(out, "udp_send_buffer", integer(buffer, "octets"));
    let batch = t.optional(out, "udp_batch", integer(1..=1024, "datagrams"));
    let pin_workers = t.optional(out, "pin_workers", boolean);
    UdpOptions {
        batch: batch.map_or(default.batch, count),
        receive_buffer: receive.map(count),
        send_buffer: send.map(count),
        pin_workers: pin_workers.unwrap_or(default.pin_workers),
    }
}

fn tcp(t: &mut Table<'_>, out: &mut Diagnostics) -> TcpLimits {
    const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
    let connections = t.optional(out, "tcp_connections", integer(1..=1_000_000, ""));
    let key = "tcp_connections_per_address";
    let per_address = t.optional(out, key, integer(1..=1_000_000, ""));
    let idle_timeout = t.optional(out, "tcp_idle_timeout", duration(IDLE));
    TcpLimits {
        connections: connections.map_or(1000, count),
        connections_per_address: per_address.map_or(30, count),
        idle_timeout: idle_timeout.unwrap_or(Duration::from_secs(10)),
    }
}

/// A number that was read as a count; `usize` has at least 32 bits on every platform served.
fn count(number: u32) -> usize {
    number as usize
}

/// Reads `[geo]`; paths are relative to `directory`.
pub(super) fn geo(
    mut t: Table<'_>,
    directory: &Path,
    source: &mut dyn Source,
    out: &mut Diagnostics,
) -> GeoSpec {
    let city = database(&mut t, "city", directory, source, out);
    let asn = database(&mut t, "asn", directory, source, out);
    t.finish(out);
    GeoSpec { city, asn }
}

/// Reads the path of an MMDB, and has the source read the file.
fn database(
    t: &mut Table<'_>,
    key: &'static str,
    directory: &Path,
    source: &mut dyn Source,
    out: &mut Diagnostics,
) -> Option<(PathBuf, At)> {
    let file = t.located(out, key, path(directory))?;
    if let Err(problem) = source.database(&file.value) {
        report(problem, file.at, t.key_path(key), out);
        return None;
    }
    Some((file.value, file.at))
}

/// True for a name that a node may have. NSID carries it (RFC 5001 sets no limit; 64 octets keep
/// answers small), and TXT strings do.
pub fn is_node_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

fn node_name(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let node = text(item, out)?;
    if !is_node_name(&node) {
        item.error(
            out,
            "bad-name",
            format!("{} is not a valid node name", item.written()),
        )
        .hint("use up to 64 letters, digits and punctuation, without spaces");
        return None;
    }
    Some(node)
}

/// Reads the addresses of name servers, with a port where it is not 53.
fn resolvers(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<SocketAddr>> {
    let servers = distinct(resolver, "name server")(item, out)?;
    if servers.is_empty() {
        let message = "the list is empty, so target names could not be resolved";
        item.error(out, "empty-value", message)
            .hint("leave `resolvers` out to use those of /etc/resolv.conf");
        return None;
    }
    Some(servers)
}

fn resolver(item: &Item<'_>, out: &mut Diagnostics) -> Option<SocketAddr> {
    let text = item.string(out, "an address")?;
    let socket = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(socket), _) => Some(socket),
        (_, Ok(address)) => Some(SocketAddr::new(address, 53)),
        _ => None,
    };
    let socket = socket.filter(|socket| socket.port() != 0);
    if socket.is_none() {
        let message = format!("\"{text}\" is not the address of a name server");
        item.error(out, "bad-address", message).hint(
            "write an address such as \"127.0.0.1\", \"127.0.0.1:5353\" or \"[2001:db8::53]:53\"; a name would need a name server itself",
        );
    }
    socket
}

/// Reads the addresses to listen on, each with its place.
fn listen(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<Located<SocketAddr>>> {
    let sockets = list(located_socket)(item, out)?;
    if sockets.is_empty() {
        let message = "the list is empty, so the server would not listen anywhere";
        item.error(out, "empty-value", message)
            .hint("leave `listen` out to listen on every address, port 53");
        return None;
    }
    let mut seen = HashSet::new();
    for socket in &sockets {
        // Port 0 is a new port each time.
        if socket.value.port() != 0 && !seen.insert(socket.value) {
            let message = format!("{} is listed twice", socket.value);
            let path = item.path.clone();
            out.error("duplicate-listen-address", socket.at.clone(), path, message)
                .hint("list each address once");
            return None;
        }
    }
    Some(sockets)
}

fn located_socket(item: &Item<'_>, out: &mut Diagnostics) -> Option<Located<SocketAddr>> {
    Some(Located {
        value: socket(item, out)?,
        at: item.at(),
    })
}
