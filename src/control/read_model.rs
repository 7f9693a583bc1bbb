//! The read model as this process shares it: the publisher's loop sends what changed, and whoever reads
//! takes that in first.
//!
//! ```text
//! the loop ─ Feed::send ─► queue ─► ReadModel::read, on a reader's thread ─► Arc<View>
//! ```
//! The loop copies what changed and leaves; it takes no lock. A reader sees everything that was sent
//! before it asked, so an operator who was told that something is done finds it done.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use crate::publisher::{View, ViewUpdate};

/// The sending side, which the loop has.
#[derive(Debug)]
pub struct Feed(mpsc::Sender<ViewUpdate>);

impl Feed {
    /// Sends what changed; never waits.
    pub fn send(&self, update: ViewUpdate) {
        // Without a reader nobody misses it.
        let _ = self.0.send(update);
    }
}

/// The reading side; clones read the same.
#[derive(Debug, Clone)]
pub struct ReadModel(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    updates: mpsc::Receiver<ViewUpdate>,
    view: Arc<View>,
}

impl ReadModel {
    /// A read model that begins with `view`, and the side that keeps it current.
    pub fn new(view: View) -> (Feed, ReadModel) {
        // Unbounded, since the loop may not wait; a reader of our own empties it every second.
        let (sender, updates) = mpsc::channel();
        let shared = Shared {
            updates,
            view: Arc::new(view),
        };
        (Feed(sender), ReadModel(Arc::new(Mutex::new(shared))))
    }

    /// The state as the loop told it last. Taking in what it told since the last call costs some
    /// milliseconds with tens of thousands of targets: to be called where waiting is allowed.
    pub fn read(&self) -> Arc<View> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { updates, view } = &mut *shared;
        // Under the lock, so that updates are applied in the order in which the loop sent them.
        for update in updates.try_iter() {
            // A view that another reader still has is left to it: only the changed pieces are copied.
            Arc::make_mut(view).apply(update);
        }
        view.clone()
    }
}
