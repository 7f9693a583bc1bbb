//! Connections held to endpoints: the end of one is noticed at once, and has the endpoint probed.
//!
//! ```text
//! probe passed ─► Policy (open now?) ─► connection::open ─► Held ─► its end: Lost ─┐
//!      ▲                                                                           │
//!      └─ the next pass, or a later one ◄─ health has the endpoint probed at once ◄┘
//! ```
//! A connection is opened after a probe that passed, and to the address that did. So there are no
//! timers here, nothing is tried while an endpoint is down, and the phases of the probes spread what
//! is opened. While nothing happens a connection costs a descriptor, a task of a few hundred octets
//! and no CPU: keep-alive is the kernel's.

mod connection;
mod frames;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::Prober;
use super::attempt::Attempt;
use super::keeper::{End, Keeper, Policy};
use super::observed::{Observed, Sight};
use super::slot::Slot;
use crate::health::{NotJudged, Seen};
use crate::model::Target;

pub(super) use connection::Connection;

/// The parts that the watches of a scheduler share.
pub(super) struct Watches {
    prober: Arc<Prober>,
    /// One for each connection.
    permits: Arc<Semaphore>,
    /// That there are none left was said.
    said: AtomicBool,
    seen: mpsc::Sender<Observed>,
}

impl Watches {
    /// Watches by the rules of `prober`, with at most `most` connections at a time; their states go
    /// to `seen`.
    pub(super) fn new(
        prober: Arc<Prober>,
        most: usize,
        seen: mpsc::Sender<Observed>,
    ) -> Arc<Watches> {
        Arc::new(Watches {
            prober,
            permits: Arc::new(Semaphore::new(most)),
            said: AtomicBool::new(false),
            seen,
        })
    }

    /// Other files are in force: what there was no descriptor for may be said again.
    pub(super) fn reloaded(&self) {
        self.said.store(false, Ordering::Relaxed);
    }

    /// A probe of `slot` saw `seen`, and passed at `address` if it did. Opens a connection to there,
    /// on the runtime that this is called on, if one is due.
    pub(super) async fn probed(
        self: &Arc<Watches>,
        slot: &Arc<Slot>,
        seen: Seen,
        address: Option<SocketAddr>,
    ) {
        let Some(keeper) = &slot.keeper else {
            return;
        };
        let opens = keeper
            .kept()
            .policy
            .probed(seen, slot.check.spec.fall, Instant::now());
        if let (true, Some(address)) = (opens, address) {
            self.open(slot, keeper, address);
        }
        self.tell(slot).await;
    }

    fn open(self: &Arc<Watches>, slot: &Arc<Slot>, keeper: &Keeper, address: SocketAddr) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            if !self.said.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "endpoints not watched: no descriptor is left for more connections (watch); \
                     raise the limit of descriptors (LimitNOFILE= of the systemd unit, ulimit -n)"
                );
            }
            keeper
                .kept()
                .policy
                .ended(End::NoDescriptor, Duration::ZERO, Instant::now());
            return;
        };
        let watch = watch(self.clone(), Arc::downgrade(slot), address, permit);
        let task = tokio::spawn(watch).abort_handle();
        keeper.kept().task = Some(task);
    }

    /// Tells the state of a slot's watch, if it is not known yet.
    async fn tell(&self, slot: &Slot) {
        let Some(keeper) = &slot.keeper else {
            return;
        };
        if keeper.kept().news(slot.address()).is_none() {
            return;
        }
        // The place first and then the state: two that tell of one target do so in the order of its
        // states.
        let Ok(place) = self.seen.reserve().await else {
            return;
        };
        let mut kept = keeper.kept();
        if let Some((generation, target, watch)) = kept.news(slot.address()) {
            kept.told = Some((generation, watch));
            place.send(Observed {
                generation,
                target,
                sight: Sight::Watch(watch),
            });
        }
    }
}

/// Opens a connection to `address` for a slot, and tells how it fares until it ends.
async fn watch(
    watches: Arc<Watches>,
    slot: Weak<Slot>,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // Its future is large and soon over; this one is kept for as long as the connection.
    let opened = Box::pin(open(&watches.prober, &slot, address)).await;
    let since = Instant::now();
    let end = match opened {
        Ok(connection) => {
            note(&watches, &slot, Policy::opened).await;
            connection.hold().await
        }
        Err(end) => end,
    };
    drop(permit);
    let now = Instant::now();
    note(&watches, &slot, |policy| {
        policy.ended(end, now - since, now);
    })
    .await;
}

async fn open(prober: &Prober, slot: &Weak<Slot>, address: SocketAddr) -> Result<Connection, End> {
    let slot = slot.upgrade().ok_or(End::Lost)?;
    let name = match &slot.target {
        Target::Name(name) => Some(name.to_string()),
        Target::Address(_) => None,
    };
    let time = slot.check.spec.timeout;
    let attempt = Attempt {
        check: &slot.check,
        name: name.as_deref().map(|name| name.trim_end_matches('.')),
        address,
        deadline: Instant::now() + time,
    };
    match timeout(time, Connection::open(&attempt, prober.connectors())).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(Seen::NotJudged(NotJudged::Resources(_)))) => Err(End::NoDescriptor),
        Ok(Err(_)) | Err(_) => Err(End::Lost),
    }
}

/// Notes something about the connection of a slot, and tells of it.
async fn note(watches: &Watches, slot: &Weak<Slot>, change: impl FnOnce(&mut Policy)) {
    let Some(slot) = slot.upgrade() else {
        return;
    };
    if let Some(keeper) = &slot.keeper {
        change(&mut keeper.kept().policy);
    }
    watches.tell(&slot).await;
}
