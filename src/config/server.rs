//! `[server]`, `[admin]` and `[geo]`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Item, Located, Table};
use super::kinds::{
    boolean, distinct, duration, integer, list, path, percentage, prefix, socket, text,
};
use super::{AdminSpec, GeoSpec, ServerSpec, Source, TcpLimits, UdpOptions, report};
use crate::diag::{At, Diagnostics};
use crate::model::TargetId;

/// `[server]` and where the parts stand that later rules speak of.
pub(super) struct Server {
    /// `None` where anything is wrong with the section.
    pub(super) spec: Option<ServerSpec>,
    pub(super) listen: Vec<Located<SocketAddr>>,
    /// Where the zone files are.
    pub(super) zones: Option<Zones>,
}

/// Where zone files are, and what they may take in.
pub(super) struct Zones {
    pub(super) directory: PathBuf,
    /// Where it is named.
    pub(super) at: At,
    /// It and those of `include_from`.
    pub(super) allowed: Vec<PathBuf>,
}

/// Reads `[server]`; paths are relative to `directory`, and `host_name` is the default of `node`. `sanity` reads the list of that name.
pub(super) fn server<'d>(
    mut t: Table<'d>,
    directory: &Path,
    host_name: String,
    sanity: impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<Vec<TargetId>>,
    out: &mut Diagnostics,
) -> Server {
    let seconds = Duration::from_secs;
    let at = t.at();
    let node = t.optional(out, "node", node_name).unwrap_or(host_name);
    let listen = t.optional(out, "listen", listen);
    let zones = match t.item("zones") {
        Some(item) => path(directory)(&item, out).map(|zones| (zones, item.at())),
        None => Some((directory.join("zones"), at)),
    };
    let include_from = t
        .optional(out, "include_from", list(path(directory)))
        .unwrap_or_default();
    let state = t.optional(out, "state", path(directory));
    let workers = t
        .optional(out, "workers", integer(0..=1024, ""))
        .unwrap_or(0);
    let udp = udp(&mut t, out);
    let exec_processes = t
        .optional(out, "exec_processes", integer(1..=1000, "processes"))
        .unwrap_or(8);
    let resolvers = t.optional(out, "resolvers", resolvers).unwrap_or_default();
    let connections = t
        .optional(out, "tcp_connections", integer(1..=1_000_000, ""))
        .unwrap_or(1000);
    let per_address = t
        .optional(
            out,
            "tcp_connections_per_address",
            integer(1..=1_000_000, ""),
        )
        .unwrap_or(30);
    let idle_timeout = t
        .optional(
            out,
            "tcp_idle_timeout",
            duration(seconds(1)..=seconds(3600)),
        )
        .unwrap_or(seconds(10));
    let sanity = t.optional(out, "sanity", sanity).unwrap_or_default();
    let why_from = t
        .optional(out, "why_from", distinct(prefix, "prefix"))
        .unwrap_or_default();
    let identity = t.optional(out, "identity", boolean).unwrap_or(true);
    let sole = t.optional(out, "sole", boolean).unwrap_or(false);
    let max_removed = t.optional(out, "max_removed", percentage).unwrap_or(0.2);
    let require_end = t.optional(out, "require_end", boolean).unwrap_or(false);
    let tcp = TcpLimits {
        connections: connections as usize,
        connections_per_address: per_address as usize,
        idle_timeout,
    };
    let listen_default = listen.is_none();
    let addresses = listen.as_ref().map_or_else(every_address, |listen| {
        listen.iter().map(|l| l.value).collect()
    });
    let spec = |zones| ServerSpec {
        node,
        listen: addresses,
        listen_default,
        zones,
        include_from: include_from.clone(),
        state,
        workers: workers as usize,
        udp,
        exec_processes: exec_processes as usize,
        resolvers,
        tcp,
        sanity,
        why_from,
        identity,
        sole,
        max_removed,
        require_end,
    };
    let complete = t.finish(out);
    let spec = zones
        .as_ref()
        .filter(|_| complete)
        .map(|(zones, _)| spec(zones.clone()));
    let zones = zones.map(|(directory, at)| {
        let allowed = std::iter::once(directory.clone())
            .chain(include_from)
            .collect();
        Zones {
            directory,
            at,
            allowed,
        }
    });
    Server {
        spec,
        listen: listen.unwrap_or_default(),
        zones,
    }
}

