//! Readiness as it is announced: to the admin address at once, to systemd when it changes.

use std::time::Duration;

use super::Daemon;
use crate::readiness::{Conditions, ready};
use crate::server::notify;

/// The announcer's memory.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// The last readiness that systemd was told; `None` where it is to be told anew.
    told: Option<bool>,
}

impl Announcer {
    /// Has systemd told again: its status names what is served.
    pub(super) fn tell_again(&mut self) {
        self.told = None;
    }
}

impl Daemon {
    /// Announces whether this node is ready. systemd's READY means "started", whether or not this node
    /// should get queries; STATUS tells that.
    pub(super) fn announce(&mut self) {
        let conditions = self.conditions();
        // `/health` has the same reason as `/readyz`: readers are told together with the change.
        if self.control.liveness.set_conditions(conditions) {
            let now = self.clock.now();
            self.publication.tell_readers(&mut self.publisher, now);
        }
        // Zero: the loop that runs this line is not late.
        let ready = ready(&conditions, Duration::ZERO);
        // systemd takes READY for the end of a reload: none may be sent before.
        if self.files.is_reloading() {
            return;
        }
        if self.announcer.told.replace(ready.is_ok()) == Some(ready.is_ok()) {
            return;
        }
        match (ready, self.control.reloads.load().refused) {
            (Ok(()), None) => notify::ready(&format!("ready: {}", self.summary())),
            (Ok(()), Some(refused)) => notify::ready(&format!(
                "ready: {}; BUT {}",
                self.summary(),
                refused.as_str()
            )),
            (Err(why), _) => notify::ready(&format!("NOT READY: {why}")),
        }
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            is_starting: false,
            serves_last_good: self.files.known.last_good,
            lost_overrides: self.publisher.overrides_lost().is_some(),
            is_first_round: self.publisher.is_first_round(),
            is_isolated: self.publisher.health().is_isolated(),
        }
    }
}
