//! The fate of notifications, by destination: written by those who send them, read by anyone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The fates of the notifications of every destination.
#[derive(Debug, Default)]
pub struct Notifications(Mutex<BTreeMap<String, Delivery>>);

/// The fate of the notifications of one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Notices that were taken.
    pub delivered: u64,
    /// Notices that were given up, because nobody took them in time or ever will.
    pub given_up: u64,
    /// Notices that found the queue full, and changes that were lost on the way to it.
    pub dropped: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Notices that wait.
    pub waiting: u64,
    /// The error of the last attempt; `None` where it succeeded.
    pub error: Option<Arc<str>>,
    /// The Unix time of the last success.
    pub last_success: Option<Duration>,
}

impl Notifications {
    /// Changes the numbers of a destination.
    pub fn update(&self, destination: &str, change: impl FnOnce(&mut Delivery)) {
        let mut all = self.lock();
        match all.get_mut(destination) {
            Some(delivery) => change(delivery),
            None => change(all.entry(destination.to_owned()).or_default()),
        }
    }

    /// Forgets the destinations that are not among `names`.
    pub fn keep(&self, names: &[&str]) {
        self.lock().retain(|name, _| names.contains(&name.as_str()));
    }

    /// The destinations by name.
    pub fn all(&self) -> BTreeMap<String, Delivery> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
