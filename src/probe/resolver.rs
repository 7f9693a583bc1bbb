//! Addresses of target names: asked of the name servers that `/etc/resolv.conf` or the configuration names.
//!
//! A name is looked up by one task at a time, however many probes want it, and the task outlives them. What was last
//! known of a name stays until a name server says otherwise: one that is silent, refuses or fails says nothing. Lookups
//! that take long give their permits to others, and go on among the slow ones.

mod servers;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::rr::{Name as AbsoluteName, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::dns::{Name, Rcode};
use crate::health::{FailReason, NotJudged, ResolveFault, ResolverFault, Seen};

use servers::Servers;

/// The number of names that are looked up at once, of those that are answered soon and again of the
/// others. A lookup has up to two sockets at a time.
const LOOKUPS: usize = 32;
/// A lookup that takes longer than this is a slow one.
const SOON: Duration = Duration::from_millis(250);
/// A lookup that takes longer than this, all name servers together, is given up.
const LOOKUP: Duration = Duration::from_secs(4);
/// The time that the addresses of one family wait for those of the other (RFC 8305 §3).
const OTHER_FAMILY: Duration = Duration::from_millis(50);
/// The longest time for which addresses are used, whatever their TTL: an endpoint that moves is
/// soon probed at its new address.
const FRESH: Duration = Duration::from_secs(30);
/// The time after which a name that no probe asked for is forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// Looks up names; shared by all probes of a process.
#[derive(Debug)]
pub(super) struct Resolver {
    servers: Arc<Servers>,
    names: Mutex<Names>,
    soon: Semaphore,
    slow: Semaphore,
}

/// The known addresses of every name that was asked for.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<Name, Entry>,
    /// Moment at which the unused ones were last forgotten.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    known: Arc<watch::Sender<Known>>,
    used: Instant,
}

/// The known addresses of one name.
#[derive(Debug, Default)]
struct Known {
    /// IPv4 and IPv6; those of a family stay until a name server says that there are none.
    addresses: [Vec<IpAddr>; 2],
    /// Until when there is no need to ask again.
    fresh_until: Option<Instant>,
    /// The trouble that speaks against the addresses, or explains their absence, since the last
    /// lookup.
    trouble: Option<Unresolved>,
    /// A lookup is under way.
    busy: bool,
    /// The last lookup took long.
    slow: bool,
}

/// Addresses to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    /// At least one, the families in turn, IPv6 first.
    pub(super) list: Vec<IpAddr>,
    /// Reason why they could not be confirmed: they are the last known.
    pub(super) old: Option<ResolverFault>,
}

/// Reason why there are no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// A working name server says so: the name's own fault.
    Name(ResolveFault),
    /// Nobody could say.
    Resolver(ResolverFault),
}

impl Unresolved {
    /// The verdict on a target of such a name.
    pub(super) fn seen(self) -> Seen {
        match self {
            Unresolved::Name(fault) => Seen::Fail(FailReason::Resolve(fault)),
            Unresolved::Resolver(fault) => Seen::NotJudged(NotJudged::Resolver(fault)),
        }
    }
}

/// The result of a lookup for the addresses of one family.
type Found = Result<(Vec<IpAddr>, Instant), Unresolved>;

const LATE: Unresolved = Unresolved::Resolver(ResolverFault::Silent);
const NO_NAME: Unresolved = Unresolved::Name(ResolveFault::NoSuchName);

impl Resolver {
    /// Asks `servers`, or where none are given those of `/etc/resolv.conf`.
    pub(super) fn new(servers: &[SocketAddr]) -> Resolver {
        Resolver::of_files(
            servers,
            Path::new("/etc/resolv.conf"),
            Path::new("/etc/hosts"),
        )
    }

    fn of_files(servers: &[SocketAddr], resolv_conf: &Path, hosts: &Path) -> Resolver {
        let servers = Arc::new(Servers::new(servers, resolv_conf, hosts));
        let [soon, slow] = [LOOKUPS; 2].map(Semaphore::new);
        Resolver {
            servers,
            names: Mutex::default(),
            soon,
            slow,
        }
    }

    /// Asks `servers` from now on; see [`Resolver::new`].
    pub(super) fn ask_at(&self, servers: &[SocketAddr]) {
        self.servers.choose(servers);
    }

