//! Notifications: destinations outside are told of changes, by webhooks and by programs.
//!
//! ```text
//! Events ─► the thread "notify": filters, incidents ─► a bounded queue each ─► Courier: webhook, hook
//! ```
//! Everything happens on a thread of its own. Whoever makes changes waits for nothing here: what
//! this thread is too slow for, and what finds no room, is counted, and the next message says so.

mod delivery;
mod failed;
mod hook;
mod incident;
mod message;
mod queue;
mod webhook;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::config::Config;
use crate::control::{Events, Notifications, Recorded, Seen};
use crate::dataset::Published;
use crate::model::{Moment, NotifyFilter, NotifySpec};

use delivery::{Assignment, Courier};
use incident::{Incidents, Notice};
use queue::Queue;

/// The programs that run at once, of all destinations.
const PROGRAMS: usize = 4;
/// The time after which new files are looked for, and incidents that are over.
const TURN: Duration = Duration::from_secs(1);

/// Starts the thread that notifies the destinations of the files in force, for as long as the
/// process lives.
pub fn start(
    events: &Arc<Events>,
    published: Arc<Published>,
    fates: Arc<Notifications>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // From the first change on: what happened before the server answered counts as well.
    let mut changes = events.subscribe(Some(0));
    let work = async move {
        let mut notifier = Notifier {
            published,
            fates,
            config: Weak::new(),
            destinations: BTreeMap::new(),
            programs: Arc::new(Semaphore::new(PROGRAMS)),
        };
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                seen = changes.next() => {
                    notifier.follow_files();
                    notifier.take(&seen);
                }
                _ = turns.tick() => {
                    notifier.follow_files();
                    notifier.take_over();
                }
            }
        }
    };
    thread::Builder::new()
        .name("notify".to_owned())
        .spawn(move || runtime.block_on(work))?;
    Ok(())
}

/// The destinations, and what they are told.
struct Notifier {
    published: Arc<Published>,
    fates: Arc<Notifications>,
    /// The files that the destinations are from; not held, since others wait until they are left.
    config: Weak<Config>,
    destinations: BTreeMap<String, Destination>,
    programs: Arc<Semaphore>,
}

struct Destination {
    spec: Arc<NotifySpec>,
    assignment: watch::Sender<Assignment>,
    incidents: Incidents,
    queue: Arc<Queue>,
    courier: JoinHandle<()>,
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.courier.abort();
    }
}

impl Notifier {
    /// Takes the destinations of new files. Those of the same name keep their queue and their
    /// incidents.
    fn follow_files(&mut self) {
        let config = self.published.load().dataset.config.clone();
        let current = Arc::downgrade(&config);
        if current.ptr_eq(&self.config) {
            return;
        }
        self.config = current;
        let node: Arc<str> = config.server.node.as_str().into();
        let mut before = std::mem::take(&mut self.destinations);
        for spec in &config.notify {
            let spec = Arc::new(spec.clone());
            let assignment = Assignment {
                spec: spec.clone(),
                node: node.clone(),
            };
            let destination = match before.remove(&spec.name) {
                Some(mut same) => {
                    same.spec = spec.clone();
                    same.assignment.send_if_modified(|own| {
                        let is_new = *own != assignment;
                        *own = assignment;
                        is_new
                    });
                    same
                }
                None => self.begin(assignment),
            };
            self.destinations.insert(spec.name.clone(), destination);
        }
        let names: Vec<&str> = self.destinations.keys().map(String::as_str).collect();
        self.fates.keep(&names);
    }

    fn begin(&self, assignment: Assignment) -> Destination {
        let spec = assignment.spec.clone();
        // Shown from the beginning, with nothing delivered yet.
        self.fates.update(&spec.name, |_| {});
        let queue = Arc::<Queue>::default();
        let (assignment, receiver) = watch::channel(assignment);
        let courier = Courier::new(
            queue.clone(),
            receiver,
            self.fates.clone(),
            self.programs.clone(),
        );
        Destination {
            spec,
            assignment,
            incidents: Incidents::default(),
            queue,
            courier: tokio::spawn(courier.run()),
        }
    }

    fn take(&mut self, seen: &Seen) {
        let clock = Clock;
        let now = clock.now();
        match seen {
            Seen::Change(change) => {
                for (name, destination) in &mut self.destinations {
                    if let Some(notice) = destination.take(change, now) {
                        destination.push(notice, name, &self.fates);
                    }
                }
            }
            Seen::Lost(first, last) => {
                let count = last - first + 1;
                for (name, destination) in &self.destinations {
                    destination.queue.lose(count);
                    self.fates.update(name, |fate| fate.dropped += count);
                }
            }
            // This thread came with no place of another process.
            Seen::Restarted(_) => {}
        }
    }

    /// Tells of the incidents that are over.
    fn take_over(&mut self) {
        let clock = Clock;
        let now = clock.now();
        for (name, destination) in &mut self.destinations {
            for notice in destination.incidents.take_over(now) {
                destination.push(notice, name, &self.fates);
            }
        }
    }
}

impl Destination {
    /// The notice of a change, where the destination wants to hear of it.
    fn take(&mut self, change: &Arc<Recorded>, now: Moment) -> Option<Notice> {
        if !self.spec.filter.takes(change) {
            return None;
        }
        let notice = self.incidents.take(change, now, self.spec.resolve_after)?;
        (notice.severity() >= self.spec.filter.severity).then_some(notice)
    }

    fn push(&self, notice: Notice, name: &str, fates: &Notifications) {
        let dropped = self.queue.push(notice);
        let waiting = self.queue.len() as u64;
        fates.update(name, |fate| {
            fate.dropped += dropped;
            fate.waiting = waiting;
        });
    }
}

impl NotifyFilter {
    /// True for a change of the kinds, services and regions that are wanted.
    fn takes(&self, change: &Recorded) -> bool {
        let keys = &change.keys;
        let any = |list: &[String], test: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|own| test(own))
        };
        any(&self.kinds, &|kind| keys.kind == kind)
            && any(&self.services, &|service| keys.is_of_service(service))
            && any(&self.regions, &|region| keys.is_in_region(region))
    }
}

#[cfg(test)]
mod tests;
