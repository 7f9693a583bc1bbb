//! The running server: load → bind → first round → serve → notify → signals → drain.
//!
//! ```text
//! signals ─┐                                  ┌─► publication: queries, then readers, then the log
//! probing ─┤                                  ├─► state: write-ahead, on a thread of its own
//! files ───┼─► the loop ─ events ─► publisher ┤
//! state ───┤                                  └─► operators: answers
//! operators┘
//! ```
//! Each part has a file in `daemon/`: it is started, has one input of the loop (`next`), and is
//! stopped. One tokio runtime carries the probes, the control API and the loop; queries are answered
//! by the transports' own threads, which only ever read what is published. The loop waits for nothing
//! but its next input.

mod answering;
mod changes;
mod descriptors;
mod directory;
mod first_round;
mod operators;
mod probing;
mod publication;
mod readiness;
mod reload;
mod retired;
mod signals;
mod start;
mod state;
mod timers;
mod watch;
mod work;

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::changes::Change;
use crate::clock::Clock;
use crate::commit::End;
use crate::config::{Config, TcpLimits};
use crate::control::{
    self, Audit, Control, DrillDesk, Gate, Liveness, Reloads, Request, Started, StatePlace,
};
use crate::dataset::{Dataset, Published, Snapshot};
use crate::dnstap::{Tap, Tapping};
use crate::health::Outcome;
use crate::model::{Moment, TargetId};
use crate::probe::{Observed, ProbeLimit, Prober, Sight};
use crate::publisher::{Effect, Event, ProbeEvent, Publisher, UnitEvent};
use crate::server::{BindError, notify};
use crate::units::UnitRecords;

use answering::{Answering, Listen};
use changes::ChangeLog;
use descriptors::Shares;
use first_round::Beside;
use operators::Operators;
use probing::{Probed, Probing};
use publication::Publication;
use readiness::Announcer;
use reload::{Asked, Copies, FileInput, Files};
use signals::{Signals, Wish};
use start::Start;
use state::State;
use timers::{Timer, Timers};

/// A loop that is late by so much was stopped, or had no processor.
const STALL: Duration = Duration::from_millis(500);
/// The time that the end waits for each of the last writes.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Hears of the start, once queries are answered.
type Starter = Box<dyn FnOnce(&Snapshot) + Send>;
/// Hears what every publication changed; called after the queries see it.
type Observer = Box<dyn FnMut(&Snapshot, &[Change]) + Send>;

/// Hears how each reload ended: a summary of what is served now, or every diagnostic.
type Reloader = Box<dyn FnMut(Result<&str, &str>) + Send>;

/// The events of a running server that a caller wants to hear.
#[derive(Default)]
pub struct Hooks {
    /// Called once, when queries are answered.
    pub started: Option<Starter>,
    /// Called at every publication.
    pub published: Option<Observer>,
    /// Called at the end of every reload.
    pub reloaded: Option<Reloader>,
}

/// The reason why the server did not start.
#[derive(Debug)]
pub enum Failure {
    /// The files are wrong and no last good ones are kept; all diagnostics.
    Files(String),
    /// Listen addresses that cannot be had.
    Bind(Vec<BindError>),
    /// The operating system refused something else.
    System(&'static str, std::io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Files(text) => f.write_str(text.trim_end()),
            Failure::System(what, error) => write!(f, "meridian: cannot {what}: {error}"),
            Failure::Bind(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    let separator = if index > 0 { "\n" } else { "" };
                    write!(f, "{separator}meridian: {error} ({})", error.hint())?;
                }
                Ok(())
            }
        }
    }
}

/// Runs the server with the files at `config` until SIGTERM or SIGINT. With `first_units`, units
/// without recorded state belong to the owners in the files from the beginning.
pub fn run(config: &Path, first_units: bool, hooks: Hooks) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::System("start the runtime", error))?;
    let hangup = {
        let _inside = runtime.enter();
        Signals::catch_hangup().map_err(|error| Failure::System("handle signals", error))?
    };
    let start = start::load(config)?;
    let served = runtime.block_on(async {
        let signals =
            Signals::catch(hangup).map_err(|error| Failure::System("handle signals", error))?;
        serve(config.to_owned(), first_units, start, signals, hooks).await
    });
    // A reload under way is of no use any more, and nothing else is left to wait for.
    runtime.shutdown_background();
    served
}