    /// The addresses of `name`. Those that are known are waited for only a while, to leave time for their probe; others
    /// until `deadline`.
    pub(super) async fn addresses(
        self: &Arc<Self>,
        name: &Name,
        deadline: Instant,
    ) -> Result<Addresses, Unresolved> {
        let known = self.known(name);
        let mut changes = known.subscribe();
        let now = Instant::now();
        let mut begins = false;
        // Decided under the lock, so that of many probes at once only one begins a lookup. "False",
        // since no address has changed and nobody has to be woken.
        known.send_if_modified(|known| {
            begins = !known.busy && known.fresh_until.is_none_or(|until| until <= now);
            known.busy |= begins;
            false
        });
        if begins {
            let (resolver, name) = (self.clone(), name.clone());
            let under_way = UnderWay(known);
            // A task of its own: the lookup goes on when this probe's time is over, and the next
            // probe has its result.
            tokio::spawn(async move { resolver.look_up(&name, &under_way.0).await });
        }
        let patience = changes
            .borrow()
            .patience(deadline.saturating_duration_since(now));
        // A lookup that does not end in time leaves what is known, which is then looked at.
        let _ = timeout(patience, changes.wait_for(|known| !known.busy)).await;
        changes.borrow().addresses()
    }

    /// Looks up a name that the configuration did not choose, and remembers nothing of it.
    pub(super) async fn addresses_once(
        &self,
        name: &Name,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, Unresolved> {
        let lookup = async {
            // In the line of the slow ones: a name that an endpoint chose must not delay those of
            // the configuration.
            let _permit = self.slow.acquire().await;
            self.ask(name).await
        };
        let found = timeout_at(deadline, lookup).await.map_err(|_| LATE)?;
        let mut known = Known::default();
        known.take(found);
        known.addresses().map(|addresses| addresses.list)
    }

    fn known(&self, name: &Name) -> Arc<watch::Sender<Known>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if names
            .swept
            .is_none_or(|swept| now.duration_since(swept) > FORGET)
        {
            names.swept = Some(now);
            names
                .known
                .retain(|_, entry| now.duration_since(entry.used) < FORGET);
        }
        let new = || Entry {
            known: Arc::new(watch::Sender::new(Known::default())),
            used: now,
        };
        let entry = names.known.entry(name.clone()).or_insert_with(new);
        entry.used = now;
        entry.known.clone()
    }

    async fn look_up(&self, name: &Name, known: &watch::Sender<Known>) {
        let was_slow = known.borrow().slow;
        let mut ask = pin!(self.ask(name));
        let mut found = None;
        if !was_slow {
            let _permit = self.soon.acquire().await;
            found = timeout(SOON, &mut ask).await.ok();
        }
        let slow = found.is_none();
        if found.is_none() {
            // Nobody waits in line behind one that turned out slow just now: it has its turn next time.
            let permit = if was_slow {
                self.slow.acquire().await.ok()
            } else {
                self.slow.try_acquire().ok()
            };
            let begun = Instant::now();
            if permit.is_some() {
                found = timeout(LOOKUP, &mut ask).await.ok();
            }
            known.send_modify(|known| known.slow = slow && (!was_slow || begun.elapsed() > SOON));
        }
        known.send_modify(|known| {
            known.take(found.unwrap_or([Err(LATE), Err(LATE)]));
        });
    }

    /// Asks for both families at once.
    async fn ask(&self, name: &Name) -> [Found; 2] {
        let Ok(mut name) = AbsoluteName::from_labels(name.labels()) else {
            return [Err(NO_NAME), Err(NO_NAME)];
        };
        // Absolute: no search domain applies.
        name.set_fqdn(true);
        let state = self.servers.current().await;
        if let Some(listed) = state.listed(&name) {
            let until = Instant::now();
            let found = |addresses: Vec<IpAddr>| match addresses.is_empty() {
                true => Err(Unresolved::Name(ResolveFault::NoAddress)),
                false => Ok((addresses, until)),
            };
            return listed.map(found);
        }
        let mut v4 = pin!(ask_each(&state.resolvers, &name, RecordType::A));
        let mut v6 = pin!(ask_each(&state.resolvers, &name, RecordType::AAAA));
        let patience = |found: &Found| if found.is_ok() { OTHER_FAMILY } else { LOOKUP };
        tokio::select! {
            found = &mut v4 => {
                let other = timeout(patience(&found), v6).await;
                [found, other.unwrap_or(Err(LATE))]
            }
            found = &mut v6 => {
                let other = timeout(patience(&found), v4).await;
                [other.unwrap_or(Err(LATE)), found]
            }
        }
    }
}

