//! Operators: their requests, and those who wait for an answer.
//!
//! A command is answered once what was asked for is on the disk, which the loop does not wait for: the
//! operator does, and not for long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Daemon;
use super::reload::Asked;
use crate::commit::{End, Outcome, Revision};
use crate::config::Config;
use crate::control::{Command, Durable, Request, Stale};
use crate::model::{Moment, RegionId, ServiceId};
use crate::publisher::{AcmeEvent, Done, Event, NotDone, OverrideEvent, ProbeEvent, UnitEvent};
use crate::recovery::NotResumed;
use crate::units;

/// The time that operators wait for the state directory.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The most requests that wait for the loop.
const REQUESTS: usize = 64;

/// The way back to an operator.
type Reply = oneshot::Sender<Result<Durable, NotDone>>;

/// The loop's end of the control interfaces.
pub(super) struct Operators {
    requests: mpsc::Receiver<Request>,
    /// By number: those who wait until their command is on the disk.
    waiting: HashMap<u64, Waiting>,
    /// The number of the last command.
    count: u64,
    /// The revision of the write whose end is being handled: the answers that follow from it have it.
    revision: Option<Revision>,
}

/// An operator who waits for an answer.
struct Waiting {
    since: Moment,
    reply: Reply,
}

impl Operators {
    /// A queue of requests, and its other end.
    pub(super) fn new() -> (mpsc::Sender<Request>, Operators) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let operators = Operators {
            requests,
            waiting: HashMap::new(),
            count: 0,
            revision: None,
        };
        (sender, operators)
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // Nobody can ask any more: the process ends.
            None => std::future::pending().await,
        }
    }

    /// Takes in that the end of a write is about to be handled, or that nothing is any more.
    pub(super) fn set_write(&mut self, end: Option<&End>) {
        self.revision = match end.map(|end| &end.outcome) {
            Some(Outcome::Committed(revision)) => Some(*revision),
            _ => None,
        };
    }

    /// Answers a command by its number.
    pub(super) fn answer(&mut self, request: u64, result: Result<Done, NotDone>) {
        if let Some(waiting) = self.waiting.remove(&request) {
            // Whoever asked may have gone.
            let revision = self.revision;
            let _ = waiting
                .reply
                .send(result.map(|done| Durable { done, revision }));
        }
    }

    /// Answers those who have waited too long for a disk that hangs.
    pub(super) fn give_up(&mut self, now: Moment) {
        let overdue = |waiting: &Waiting| now.since(waiting.since) >= PATIENCE;
        for (_, waiting) in self.waiting.extract_if(|_, waiting| overdue(waiting)) {
            let seconds = now.since(waiting.since).as_secs();
            let why = format!("the state directory has not answered for {seconds} s");
            // The write may still succeed, so the answer can claim neither success nor failure.
            let _ = waiting.reply.send(Err(NotDone::NotKnown(why)));
        }
    }
}

impl Daemon {
    /// Does what a request asks for, or begins it.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Reload { force, reply } => self.ask_reload(Asked::by_operator(force, reply)),
            Request::Report {
                config,
                targets,
                report,
                reply,
            } => {
                let current = self.check_current(&config);
                if current.is_ok() {
                    for target in targets {
                        let report = report.clone();
                        self.handle(ProbeEvent::Report { target, report });
                    }
                }
                let _ = reply.send(current);
            }
            Request::Resume {
                config,
                service,
                region,
                reply,
            } => {
                let current = self.check_current(&config);
                let _ = reply.send(current.map(|()| self.resume(service, region)));
            }
            Request::Command { command, reply } => self.carry_out(command, reply),
            Request::Tell(change) => self.handle(Event::Told(change)),
        }
    }

    /// Has the publisher carry out an operator's command, which it may answer later.
    fn carry_out(&mut self, command: Command, reply: Reply) {
        // Refused at once rather than queued behind a write that may never end: nothing has changed
        // yet, so "not done" is certain.
        if let Some(why) = self.state.hangs(PATIENCE) {
            let _ = reply.send(Err(NotDone::NotPersisted(why)));
            return;
        }
        let request = self.operators.count + 1;
        match event_of(command, request, &self.publisher.dataset().config) {
            Ok(event) => {
                let since = self.clock.now();
                // Noted before the event is handled, which may answer at once.
                self.operators.count = request;
                self.operators
                    .waiting
                    .insert(request, Waiting { since, reply });
                self.handle(event);
            }
            Err(why) => drop(reply.send(Err(why))),
        }
    }

    /// Checks that ids of `config` are those of the dataset in use: a reload may have come between
    /// the request and its turn, and the same number would be another target or service.
    fn check_current(&self, config: &Arc<Config>) -> Result<(), Stale> {
        match Arc::ptr_eq(config, &self.publisher.dataset().config) {
            true => Ok(()),
            false => Err(Stale),
        }
    }

    /// Takes back what is held of a service, in one region or in all; the names of those regions.
    fn resume(
        &mut self,
        service: ServiceId,
        region: Option<RegionId>,
    ) -> Result<Vec<String>, NotResumed> {
        let config = self.publisher.dataset().config.clone();
        let held = self.publisher.held(service, region)?;
        let mut regions = Vec::with_capacity(held.len());
        for region in held {
            self.handle(Event::Resume { service, region });
            regions.push(config.region_name(region).to_owned());
        }
        Ok(regions)
    }
}

/// The publisher's event of a command, which is answered by its number. Ids hold for one dataset:
/// names are resolved here, in the loop, where no reload comes between this and the event.
fn event_of(command: Command, request: u64, config: &Config) -> Result<Event, NotDone> {
    Ok(match command {
        Command::MoveUnit {
            unit,
            region,
            force,
        } => UnitEvent::Move {
            request,
            unit: units::find_unit(config, &unit)?,
            region: units::find_region(config, &region)?,
            force,
        }
        .into(),
        Command::BeginUnits { name, epoch } => UnitEvent::Begin {
            request,
            units: units::find_units(config, &name)?,
            epoch,
        }
        .into(),
        Command::Override(asked) => OverrideEvent::Request { request, asked }.into(),
        Command::Release { what, force } => OverrideEvent::Release {
            request,
            what,
            force,
        }
        .into(),
        Command::AcceptLoss => OverrideEvent::AcceptLoss { request }.into(),
        Command::SetChallenge(asked) => AcmeEvent::Set { request, asked }.into(),
        Command::ClearChallenges { subject, value, by } => AcmeEvent::Clear {
            request,
            subject,
            value,
            by,
        }
        .into(),
    })
}