/// Starts and connects the parts, and runs the loop until the end.
async fn serve(
    config: PathBuf,
    first_units: bool,
    start: Start,
    signals: Signals,
    hooks: Hooks,
) -> Result<(), Failure> {
    let (dataset, clock) = (start.dataset, Clock);
    let server = &dataset.config.server;
    // A taken port is the most common mistake: it ends the start before five seconds of probing do.
    let listen = Listen::check(server)?;
    let started = Started::default();
    // The admin address answers during the first round: a supervisor can tell a slow start from a
    // dead process.
    let gate = Arc::new(Gate::new(dataset.config.admin.as_ref()));
    let shares = open_admin(&dataset.config, &listen, &gate, &started)?;
    notify::status("starting: no query is answered before the first round of probes has ended");

    let log = ChangeLog::start(hooks.published).map_err(thread)?;
    let begun = begin(&dataset, first_units, shares.probes, &log, clock).await;
    let (inputs, files) = Files::start(config, start.built, start.last_good, hooks.reloaded);
    let mut daemon = connect(
        begun,
        files,
        &dataset,
        &listen,
        &shares,
        log,
        (&started, gate),
    )?;
    // Only now: files that compile but cannot be served are no good ones to fall back to.
    daemon.keep_last_good(inputs, Copies::All);
    daemon.handle(Event::Tick);
    daemon.answering.log_addresses();
    tracing::info!("started: {}", daemon.summary());
    if let Some(started) = hooks.started {
        started(&daemon.publication.snapshot());
    }
    // A reload replaces it; nothing of it is to stay then.
    drop(dataset);
    daemon.run(signals).await;
    daemon.stop().await;
    Ok(())
}

/// Starts what answers and what feeds the loop, and connects both with it.
fn connect(
    begun: Begun,
    files: Files,
    dataset: &Dataset,
    listen: &Listen,
    shares: &Shares,
    log: ChangeLog,
    (started, gate): (&Started, Arc<Gate>),
) -> Result<Daemon, Failure> {
    let (mut publisher, mut state, clock) = (begun.publisher, begun.state, Clock);
    // After the first round: until then the kernel refuses queries, and resolvers go elsewhere at
    // once.
    let listeners = listen.bind()?;
    publisher.count_for(listeners.threads());
    let published = Arc::new(Published::new(publisher.snapshot()));
    let limits = TcpLimits {
        connections: shares.tcp,
        ..dataset.config.server.tcp
    };
    let mut tap = dataset.config.dnstap.clone().map(Tap::new);
    let (answering, counters) =
        Answering::start(listeners, limits, &published, tap.as_mut(), clock)
            .map_err(|error| Failure::System("start the transports", error))?;
    let node = &dataset.config.server.node;
    let tapping = tap.map(|tap| tap.start(node, published.clone()));
    let (tapping, sampled) = tapping.transpose().map_err(thread)?.unzip();
    let (requests, operators) = Operators::new();
    let (desk, drills) = DrillDesk::new();
    let (tallies, events) = (log.tallies(), log.events());
    let (publication, read_model) =
        Publication::start(published.clone(), &mut publisher, log, clock.now());
    let last_reload = reload::at_start(files.known.last_good);
    let control = Control {
        published,
        counters,
        server: answering.server.counters(),
        sampled: Arc::new(sampled.unwrap_or_default()),
        // Nobody is to find the loop late before it has begun.
        liveness: Arc::new(Liveness::new(clock.now())),
        work: Arc::default(),
        requests,
        reloads: Arc::new(Reloads::from_pointee(last_reload)),
        probes: begun.prober.counters(),
        tallies,
        events: events.clone(),
        populations: Arc::default(),
        answers: Arc::default(),
        notifications: Arc::default(),
        gate,
        audit: Audit::start().map_err(thread)?,
        drills: desk,
        state: read_model,
    };
    let (published, fates) = (control.published.clone(), control.notifications.clone());
    crate::notify::start(&events, published, fates).map_err(thread)?;
    let liveness = control.liveness.clone();
    watch::start(liveness, clock, answering.server.stalls()).map_err(thread)?;
    // Set here and nowhere else.
    let _ = started.set(control.clone());
    state.serve(&control);
    let audited = state.directory().adopted_path();
    let config = &dataset.config;
    control
        .audit
        .place(&config.server.node, audited, config.audit);
    let jobs = probing::jobs(dataset);
    let (generation, limit) = (publisher.generation(), shares.probes);
    let probing = Probing::start(begun.prober, limit, generation, jobs, begun.beside)
        .map_err(|error| Failure::System("start the probes", error))?;
    // Before the loop: its first tick may already have something to write.
    state.start_writer(begun.units).map_err(thread)?;
    // From here on the loop writes what is to be kept.
    publisher.switch_history(state.has_writer());
    let given_up = publisher.switch_overrides(state.directory().is_adopted());
    let mut daemon = Daemon {
        clock,
        publisher,
        publication,
        answering,
        tapping,
        probing,
        state,
        operators,
        files,
        control,
        state_place: StatePlace::default(),
        announcer: Announcer::default(),
    };
    daemon.take(given_up);
    daemon.show_state_place();
    // Last: it finds overrides that drills of a process before have left.
    let place = daemon.state_place.clone();
    tokio::spawn(control::drive_drills(daemon.control.clone(), drills, place));
    Ok(daemon)
}

