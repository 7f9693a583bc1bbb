//! Delivery: the task of one destination takes what waits for it, and tries until it is taken or
//! too old.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use super::failed::Failed;
use super::incident::Notice;
use super::message::{Message, NOTICES};
use super::queue::Queue;
use super::{hook, webhook};
use crate::clock::Clock;
use crate::control::Notifications;
use crate::model::{Channel, NotifySpec, Roots, WebhookBody, WebhookSpec};

/// The time within which changes go out together: a failure under many services comes in pieces.
const TOGETHER: Duration = Duration::from_secs(1);
/// The first pause before another attempt, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// While a destination fails, this much time lies between two lines of the log about it.
const QUIET: Duration = Duration::from_secs(600);

/// A destination, and this node's name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    pub(super) spec: Arc<NotifySpec>,
    pub(super) node: Arc<str>,
}

/// The task of one destination.
pub(super) struct Courier {
    pub(super) queue: Arc<Queue>,
    /// The destination as the files have it now.
    pub(super) assignment: watch::Receiver<Assignment>,
    pub(super) fates: Arc<Notifications>,
    /// Turns of programs, for all destinations together.
    pub(super) programs: Arc<Semaphore>,
    /// The client, and the authorities that it was made with.
    client: Option<(Option<Roots>, Client)>,
    trouble: Option<Trouble>,
}

/// The trouble with a destination since its last success.
struct Trouble {
    logged: Instant,
    given_up: u64,
}

impl Courier {
    pub(super) fn new(
        queue: Arc<Queue>,
        assignment: watch::Receiver<Assignment>,
        fates: Arc<Notifications>,
        programs: Arc<Semaphore>,
    ) -> Courier {
        Courier {
            queue,
            assignment,
            fates,
            programs,
            client: None,
            trouble: None,
        }
    }

    /// Delivers until the destination is gone from the files.
    pub(super) async fn run(mut self) {
        loop {
            self.queue.wait().await;
            let most = self.most();
            if most > 1 {
                sleep(TOGETHER).await;
            }
            let (notices, lost) = self.queue.take(most);
            if notices.is_empty() {
                continue;
            }
            if !self.deliver(&notices, lost).await {
                // The next message tells of them, as it does of those that found no room.
                self.queue.lose(lost + notices.len() as u64);
            }
        }
    }

    /// The number of notices that one message may have.
    fn most(&self) -> usize {
        let assignment = self.assignment.borrow();
        match &assignment.spec.channel {
            Channel::Webhook(webhook) => match webhook.body {
                WebhookBody::Json | WebhookBody::Slack => NOTICES,
                WebhookBody::Template { .. } => 1,
            },
            Channel::Exec(_) => 1,
        }
    }

    /// Tries until the message is taken or given up; true where it was taken.
    async fn deliver(&mut self, notices: &[Notice], lost: u64) -> bool {
        let (begun, count) = (Instant::now(), notices.len() as u64);
        let mut pause = PAUSES.0;
        loop {
            // The files may have changed since the last attempt.
            let assignment = self.assignment.borrow_and_update().clone();
            let message = Message {
                node: &assignment.node,
                lost,
                notices,
            };
            let Err(failed) = self.attempt(&assignment.spec, &message).await else {
                self.succeeded(&assignment.spec.name, count);
                return true;
            };
            let wait = jittered(failed.pause.unwrap_or(pause));
            let is_over = failed.is_final || begun.elapsed() + wait > assignment.spec.give_up;
            self.failed(
                &assignment.spec.name,
                &failed.why,
                if is_over { count } else { 0 },
            );
            if is_over {
                return false;
            }
            tokio::select! {
                () = sleep(wait) => {}
                // A corrected destination is tried at once.
                changed = self.assignment.changed() => if changed.is_err() { return false },
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn attempt(&mut self, spec: &NotifySpec, message: &Message<'_>) -> Result<(), Failed> {
        match &spec.channel {
            Channel::Webhook(webhook) => {
                let client = self.client(webhook)?;
                let body = message.body(&webhook.body);
                let clock = Clock;
                let unix = clock.wall().unix(clock.now()).as_secs();
                webhook::post(&client, webhook, body, spec.timeout, unix).await
            }
            Channel::Exec(command) => {
                let turn = self.programs.clone().acquire_owned().await;
                let turn = turn.expect("nothing closes the semaphore");
                hook::run(command, message, spec.timeout, turn).await
            }
        }
    }

    /// The client for a webhook: made anew where it trusts others than before.
    fn client(&mut self, spec: &WebhookSpec) -> Result<Client, Failed> {
        if let Some((roots, client)) = &self.client
            && *roots == spec.roots
        {
            return Ok(client.clone());
        }
        let client = webhook::client(spec.roots.as_ref())?;
        self.client = Some((spec.roots.clone(), client.clone()));
        Ok(client)
    }

    fn succeeded(&mut self, name: &str, count: u64) {
        let clock = Clock;
        let unix = clock.wall().unix(clock.now());
        let waiting = self.queue.len() as u64;
        self.fates.update(name, |fate| {
            fate.delivered += count;
            fate.waiting = waiting;
            fate.error = None;
            fate.last_success = Some(unix);
        });
        if let Some(trouble) = self.trouble.take() {
            match trouble.given_up {
                0 => tracing::info!("notification {name} is delivered again"),
                lost => tracing::info!(
                    "notification {name} is delivered again; {lost} notices were given up meanwhile"
                ),
            }
        }
    }

    fn failed(&mut self, name: &str, why: &str, given_up: u64) {
        let waiting = self.queue.len() as u64;
        self.fates.update(name, |fate| {
            fate.failed_attempts += 1;
            fate.given_up += given_up;
            fate.waiting = waiting;
            fate.error = Some(why.into());
        });
        let is_new = self.trouble.is_none();
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            logged: Instant::now(),
            given_up: 0,
        });
        trouble.given_up += given_up;
        if !is_new && trouble.logged.elapsed() < QUIET {
            return;
        }
        trouble.logged = Instant::now();
        let fate = match trouble.given_up {
            0 => "it is tried again".to_owned(),
            lost => format!("{lost} notices given up so far"),
        };
        tracing::warn!("notification {name} is not delivered: {why}; {fate}");
    }
}

/// A pause that is up to a quarter shorter or longer, so that many nodes do not come back together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}
