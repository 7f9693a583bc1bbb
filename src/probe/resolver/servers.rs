//! The name servers that are asked, and the names of the hosts file: read anew when their files change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, fs};

use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::Instant;

/// The pause between two looks at the files, while names are looked up.
const LOOK: Duration = Duration::from_secs(1);
/// The time that a name server may take for an answer; each is asked twice.
const TRY: Duration = Duration::from_millis(500);
/// More name servers than this are not used (resolv.conf(5)).
const MOST: usize = 3;
const DNS_PORT: u16 = 53;

/// Knows whom to ask.
pub(super) struct Servers {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    current: Mutex<Current>,
    /// Somebody is at the files, which may take as long as the disk likes.
    looking: AtomicBool,
}

struct Current {
    /// Those of the configuration; empty where `resolv_conf` has them.
    chosen: Vec<SocketAddr>,
    state: Option<Arc<State>>,
    looked: Instant,
}

/// The name servers to ask, and the names that need no asking.
pub(super) struct State {
    /// One for each name server, in order.
    pub(super) resolvers: Vec<TokioResolver>,
    addresses: Vec<SocketAddr>,
    hosts: Hosts,
    stamps: [Option<Stamp>; 2],
}

/// A file on disk at one time: device, inode, size, and when it and its inode were changed.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

impl Servers {
    /// Those of `chosen`; where it is empty, those of the file `resolv_conf`.
    pub(super) fn new(chosen: &[SocketAddr], resolv_conf: &Path, hosts: &Path) -> Servers {
        let current = Current {
            chosen: chosen.to_vec(),
            state: None,
            looked: Instant::now(),
        };
        Servers {
            resolv_conf: resolv_conf.to_owned(),
            hosts: hosts.to_owned(),
            current: Mutex::new(current),
            looking: AtomicBool::new(false),
        }
    }

    /// Takes those of `chosen` from now on, as in [`Servers::new`].
    pub(super) fn choose(&self, chosen: &[SocketAddr]) {
        let mut current = self.lock();
        if current.chosen != chosen {
            (current.chosen, current.state) = (chosen.to_vec(), None);
        }
    }

    /// Returns the name servers to ask now. Only the first call waits for the files; later ones
    /// look at them in the background.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<State> {
        let (state, due) = {
            let current = self.lock();
            (current.state.clone(), current.looked.elapsed() >= LOOK)
        };
        if let Some(state) = &state
            && (!due || self.looking.swap(true, Ordering::AcqRel))
        {
            return state.clone();
        }
        let servers = self.clone();
        let look = tokio::task::spawn_blocking(move || {
            let state = servers.look();
            servers.looking.store(false, Ordering::Release);
            state
        });
        match state {
            Some(state) => state,
            // The runtime is ending: so is the probe.
            None => look
                .await
                .unwrap_or_else(|_| Arc::new(State::of(Vec::new(), Hosts::default(), [None; 2]))),
        }
    }

    /// Reads the files that are not the ones that were read.
    fn look(&self) -> Arc<State> {
        let stamps = [stamp(&self.resolv_conf), stamp(&self.hosts)];
        let (chosen, before) = {
            let mut current = self.lock();
            current.looked = Instant::now();
            (current.chosen.clone(), current.state.clone())
        };
        if let Some(before) = before.as_ref().filter(|before| before.stamps == stamps) {
            return before.clone();
        }
        let mut addresses = chosen;
        if addresses.is_empty() {
            addresses = name_servers(&fs::read(&self.resolv_conf).unwrap_or_default());
        }
        if addresses.is_empty() {
            // A file that is just being written names none; without one there is that of this host (resolv.conf(5)).
            let local = || vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()];
            addresses = before
                .as_ref()
                .map_or_else(local, |before| before.addresses.clone());
        }
        if before.is_some_and(|before| before.addresses != addresses) {
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            tracing::info!(
                "names of endpoints are looked up at {} from now on",
                list.join(", ")
            );
        }
        let mut hosts = Hosts::default();
        if let Ok(file) = fs::File::open(&self.hosts) {
            // What stands before a line that cannot be read holds.
            let _ = hosts.read_hosts_conf(file);
        }
        let state = Arc::new(State::of(addresses, hosts, stamps));
        self.lock().state = Some(state.clone());
        state
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("resolv_conf", &self.resolv_conf)
            .finish_non_exhaustive()
    }
}