/// The state of the server before it answers.
struct Begun {
    publisher: Publisher,
    state: State,
    /// The records of units in the state directory.
    units: UnitRecords,
    prober: Arc<Prober>,
    beside: Option<Beside>,
}

/// Adopts the state directory, and probes what is not known from before.
async fn begin(
    dataset: &Arc<Dataset>,
    first_units: bool,
    limit: ProbeLimit,
    log: &ChangeLog,
    clock: Clock,
) -> Begun {
    let prober = probing::prober(clock, &dataset.config.server);
    let path = crate::state::state_directory(dataset.config.server.state.clone());
    let (mut publisher, unknown) = first_round::begin(dataset, path.as_deref(), &prober);
    let (state, mut found) = State::adopt(path.as_deref(), clock.wall());
    if first_units {
        state.directory().begin_units(&dataset.config, &mut found);
    }
    let units = found.records().clone();
    // Before the first round: what operators and units say of a target counts from its first outcome.
    for event in found.events() {
        log.send_effects(publisher.handle(event, clock.now()), clock.wall());
    }
    first_round::log_unrouted(dataset);
    let jobs = probing::jobs(dataset);
    let beside =
        first_round::first_round(&prober, limit, &mut publisher, log, &jobs, &unknown).await;
    Begun {
        publisher,
        state,
        units,
        prober,
        beside,
    }
}

/// Opens the admin addresses, which answer `/healthz` from now on, and shares out the descriptors.
fn open_admin(
    config: &Config,
    listen: &Listen,
    gate: &Arc<Gate>,
    started: &Started,
) -> Result<Shares, Failure> {
    let admin = match &config.admin {
        Some(spec) => {
            gate.read_certificate(Some(spec));
            let admin = control::bind(spec, gate.clone());
            Some(admin.map_err(|error| Failure::Bind(vec![error]))?)
        }
        None => None,
    };
    let limits = config.admin.as_ref().map(|spec| spec.limits);
    let (sockets, watched) = (listen.sockets(), config.watched());
    let shares = Shares::of_process(&config.server, limits, sockets, watched)
        .map_err(|error| Failure::System("read the limit of open files", error))?;
    if let Some(admin) = admin {
        let (connections, streams) = (shares.admin, shares.streams);
        tokio::spawn(control::serve(admin, connections, streams, started.clone()));
    }
    Ok(shares)
}

fn thread(error: io::Error) -> Failure {
    Failure::System("start a thread", error)
}

/// One input of the loop, by the part that it comes from.
enum Input {
    Probed(Probed),
    Written(End),
    Operator(Request),
    File(FileInput),
    Timer(Timer),
    Signal(Wish),
}

/// The parts, and the publisher that they feed and carry out the effects of.
struct Daemon {
    clock: Clock,
    publisher: Publisher,
    publication: Publication,
    answering: Answering,
    /// `None` where no query is sampled.
    tapping: Option<Tapping>,
    probing: Probing,
    state: State,
    operators: Operators,
    files: Files,
    /// The parts that the control interfaces share with the loop.
    control: Control,
    /// The state directory, as tasks that write there themselves know it.
    state_place: StatePlace,
    announcer: Announcer,
}

