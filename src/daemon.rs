//! The running server: load → bind → first round → serve → notify → signals → drain.
//!
//! One tokio runtime carries the probes, the control API and the loop below, which feeds the
//! publisher; queries are answered by the transports' own threads, which only ever read what is
//! published.

mod changes;
mod descriptors;
mod first_round;
mod health;
mod reload;
mod retired;
mod units;
mod watch;
mod work;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::allocator;
use crate::answer::{Exchange, Query, Response, Worker, failed, respond, respond_all};
use crate::changes::Change;
use crate::clock::Clock;
use crate::commit::End;
use crate::config::{TcpLimits, UdpOptions};
use crate::control::{self, Control, Feed, Liveness, ReadModel, Reloads, Request, Started, TURN};
use crate::dataset::{Dataset, Published, Snapshot};
use crate::diag::render_text;
use crate::loader::{self, Built};
use crate::model::{Moment, WallTime};
use crate::probe::{Job, Observed, ProbeLimit, Prober, Scheduler};
use crate::publisher::{Effect, Event, ProbeEvent, Publisher, View};
use crate::readiness::{self, Conditions};
use crate::server::{self, BindError, Engine, Server, notify};
use crate::state::{self, StateWriter};

use changes::ChangeLog;
use descriptors::Shares;
use first_round::Beside;
use health::{next, state_writer};

use reload::{Asked, Copies, Files, Look, Reload, finished, looked};
use retired::Retired;
use units::{Asking, Directory};

/// How often the location databases are looked at for a change.
const GEO_WATCH: Duration = Duration::from_secs(1);
/// A wall clock that moves by so much between two looks was set.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// A loop that is late by so much was stopped, or had no processor.
const STALL: Duration = Duration::from_millis(500);
/// So many targets with news are told to readers at once, lest copying them all takes the loop long.
const VIEW_CHANGES: usize = 512;
/// How often the read model is brought up to date where nobody asks.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether every thread has left a last owner, while a fence waits for that.
const SEEN_BY_ALL: Duration = Duration::from_millis(20);
/// How long the end waits for the last write of the history of health.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Hears of the start, once queries are answered.
type Starter = Box<dyn FnOnce(&Snapshot) + Send>;
/// Hears what every publication changed; called after the queries see it.
type Observer = Box<dyn FnMut(&Snapshot, &[Change]) + Send>;

/// Hears how each reload ended: a summary of what is served now, or every diagnostic.
type Reloader = Box<dyn FnMut(Result<&str, &str>) + Send>;

/// What a caller wants to hear of a running server.
#[derive(Default)]
pub struct Hooks {
    /// Called once, when queries are answered.
    pub started: Option<Starter>,
    /// Called at every publication.
    pub published: Option<Observer>,
    /// Called at the end of every reload.
    pub reloaded: Option<Reloader>,
}

/// Why the server did not start.
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

/// Runs the server with the files at `config` until SIGTERM or SIGINT. With `first_units`, units of which nothing is known
/// are owned by whom the files name from the beginning.
pub fn run(config: &Path, first_units: bool, hooks: Hooks) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::System("start the runtime", error))?;
    let reloads = {
        let _inside = runtime.enter();
        outlive_signals()
            .and_then(|()| signal(SignalKind::hangup()))
            .map_err(|error| Failure::System("handle signals", error))?
    };
    let start = load(config)?;
    let served = runtime.block_on(serve(config.to_owned(), first_units, start, reloads, hooks));
    // A reload under way is of no use any more, and nothing else is left to wait for.
    runtime.shutdown_background();
    served
}

/// What the server starts from.
struct Start {
    dataset: Arc<Dataset>,
    built: Built,
    /// The files themselves are broken.
    last_good: bool,
}

fn load(config: &Path) -> Result<Start, Failure> {
    let mut built = loader::build(config);
    if let Some(dataset) = built.dataset.take() {
        warn_of(&built);
        return Ok(Start {
            dataset: Arc::new(dataset),
            built,
            last_good: false,
        });
    }
    let text = render_text(&built.diagnostics, &built.sources, false);
    let refused = |why: &dyn fmt::Display| {
        Failure::Files(format!(
            "{text}meridian: not started, and no last good files to serve instead: {why}"
        ))
    };
    let state = state::state_directory(loader::find_state(config))
        .ok_or_else(|| refused(&"there is no state directory"))?;
    if let Some(why) = state::objection(&state) {
        return Err(refused(&why));
    }
    let kept = state::load_last_good(&state).map_err(|why| refused(&why))?;
    let mut kept = loader::build_copies(&kept.config, kept.files);
    let Some(dataset) = kept.dataset.take() else {
        return Err(refused(&render_text(
            &kept.diagnostics,
            &kept.sources,
            false,
        )));
    };
    tracing::error!(
        "THE FILES ARE BROKEN; serving the last good ones, and not ready until they are mended and reloaded\n{text}"
    );
    Ok(Start {
        dataset: Arc::new(dataset),
        built: kept,
        last_good: true,
    })
}

