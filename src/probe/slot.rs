//! A target of the scheduler, shared with what is under way for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Check;
use super::keeper::Keeper;
use crate::model::{CheckKind, Target, TargetId};

/// A target, shared with the probe of it that is under way.
pub(super) struct Slot {
    pub(super) check: Arc<Check>,
    pub(super) target: Target,
    /// Generation and id, or [`GONE`].
    address: AtomicU64,
    /// Waiting or under way.
    busy: AtomicBool,
    /// An early probe was asked for meanwhile: it follows when this one has ended.
    again: AtomicBool,
    /// The last probe ran into its timeout.
    pub(super) slow: AtomicBool,
    /// Boxed, since most targets are not watched.
    pub(super) keeper: Option<Box<Keeper>>,
}

/// The address of a slot whose target is not probed any more.
const GONE: u64 = u64::MAX;

impl Slot {
    /// The slot of a target that has no address yet.
    pub(super) fn new(check: Arc<Check>, target: Target) -> Slot {
        Slot {
            keeper: check.spec.watch.then(Box::default),
            check,
            target,
            address: AtomicU64::new(GONE),
            busy: AtomicBool::new(false),
            again: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        }
    }

    /// Takes the slot for a probe; false where one waits or is under way. One that is asked for
    /// `early` follows that one.
    pub(super) fn begin(&self, early: bool) -> bool {
        loop {
            if !self.busy.swap(true, Ordering::SeqCst) {
                return true;
            }
            if !early {
                return false;
            }
            self.again.store(true, Ordering::SeqCst);
            // The other may have ended between the two steps, and then nobody looks at the note.
            if self.busy.load(Ordering::SeqCst) {
                return false;
            }
            self.again.store(false, Ordering::SeqCst);
        }
    }

    /// Gives the slot back; true where an early probe is to follow.
    pub(super) fn end(&self) -> bool {
        self.busy.store(false, Ordering::SeqCst);
        self.again.swap(false, Ordering::SeqCst)
    }

    /// The lane of the scheduler that its probes take.
    pub(super) fn lane(&self) -> usize {
        match self.check.spec.kind {
            CheckKind::Exec(_) => 2,
            _ => usize::from(self.slow.load(Ordering::Relaxed)),
        }
    }

    /// The configuration that it is of and its id there; `None` where it is of none any more.
    pub(super) fn address(&self) -> Option<(u32, TargetId)> {
        let address = self.address.load(Ordering::Relaxed);
        // Two halves of 32 bits: generation and target.
        (address != GONE).then_some(((address >> 32) as u32, TargetId(address as u32)))
    }

    /// Makes it target `id` of configuration `generation`.
    pub(super) fn move_to(&self, generation: u32, id: TargetId) {
        // Both in one word: a probe that ends meanwhile never reads one of each configuration.
        self.address.store(
            u64::from(generation) << 32 | u64::from(id.0),
            Ordering::Relaxed,
        );
    }

    /// Its target is not probed any more.
    pub(super) fn leave(&self) {
        self.address.store(GONE, Ordering::Relaxed);
    }
}