impl Daemon {
    /// Follows the inputs of all parts until one of them means the end.
    async fn run(&mut self, mut signals: Signals) {
        let mut timers = Timers::new(self.clock);
        let mut begun = self.clock.now();
        loop {
            // Every turn announces: any input may change readiness, and most change nothing, which
            // is cheap.
            let now = self.turn();
            self.announce();
            self.control.liveness.count_turn(now.since(begun));
            let deadline = self.publisher.next_deadline();
            let fences = self.publisher.awaits_seen_by_all();
            let input = tokio::select! {
                probed = self.probing.next() => Input::Probed(probed),
                end = self.state.next() => Input::Written(end),
                request = self.operators.next() => Input::Operator(request),
                input = self.files.next() => Input::File(input),
                timer = timers.next(deadline, fences) => Input::Timer(timer),
                // No arm is first (`biased` is not set): a flood of outcomes starves neither
                // operators nor signals.
                wish = signals.next() => Input::Signal(wish),
            };
            begun = self.clock.now();
            if self.take_input(input).is_break() {
                return;
            }
        }
    }

    /// Takes one input; breaks where it means the end.
    fn take_input(&mut self, input: Input) -> ControlFlow<()> {
        match input {
            Input::Probed(Probed::Lost) => {
                tracing::error!(
                    "probe scheduler ended, which is a fault of Meridian: stopping, so that the service manager restarts the server"
                );
                return ControlFlow::Break(());
            }
            Input::Probed(probed) => self.take_probed(probed),
            Input::Written(end) => {
                self.control.tallies.count_write(&end);
                self.operators.set_write(Some(&end));
                self.handle(Event::Committed(end));
                self.operators.set_write(None);
            }
            Input::Operator(request) => self.answer(request),
            Input::File(FileInput::Reloaded(finished)) => self.finish_reload(finished),
            Input::File(FileInput::Looked(seen)) => self.take_look(seen),
            Input::Timer(timer) => self.take_timer(timer),
            Input::Signal(Wish::Reload) => self.ask_reload(Asked::by_signal()),
            Input::Signal(Wish::Stop) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn take_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Deadline => self.handle(Event::Tick),
            Timer::Second => {
                // Outcomes that publish nothing reach readers here, at most a second late.
                let now = self.clock.now();
                self.publication.tell_readers(&mut self.publisher, now);
                if self.answering.follow_wall() {
                    // Files with times of day are dated by the clock that was.
                    self.handle(Event::ClockSet);
                }
                self.watch_work();
                self.watch_geo();
                self.publication.free_retired();
            }
            Timer::Fence => {
                let publication = self.publication.seen_by_all();
                self.handle(UnitEvent::SeenByAll { publication });
            }
            // The loop has turned, which is all that is wanted.
            Timer::Turn => {}
        }
    }

    fn take_probed(&mut self, probed: Probed) {
        match probed {
            Probed::Outcomes(batch) => {
                for observed in batch {
                    self.observe(observed);
                }
                let now = self.clock.now();
                self.publication.tell_readers_much(&mut self.publisher, now);
            }
            // It began with the start's files; new targets of later ones are probed by their reload.
            Probed::First(target, outcome) => self.observe(Observed {
                generation: 0,
                target,
                sight: Sight::Outcome(outcome),
            }),
            Probed::FirstRoundEnded => self.handle(ProbeEvent::FirstRoundEnded),
            Probed::Lost => {}
        }
    }

    fn observe(&mut self, observed: Observed) {
        let Observed {
            generation,
            target,
            sight,
        } = observed;
        let event = match sight {
            Sight::Outcome(outcome) => {
                self.show(generation, target, &outcome);
                ProbeEvent::Outcome {
                    generation,
                    target,
                    outcome,
                }
            }
            Sight::Watch(watch) => ProbeEvent::Watch {
                generation,
                target,
                watch,
            },
        };
        self.handle(event);
    }