impl State {
    fn of(addresses: Vec<SocketAddr>, hosts: Hosts, stamps: [Option<Stamp>; 2]) -> State {
        State {
            resolvers: addresses
                .iter()
                .filter_map(|address| resolver(*address))
                .collect(),
            addresses,
            hosts,
            stamps,
        }
    }

    /// The addresses that the hosts file has for `name`, IPv4 and IPv6. Where it has any, nobody is asked.
    pub(super) fn listed(&self, name: &Name) -> Option<[Vec<IpAddr>; 2]> {
        let listed = [RecordType::A, RecordType::AAAA].map(|rr_type| {
            let lookup = self
                .hosts
                .lookup_static_host(&Query::query(name.clone(), rr_type));
            let addresses = |lookup: hickory_resolver::lookup::Lookup| {
                lookup
                    .answers()
                    .iter()
                    .filter_map(|record| record.data.ip_addr())
                    .collect::<Vec<_>>()
            };
            lookup.map(addresses).unwrap_or_default()
        });
        listed
            .iter()
            .any(|addresses| !addresses.is_empty())
            .then_some(listed)
    }
}

/// Asks one name server, and remembers nothing: whoever asks does.
fn resolver(address: SocketAddr) -> Option<TokioResolver> {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server
        .connections
        .iter_mut()
        .for_each(|connection| connection.port = address.port());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let mut options = ResolverOpts::default();
    options.timeout = TRY;
    options.attempts = 1;
    options.edns0 = false;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    *builder.options_mut() = options;
    builder.build().ok()
}

/// The `nameserver` lines of a resolv.conf.
fn name_servers(text: &[u8]) -> Vec<SocketAddr> {
    let text = String::from_utf8_lossy(text);
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        address
            .parse::<IpAddr>()
            .ok()
            .map(|address| SocketAddr::new(address, DNS_PORT))
    };
    text.lines().filter_map(address).take(MOST).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(runtime: &tokio::runtime::Runtime, servers: &Arc<Servers>) -> Arc<State> {
        runtime.block_on(servers.current())
    }

    #[test]
    fn changes_of_the_files_are_followed() {
        let directory = tempfile::TempDir::new().unwrap();
        let [resolv_conf, hosts] = ["resolv.conf", "hosts"].map(|name| directory.path().join(name));
        fs::write(&resolv_conf, "search example.com\noptions ndots:5\nnameserver 192.0.2.1 # ours\nnameserver fe80::1\n")
            .unwrap();
        fs::write(
            &hosts,
            "127.0.0.1 localhost\n192.0.2.7\tApp.example db # both\n2001:db8::7 app.example\n",
        )
        .unwrap();
        let servers = Arc::new(Servers::new(&[], &resolv_conf, &hosts));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();

        let state = current(&runtime, &servers);
        assert_eq!(
            state.addresses,
            [
                "192.0.2.1:53".parse().unwrap(),
                "[fe80::1]:53".parse().unwrap()
            ]
        );
        let listed = |state: &State, name: &str| state.listed(&Name::from_ascii(name).unwrap());
        let v4 = vec![IpAddr::from([192, 0, 2, 7])];
        assert_eq!(
            listed(&state, "app.EXAMPLE."),
            Some([v4.clone(), vec!["2001:db8::7".parse().unwrap()]])
        );
        assert_eq!(
            listed(&state, "db."),
            Some([v4, Vec::new()]),
            "the final dot is no part of the name"
        );
        assert_eq!(listed(&state, "b.example."), None);

        // Replaced by one of the same size, as tools do.
        fs::write(
            directory.path().join("new"),
            "search example.com\noptions ndots:5\nnameserver 192.0.2.9 # ours\nnameserver fe80::1\n",
        )
        .unwrap();
        fs::rename(directory.path().join("new"), &resolv_conf).unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while current(&runtime, &servers).addresses[0] != "192.0.2.9:53".parse().unwrap() {
            assert!(std::time::Instant::now() < end, "the new one is read");
            std::thread::sleep(Duration::from_millis(50));
        }
        fs::write(&resolv_conf, "# being written\n").unwrap();
        assert_eq!(
            servers.look().addresses.len(),
            2,
            "who was asked before is, while the file names nobody"
        );

        let missing = Arc::new(Servers::new(
            &[],
            &directory.path().join("missing"),
            &directory.path().join("missing"),
        ));
        assert_eq!(
            current(&runtime, &missing).addresses,
            ["127.0.0.1:53".parse().unwrap()]
        );
        let chosen = ["192.0.2.3:5353".parse().unwrap()];
        missing.choose(&chosen);
        assert_eq!(current(&runtime, &missing).addresses, chosen);
    }
}