fn warn_of(built: &Built) {
    for diagnostic in built.diagnostics.iter() {
        tracing::warn!("{diagnostic}");
    }
}

/// Signals that would end the process, and that nobody means by it, are taken and say nothing. They are taken rather than
/// ignored, so that programs of `exec` checks do not inherit that. SIGPIPE is ignored by the standard library.
fn outlive_signals() -> std::io::Result<()> {
    let others = [
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGPWR,
        libc::SIGXFSZ,
        libc::SIGSTKFLT,
    ];
    let named = [
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
        SignalKind::io(),
    ];
    let numbered = others
        .into_iter()
        .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
        .map(SignalKind::from_raw);
    named
        .into_iter()
        .chain(numbered)
        .try_for_each(|kind| signal(kind).map(drop))
}

async fn serve(
    config: PathBuf,
    first_units: bool,
    start: Start,
    hangup: Signal,
    hooks: Hooks,
) -> Result<(), Failure> {
    let signals = Signals::new(hangup).map_err(|error| Failure::System("handle signals", error))?;
    let Start {
        dataset,
        built,
        last_good,
    } = start;
    let (inputs, files) = Files::kept(built, last_good);
    let server_spec = &dataset.config.server;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = NonZeroUsize::new(server_spec.workers).unwrap_or(cores);
    let listen = match server_spec.listen_default {
        true => server::spoken(&server_spec.listen),
        false => server_spec.listen.clone(),
    };
    // A port that somebody holds is found now. Nobody reads these sockets yet, and so they are closed again: a query that comes
    // before there is anything to answer is refused by the kernel, and whoever asks goes on to another server at once.
    server::bind(&listen, NonZeroUsize::MIN, UdpOptions::default())
        .map(drop)
        .map_err(Failure::Bind)?;
    let (started, (requests, control)) = (Started::default(), mpsc::channel(64));
    let admin = match &dataset.config.admin {
        Some(admin) => {
            Some(control::bind(admin.clone()).map_err(|error| Failure::Bind(vec![error]))?)
        }
        None => None,
    };
    let sockets = listen.len() * (workers.get() + 1);
    let shares = Shares::of_process(server_spec, sockets)
        .map_err(|error| Failure::System("read the limit of open files", error))?;
    if let Some(admin) = admin {
        tokio::spawn(control::serve(admin, shares.admin, started.clone()));
    }
    notify::status("starting: no query is answered before the first round of probes has ended");

    let clock = Clock;
    let changes = ChangeLog::start(hooks.published)
        .map_err(|error| Failure::System("start a thread", error))?;
    let wall = Arc::new(AtomicI64::new(clock.wall().to_nanos()));
    let limit = shares.probes;
    let prober = Arc::new(Prober::new(clock).with_exec_processes(server_spec.exec_processes));
    prober.look_up_at(&server_spec.resolvers);
    let jobs = Job::all(&dataset.config.checks, &dataset.config.targets);
    let state = state::state_directory(dataset.config.server.state.clone());
    let usable = state
        .as_deref()
        .filter(|state| state::objection(state).is_none());
    let (mut publisher, unknown) = first_round::begin(&dataset, usable, &prober);
    let mut directory = Directory::default();
    let mut found = directory.take_up(state.as_deref(), clock.wall());
    if first_units {
        directory.begin_units(&dataset.config, &mut found);
    }
    let units = found.records().clone();
    found
        .events()
        .into_iter()
        .for_each(|event| changes.send_effects(publisher.handle(event, clock.now()), clock.wall()));
    first_round::say_unrouted(&dataset);
    let beside =
        first_round::first_round(&prober, limit, &mut publisher, &changes, &jobs, &unknown).await;
    let listeners = server::bind(&listen, workers, server_spec.udp).map_err(Failure::Bind)?;
    listeners.say_early();
    publisher.count_for(listeners.threads());
    let published = Arc::new(Published::new(publisher.snapshot()));
    let mut counters = Vec::new();
    let limits = TcpLimits {
        connections: shares.tcp,
        ..dataset.config.server.tcp
    };
    let server = Server::start(listeners, limits, |number| {
        let worker = Worker::numbered(server::seed(), number);
        counters.push(worker.counters.clone());
        Queries {
            published: published.clone(),
            current: published.load_full(),
            worker,
            wall: wall.clone(),
        }
    })
    .map_err(|error| Failure::System("start the transports", error))?;

    let reloads = Arc::new(Reloads::from_pointee(reload::at_start(last_good)));
    // Nobody is to find the loop late before it has begun.
    let liveness = Arc::new(Liveness::new(clock.now()));
    watch::start(liveness.clone(), clock, server.stalls())
        .map_err(|error| Failure::System("start a thread", error))?;
    let view = View::first(publisher.view_update(clock.now()));
    let (feed, read_model) = ReadModel::new(view.expect("a first update tells everything"));
    let shared = Control {
        published: published.clone(),
        counters,
        server: server.counters(),
        liveness,
        work: Arc::default(),
        requests,
        reloads,
        state: read_model,
    };
    // Set here and nowhere else.
    let _ = started.set(shared.clone());
    directory.serve(directory.bind(), &shared);
    tokio::spawn(read_regularly(shared.state.clone()));
    let (sender, outcomes) = mpsc::channel(16);
    let scheduler = Scheduler::spawn(prober.clone(), limit, publisher.generation(), jobs, sender)
        .map_err(|error| Failure::System("start the probes", error))?;
    let (persisted, writes) = mpsc::unbounded_channel();
    let writer = match usable {
        Some(state) => Some(
            state_writer(state, units, &persisted)
                .map_err(|error| Failure::System("start a thread", error))?,
        ),
        None => None,
    };
    // From here on the loop takes up what is to be kept.
    publisher.switch_history(writer.is_some());
    let given_up = publisher.switch_overrides(directory.is_taken_up());
    changes.send_effects(given_up, clock.wall());
    let mut daemon = Daemon {
        config,
        clock,
        wall,
        beside,
        writer,
        state,
        persisted,
        directory,
        control: shared,
        requests: HashMap::new(),
        requested: 0,
        feed,
        publication: publisher.publication(),
        publisher,
        published,
        retired: Retired::default(),
        prober,
        limit,
        scheduler,
        server,
        changes,
        reloader: hooks.reloaded,
        files,
        ready: None,
        reload: None,
        look: None,
        asked: None,
        keeping: None,
    };
    daemon.keep_last_good(inputs, Copies::All);
    daemon.handle(Event::Tick);
    daemon.say_started();
    if let Some(started) = hooks.started {
        started(&daemon.published.load());
    }
    // A reload replaces it; nothing of it is to stay then.
    drop(dataset);
    daemon.run(signals, outcomes, control, writes).await;
    Ok(())
}