    /// Logs an outcome for those who look for it.
    fn show(&self, generation: u32, target: TargetId, outcome: &Outcome) {
        // Text is made only where it is wanted: thousands of probes may end in a second. A target
        // of another generation has no entry in this configuration, or another's.
        if tracing::enabled!(tracing::Level::DEBUG) && generation == self.publisher.generation() {
            let config = &self.publisher.dataset().config;
            let probed = &config.targets[target.index()];
            let check = &config.checks[probed.check.index()].name;
            let seconds = outcome.phases.total().as_secs_f64();
            tracing::debug!(
                "endpoint {} check {check}: {} after {seconds:.6} s",
                probed.target,
                outcome.seen
            );
        }
    }

    /// Has the publisher handle an event, and carries out its effects.
    fn handle(&mut self, event: impl Into<Event>) {
        let now = self.turn();
        let effects = self.publisher.handle(event, now);
        self.take(effects);
    }

    /// Notes that the loop turns. Where it was late, deadlines move before anything is judged by them.
    fn turn(&mut self) -> Moment {
        let now = self.clock.now();
        let late = self.control.liveness.late(now);
        if late >= STALL {
            self.publisher.stalled(late, now);
        }
        self.control.liveness.turn(now);
        now
    }

    /// Carries out effects.
    fn take(&mut self, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let (mut snapshot, mut is_answered, mut early) = (None, false, Vec::new());
        for effect in &effects {
            match effect {
                Effect::ProbeEarly(probe) => early.push(*probe),
                Effect::Publish(new) => snapshot = Some(new.clone()),
                Effect::Answer { .. } => is_answered = true,
                Effect::Changed(_) | Effect::Commit(_) => {}
            }
        }
        // Queries come first: the rest of a failure under thousands of services takes milliseconds.
        if let Some(snapshot) = &snapshot {
            self.publication
                .publish(snapshot, self.publisher.publication());
        }
        if !early.is_empty() {
            self.probing.probe_early(self.publisher.generation(), early);
        }
        // Readers come before operators, who are to find done what they are told is done.
        if snapshot.is_some() || is_answered {
            let now = self.clock.now();
            self.publication.tell_readers(&mut self.publisher, now);
        }
        // One reading for all effects: the files and the log date one event alike.
        let wall = self.clock.wall();
        let mut changes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Publish(_) | Effect::ProbeEarly(_) => {}
                Effect::Changed(change) => changes.push(change),
                Effect::Commit(commit) => self.state.write(commit, wall),
                Effect::Answer { request, result } => self.operators.answer(request, result),
            }
        }
        self.publication.log(changes, snapshot.as_ref(), wall);
        self.publication.free_retired();
    }

    /// Stops the parts: those that answer first, and each of the others once nothing feeds it.
    async fn stop(mut self) {
        self.control.liveness.stop();
        notify::stopping("answering the queued queries");
        tracing::info!("stopping: answering the queued queries");
        // Handed over before the threads stop, so that the disk works while they answer what is
        // queued.
        let history = self.publisher.last_history(self.clock.now());
        let writer = self.state.write_last(history, self.clock.wall());
        tokio::task::block_in_place(|| self.answering.server.stop());
        if let Some(tapping) = self.tapping {
            tokio::task::block_in_place(|| tapping.stop());
        }
        self.files.finish(LAST_WRITE).await;
        if writer.is_some_and(|writer| !tokio::task::block_in_place(|| writer.finish(LAST_WRITE))) {
            tracing::warn!(
                "health history not written within {LAST_WRITE:?}: stopping without it; the next start uses an older one"
            );
        }
        // The lock goes after the wait for the last write: a successor reads what was written.
        self.state.leave();
        tokio::task::block_in_place(|| self.publication.finish(LAST_WRITE));
        tracing::info!("stopped");
    }

    /// The size of what is served.
    fn summary(&self) -> String {
        summary(&self.publication.snapshot().dataset)
    }
}

fn summary(dataset: &Dataset) -> String {
    let config = &dataset.config;
    let failover = dataset.failover.as_deref();
    format!(
        "{}, {}, {} in {}, {}{}",
        counted(config.zones.len(), "zone"),
        counted(dataset.names.len(), "name"),
        counted(config.services.len(), "service"),
        counted(config.regions.len(), "region"),
        counted(config.targets.len(), "probe target"),
        failover.map_or_else(String::new, |clause| format!("; {clause}")),
    )
}

/// A number of things, as in `2 zones`.
fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}