fn udp(t: &mut Table<'_>, out: &mut Diagnostics) -> UdpOptions {
    let default = UdpOptions::default();
    // The least that the kernel gives, and what no more can be asked for in one 32-bit number.
    let mut buffer = |key, out: &mut Diagnostics| {
        t.optional(out, key, integer(4096..=1 << 30, "octets"))
            .map(|octets| octets as usize)
    };
    let (receive_buffer, send_buffer) = (
        buffer("udp_receive_buffer", out),
        buffer("udp_send_buffer", out),
    );
    UdpOptions {
        batch: t
            .optional(out, "udp_batch", integer(1..=1024, "datagrams"))
            .map_or(default.batch, |batch| batch as usize),
        receive_buffer,
        send_buffer,
        pin_workers: t
            .optional(out, "pin_workers", boolean)
            .unwrap_or(default.pin_workers),
    }
}

/// Reads `[admin]`, whose `listen` must not be one of the `taken` addresses.
pub(super) fn admin(
    mut t: Table<'_>,
    taken: &[Located<SocketAddr>],
    out: &mut Diagnostics,
) -> Option<AdminSpec> {
    let hint = "write listen = \"127.0.0.1:8053\", or leave [admin] out to have no HTTP interface";
    let listen = t.required(out, "listen", hint, |item, out| {
        let address = socket(item, out)?;
        if let Some(other) = taken
            .iter()
            .find(|other| other.value == address && address.port() != 0)
        {
            item.error(
                out,
                "duplicate-listen-address",
                format!("{address} is taken by [server] listen at {}", other.at),
            )
            .hint("give the HTTP interface a port of its own");
            return None;
        }
        Some(address)
    });
    let hosts = t
        .optional(out, "hosts", distinct(host, "name"))
        .unwrap_or_default();
    t.finish(out);
    Some(AdminSpec {
        listen: listen?,
        hosts,
    })
}

/// A name that stands in URLs.
fn host(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let name = text(item, out)?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    {
        item.error(out, "bad-name", format!("{} is not a host name", item.written())).hint(
            "write it alone, such as \"gtm.example.net\": without http:// and without a port; addresses need not be listed",
        );
        return None;
    }
    Some(name.to_owned())
}

/// Reads `[geo]`; paths are relative to `directory`.
pub(super) fn geo(
    mut t: Table<'_>,
    directory: &Path,
    source: &mut dyn Source,
    out: &mut Diagnostics,
) -> GeoSpec {
    let mut database = |key| {
        t.optional(out, key, |item, out| {
            let file = path(directory)(item, out)?;
            match source.database(&file) {
                Ok(()) => Some((file, item.at())),
                Err(problem) => {
                    report(problem, item.at(), item.path.clone(), out);
                    None
                }
            }
        })
    };
    let spec = GeoSpec {
        city: database("city"),
        asn: database("asn"),
    };
    t.finish(out);
    spec
}

/// The default of `listen`: every address of the host.
fn every_address() -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53)),
    ]
}

/// True for what a node may be called. NSID carries it (RFC 5001 sets no limit; 64 octets keep answers small), and TXT strings do.
pub fn is_node_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

fn node_name(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let node = text(item, out)?;
    if !is_node_name(&node) {
        item.error(
            out,
            "bad-name",
            format!("{} is not a node name", item.written()),
        )
        .hint("use up to 64 letters, digits and punctuation, without spaces");
        return None;
    }
    Some(node)
}

/// Name servers: addresses, with a port where it is not 53.
fn resolvers(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<SocketAddr>> {
    let one = |item: &Item<'_>, out: &mut Diagnostics| {
        let text = item.string(out, "an address")?;
        let socket = text
            .parse()
            .ok()
            .or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
        if socket.is_none_or(|socket| socket.port() == 0) {
            item.error(out, "bad-address", format!("\"{text}\" is not the address of a name server"))
                .hint("write it like \"127.0.0.1\", \"127.0.0.1:5353\" or \"[2001:db8::53]:53\"; a name would have to be looked up first");
            return None;
        }
        socket
    };
    let servers = distinct(one, "name server")(item, out)?;
    if servers.is_empty() {
        item.error(
            out,
            "empty-value",
            "the list is empty: no name could be looked up",
        )
        .hint("leave `resolvers` out to ask those of /etc/resolv.conf");
        return None;
    }
    Some(servers)
}

fn listen(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<Located<SocketAddr>>> {
    let sockets = list(|item, out| {
        Some(Located {
            value: socket(item, out)?,
            at: item.at(),
        })
    })(item, out)?;
    if sockets.is_empty() {
        item.error(
            out,
            "empty-value",
            "the list is empty: the server would listen nowhere",
        )
        .hint("leave `listen` out to listen on every address, port 53");
        return None;
    }
    for (i, socket) in sockets.iter().enumerate() {
        // Port 0 is a new port each time.
        if socket.value.port() != 0 && sockets[..i].iter().any(|other| other.value == socket.value)
        {
            let message = format!("{} is listed twice", socket.value);
            out.error(
                "duplicate-listen-address",
                socket.at.clone(),
                item.path.clone(),
                message,
            )
            .hint("list each address once");
            return None;
        }
    }
    Some(sockets)
}