/// The loop's state.
struct Daemon {
    config: PathBuf,
    clock: Clock,
    /// What the wall clock said when it was last looked at, for the threads that answer.
    wall: Arc<AtomicI64>,
    /// The first round, where it runs beside the answers.
    beside: Option<Beside>,
    /// Writes the history of health, where there is a state directory.
    writer: Option<StateWriter>,
    /// The directory it writes to.
    state: Option<PathBuf>,
    /// What it reports to.
    persisted: mpsc::UnboundedSender<End>,
    /// The same directory, for this process alone.
    directory: Directory,
    control: Control,
    /// Operators who are to be answered.
    requests: HashMap<u64, Asking>,
    /// Counts them.
    requested: u64,
    /// Tells readers what changed.
    feed: Feed,
    /// The number of the publication in `published`.
    publication: u64,
    publisher: Publisher,
    published: Arc<Published>,
    retired: Retired,
    prober: Arc<Prober>,
    limit: ProbeLimit,
    scheduler: Scheduler,
    server: Server,
    /// Renders changes for the log, and tells the observer of publications.
    changes: ChangeLog,
    reloader: Option<Reloader>,
    /// What is served was read from these.
    files: Files,
    /// What was last said of being ready.
    ready: Option<bool>,
    /// A reload under way.
    reload: Option<Reload>,
    /// A look at the location databases under way.
    look: Option<Look>,
    /// Another one that was asked for meanwhile.
    asked: Option<Asked>,
    /// The last good files are being written.
    keeping: Option<(Moment, JoinHandle<()>)>,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new(hangup: Signal) -> std::io::Result<Signals> {
        Ok(Signals {
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Daemon {
    async fn run(
        mut self,
        mut signals: Signals,
        mut outcomes: mpsc::Receiver<Vec<Observed>>,
        mut control: mpsc::Receiver<Request>,
        mut writes: mpsc::UnboundedReceiver<End>,
    ) {
        let mut turn = tokio::time::interval(TURN / 2);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut geo = tokio::time::interval(GEO_WATCH);
        geo.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen_by_all = tokio::time::interval(SEEN_BY_ALL);
        seen_by_all.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.turn();
            self.say_ready();
            let deadline = self
                .publisher
                .next_deadline()
                .map(|at| self.clock.instant(at));
            tokio::select! {
                received = outcomes.recv() => {
                    let Some(batch) = received else {
                        tracing::error!("the scheduler of probes has ended; leaving, to be restarted");
                        break;
                    };
                    for Observed { generation, target, outcome } in batch {
                        self.observe(generation, target, outcome);
                    }
                    self.tell_readers(VIEW_CHANGES);
                }
                outcome = next(&mut self.beside) => self.observe_first(outcome),
                Some(end) = writes.recv() => self.handle(Event::Committed(end)),
                () = sleep_until(deadline) => self.handle(Event::Tick),
                Some(request) = control.recv() => self.answer(request),
                _ = signals.hangup.recv() => self.ask_reload(Asked::new("SIGHUP")),
                reloaded = finished(&mut self.reload) => self.finish_reload(reloaded),
                seen = looked(&mut self.look) => self.take_look(seen),
                _ = geo.tick() => {
                    self.tell_readers(0);
                    self.watch_wall();
                    self.watch_work();
                    self.watch_geo();
                    self.free_retired();
                }
                _ = seen_by_all.tick(), if self.publisher.awaits_seen_by_all() => self.report_seen_by_all(),
                _ = turn.tick() => {}
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
        }
        self.control.liveness.stop();
        notify::stopping("answering what is queued");
        tracing::info!("stopping: answering what is queued");
        let writer = self.writer.take().map(|writer| self.write_last(writer));
        tokio::task::block_in_place(|| self.server.stop());
        if let Some((_, keeping)) = self.keeping {
            let _ = tokio::time::timeout(LAST_WRITE, keeping).await;
        }
        if writer.is_some_and(|writer| !tokio::task::block_in_place(|| writer.finish(LAST_WRITE))) {
            tracing::warn!(
                "the history of health is not written within {LAST_WRITE:?}; leaving without"
            );
        }
        self.directory.leave(None);
        tokio::task::block_in_place(|| self.changes.finish(LAST_WRITE));
        tracing::info!("stopped");
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn handle(&mut self, event: impl Into<Event>) {
        let now = self.turn();
        let effects = self.publisher.handle(event, now);
        self.take(effects);
    }

    /// The loop goes round. Where it was late, deadlines move before anything is judged by them.
    fn turn(&mut self) -> Moment {
        let now = self.now();
        let late = self.control.liveness.late(now);
        if late >= STALL {
            self.publisher.stalled(late, now);
        }
        self.control.liveness.turn(now);
        now
    }

    /// Does what the publisher asks for.
    fn take(&mut self, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let snapshot = effects.iter().rev().find_map(|effect| match effect {
            Effect::Publish(new) => Some(new.clone()),
            _ => None,
        });
        // Queries are answered by it first: what there is to say of thousands of services takes milliseconds.
        if let Some(snapshot) = &snapshot {
            let replaced = self.published.swap(snapshot.clone());
            self.retired.push(
                std::mem::replace(&mut self.publication, self.publisher.publication()),
                replaced,
            );
        }
        // Readers too, before an operator hears that something is done.
        let is_answer = |effect: &Effect| matches!(effect, Effect::Answer { .. });
        if snapshot.is_some() || effects.iter().any(is_answer) {
            self.feed.send(self.publisher.view_update(self.now()));
        }
        let wall = self.clock.wall();
        let mut changes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Changed(change) => changes.push(change),
                Effect::Publish(_) => {}
                Effect::Commit(commit) => {
                    if let Some(writer) = &self.writer {
                        writer.write(commit, wall);
                    }
                }
                Effect::Answer { request, result } => {
                    // Whoever asked may have gone.
                    self.requests
                        .remove(&request)
                        .map(|asking| asking.reply.send(result));
                }
            }
        }
        self.changes.send(changes, snapshot.as_ref(), wall);
        self.free_retired();
    }

    /// Tells readers what changed, where that are so many targets or more.
    fn tell_readers(&mut self, changes: usize) {
        if self.publisher.view_changes() >= changes {
            self.feed.send(self.publisher.view_update(self.now()));
        }
    }

    /// Frees the replaced snapshots that every thread has left, and gives a replaced dataset's memory back.
    fn free_retired(&mut self) {
        let freed = self.retired.free(&self.published.load().dataset);
        if !freed.is_empty() {
            tokio::task::spawn_blocking(move || {
                drop(freed);
                allocator::give_back();
            });
        }
    }

    /// The wall clock may be set at any time. What is shown follows it; what is kept is written anew.
    fn watch_wall(&mut self) {
        let wall = self.clock.wall();
        let before = WallTime::from_nanos(self.wall.swap(wall.to_nanos(), Ordering::Relaxed));
        let step = before.step_to(wall);
        if step < CLOCK_STEP {
            return;
        }
        let way = if wall.to_nanos() > before.to_nanos() {
            "ahead"
        } else {
            "back"
        };
        let step = humantime::format_duration(Duration::from_secs(step.as_secs()));
        tracing::warn!(
            "the wall clock was set {way} by {step}: overrides, fences and checks keep the time they have left"
        );
        self.handle(Event::ClockSet);
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Reload { force, reply } => self.ask_reload(Asked::by_operator(force, reply)),
            Request::Report {
                check,
                target,
                report,
                reply,
            } => {
                let target = self.publisher.push_target(&check, &target);
                if let Some(target) = target {
                    self.handle(ProbeEvent::Report { target, report });
                }
                let _ = reply.send(target.is_some());
            }
            Request::Resume {
                service,
                region,
                reply,
            } => {
                let _ = reply.send(self.resume(&service, region.as_deref()));
            }
            Request::Command { command, reply } => self.carry_out(command, reply),
        }
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            is_starting: false,
            serves_last_good: self.files.last_good,
            lost_overrides: self.publisher.overrides_lost().is_some(),
            is_first_round: self.publisher.is_first_round(),
            is_isolated: self.publisher.health().is_isolated(),
        }
    }

    fn say_started(&self) {
        for address in self.server.addresses() {
            tracing::info!("listening on {address}, UDP and TCP");
        }
        tracing::info!("started: {}", self.summary());
    }

    /// systemd's READY means "started", whether or not this node should get queries; STATUS says that.
    fn say_ready(&mut self) {
        let conditions = self.conditions();
        if self.control.liveness.set_conditions(conditions) {
            self.feed.send(self.publisher.view_update(self.now()));
        }
        let ready = readiness::ready(&conditions, Duration::ZERO);
        if self.reload.is_some() || self.ready.replace(ready.is_ok()) == Some(ready.is_ok()) {
            return;
        }
        match ready {
            Ok(()) => match self.control.reloads.load().refused {
                None => notify::ready(&format!("ready: {}", self.summary())),
                Some(refused) => notify::ready(&format!(
                    "ready: {}; BUT {}",
                    self.summary(),
                    refused.as_str()
                )),
            },
            Err(why) => notify::ready(&format!("NOT READY: {why}")),
        }
    }

    fn summary(&self) -> String {
        let snapshot = self.published.load();
        let config = &snapshot.dataset.config;
        let counted = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        let zones = [
            counted(config.zones.len(), "zone"),
            counted(snapshot.dataset.names.len(), "name"),
        ]
        .join(", ");
        let services = counted(config.services.len(), "service");
        let (regions, targets) = (
            counted(config.regions.len(), "region"),
            counted(config.targets.len(), "probe target"),
        );
        format!("{zones}, {services} in {regions}, {targets}")
    }
}

/// Takes in what the loop tells where nobody asks: what is told waits in memory until then.
async fn read_regularly(state: ReadModel) {
    let mut pause = tokio::time::interval(READ_PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        let state = state.clone();
        let _ = tokio::task::spawn_blocking(move || drop(state.read())).await;
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The engine of one transport thread.
struct Queries {
    published: Arc<Published>,
    current: Arc<Snapshot>,
    worker: Worker,
    wall: Arc<AtomicI64>,
}

impl Engine for Queries {
    type Rest = Infallible;

    fn refresh(&mut self) {
        self.worker.wall = WallTime::from_nanos(self.wall.load(Ordering::Relaxed));
        let newest = self.published.load();
        if !Arc::ptr_eq(&newest, &self.current) {
            self.current = Arc::clone(&newest);
        }
    }

    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Response {
        let (current, worker) = (&self.current, &mut self.worker);
        // One loop serves all connections: it may not end by a query.
        let answered = catch_unwind(AssertUnwindSafe(|| respond(current, worker, query, out)));
        answered.unwrap_or_else(|_| failed(&self.worker, query, out))
    }

    fn answer_all(&mut self, exchanges: &mut [Exchange<'_>]) {
        respond_all(&self.current, &mut self.worker, exchanges);
    }
}
