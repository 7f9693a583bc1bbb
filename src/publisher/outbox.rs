//! The effects of one event, collected, and the numbers of changes.

use super::{Done, Effect, NotDone};
use crate::acme;
use crate::changes::{self, Change};
use crate::overrides;

/// The effects so far, in their order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    effects: Vec<Effect>,
    /// The number of the last change.
    changes: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Adds a change, under the next number.
    pub(super) fn change(&mut self, event: changes::Event) {
        // Readers of the event stream find a gap where changes were dropped.
        self.changes += 1;
        let number = self.changes;
        self.push(Effect::Changed(Change { number, event }));
    }

    /// Adds the answer to an operator's request.
    pub(super) fn answer(&mut self, request: u64, result: Result<Done, NotDone>) {
        self.push(Effect::Answer { request, result });
    }

    /// Adds outputs of the overrides, as the publisher's.
    pub(super) fn overrides(&mut self, outputs: impl IntoIterator<Item = overrides::Output>) {
        for output in outputs {
            match output {
                overrides::Output::Event(event) => self.change(changes::Event::Override(event)),
                overrides::Output::Write(write) => {
                    self.push(Effect::Commit(super::Commit::Overrides(write)));
                }
                overrides::Output::Answer { request, result } => {
                    let result = result.map(Done::Overrides).map_err(NotDone::from);
                    self.answer(request, result);
                }
            }
        }
    }

    /// Adds outputs of the ACME challenges, as the publisher's.
    pub(super) fn acme(&mut self, outputs: impl IntoIterator<Item = acme::Output>) {
        for output in outputs {
            match output {
                acme::Output::Event(event) => self.change(changes::Event::Acme(event)),
                acme::Output::Write(write) => {
                    self.push(Effect::Commit(super::Commit::Acme(write)));
                }
                acme::Output::Answer { request, result } => {
                    let result = result.map(Done::Acme).map_err(NotDone::from);
                    self.answer(request, result);
                }
            }
        }
    }

    /// Hands out the effects.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