/// Asks one name server after another until one knows, as the system's resolver does.
async fn ask_each(resolvers: &[TokioResolver], name: &AbsoluteName, rr_type: RecordType) -> Found {
    let mut trouble = Err(LATE);
    for resolver in resolvers {
        let fault = match resolver.lookup(name.clone(), rr_type).await {
            Ok(lookup) => {
                let addresses: Vec<IpAddr> = lookup
                    .answers()
                    .iter()
                    .filter_map(|record| record.data.ip_addr())
                    .collect();
                let fresh = lookup
                    .valid_until()
                    .saturating_duration_since(std::time::Instant::now())
                    .min(FRESH);
                return match addresses.is_empty() {
                    true => Err(Unresolved::Name(ResolveFault::NoAddress)),
                    false => Ok((addresses, Instant::now() + fresh)),
                };
            }
            Err(error) if error.is_nx_domain() => {
                return Err(Unresolved::Name(ResolveFault::NoSuchName));
            }
            Err(error) if error.is_no_records_found() => {
                return Err(Unresolved::Name(ResolveFault::NoAddress));
            }
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                ResolverFault::Rcode(Rcode(u16::from(code)))
            }
            Err(NetError::Timeout) => ResolverFault::Silent,
            Err(_) => ResolverFault::Unreachable,
        };
        trouble = Err(Unresolved::Resolver(fault));
    }
    trouble
}

impl Known {
    /// Returns the time that a probe with `left` waits for a lookup that is under way.
    fn patience(&self, left: Duration) -> Duration {
        match (self.addresses.iter().all(Vec::is_empty), self.trouble) {
            (true, _) => left,
            // It did not come in time before either, and is there for the next probe when it does.
            (false, Some(Unresolved::Resolver(_))) => Duration::ZERO,
            (false, _) => left / 4,
        }
    }

    /// Takes up what a lookup found: IPv4 and IPv6.
    fn take(&mut self, found: [Found; 2]) {
        // A name that does not exist has no addresses of the other family either (RFC 8020).
        let found = if found.contains(&Err(NO_NAME)) {
            [Err(NO_NAME), Err(NO_NAME)]
        } else {
            found
        };
        let resolver = found
            .iter()
            .filter_map(|found| found.as_ref().err())
            .find(|why| matches!(why, Unresolved::Resolver(_)));
        let name = found.iter().find_map(|found| found.as_ref().err());
        self.trouble = resolver.or(name).copied();
        self.fresh_until = found
            .iter()
            .filter_map(|found| Some(found.as_ref().ok()?.1))
            .min()
            .filter(|_| resolver.is_none());
        for (addresses, found) in self.addresses.iter_mut().zip(found) {
            match found {
                Ok((list, _)) => *addresses = list,
                Err(Unresolved::Name(_)) => addresses.clear(),
                Err(Unresolved::Resolver(_)) => {}
            }
        }
    }

    fn addresses(&self) -> Result<Addresses, Unresolved> {
        let [v4, v6] = &self.addresses;
        let mut list = Vec::with_capacity(v4.len() + v6.len());
        for index in 0..v4.len().max(v6.len()) {
            list.extend(v6.get(index));
            list.extend(v4.get(index));
        }
        // Absence is a verdict on the name, and never taken from a lookup before this one.
        let trouble = if self.busy && list.is_empty() {
            Some(LATE)
        } else {
            self.trouble
        };
        match trouble {
            Some(trouble) if list.is_empty() => Err(trouble),
            Some(Unresolved::Resolver(fault)) => Ok(Addresses {
                list,
                old: Some(fault),
            }),
            _ => Ok(Addresses { list, old: None }),
        }
    }
}

/// A lookup: over when dropped, however it ends.
struct UnderWay(Arc<watch::Sender<Known>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|known| known.busy = false);
    }
}
