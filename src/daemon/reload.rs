//! The loop's part in the files: they are read again when somebody asks, and the location databases alone when one of them
//! changes on the disk.
//!
//! ```text
//! SIGHUP, `meridian reload` ─► ask_reload ─┐                    ┌─ Came::Files ─────┐
//!                                          ├─ a task, threads ──┼─ Came::Databases ─┼─► finish_reload ─► Event::Reload
//! watch_geo ─► take_look ─► refresh ───────┘                    └─ Came::Same       ┘
//! ```
//! All or nothing: what was read takes the place of what was served as a whole, or every diagnostic is said and nothing changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use super::directory::Moved;
use super::{Daemon, Reloader, first_round};
use crate::allocator;
use crate::clock::Clock;
use crate::config::{AdminSpec, Config, ServerSpec};
use crate::control::{AuditResult, Entry, LastReload, NotReloaded, Refused, Reloaded, Work};
use crate::dataset::Dataset;
use crate::diag::{Diagnostics, render_text};
use crate::health::Outcome;
use crate::loader::{self, Built, Contents, Inputs, Refreshed, Removed, Stamps};
use crate::model::{Moment, TargetId};
use crate::probe::{ProbeLimit, Prober};
use crate::publisher::Event;
use crate::server::notify;
use crate::state;

/// The time that a changed location database must have been quiet before it is read.
const GEO_QUIET: Duration = Duration::from_secs(5);

/// The files: what is served was read from them, and what is read next.
pub(super) struct Files {
    /// The path of `meridian.toml`.
    config: PathBuf,
    pub(super) known: Known,
    /// The reload under way.
    reload: Option<Reload>,
    /// The reload that was asked for meanwhile.
    asked: Option<Asked>,
    /// The look at the location databases under way.
    look: Option<Look>,
    /// The write of the copies of the last good files under way.
    copying: Option<(Moment, JoinHandle<()>)>,
    /// Hears how each reload ended.
    reloader: Option<Reloader>,
}

/// Knowledge of the files on the disk.
pub(super) struct Known {
    /// True while they are broken, and copies of the last good ones are served.
    pub(super) last_good: bool,
    /// The location databases as they looked when they were read.
    stamps: Stamps,
    /// Their content.
    contents: Contents,
    /// Their looks where those have changed since, and since when.
    changed: Option<(Stamps, Instant)>,
    /// Their looks when a change was last tried: one that was refused is not tried again unasked.
    tried: Option<Stamps>,
}

/// An input of the loop from work on files.
pub(super) enum FileInput {
    /// A reload has ended.
    Reloaded(Result<Finished, JoinError>),
    /// A look at the location databases has.
    Looked(Result<Stamps, JoinError>),
}

impl Files {
    /// Begins with the files that the server starts from; the texts for code frames go.
    pub(super) fn start(
        config: PathBuf,
        built: Built,
        last_good: bool,
        reloader: Option<Reloader>,
    ) -> (Option<Inputs>, Files) {
        let known = Known {
            last_good,
            tried: last_good.then(|| built.stamps.look()),
            stamps: built.stamps,
            contents: built.contents,
            changed: None,
        };
        let files = Files {
            config,
            known,
            reload: None,
            asked: None,
            look: None,
            copying: None,
            reloader,
        };
        (built.inputs, files)
    }

    /// The next input.
    pub(super) async fn next(&mut self) -> FileInput {
        tokio::select! {
            finished = finished(&mut self.reload) => FileInput::Reloaded(finished),
            seen = looked(&mut self.look) => FileInput::Looked(seen),
        }
    }

    /// True while a reload is under way.
    pub(super) fn is_reloading(&self) -> bool {
        self.reload.is_some()
    }

    /// The time since which each work on files is under way; `None` where it is not.
    pub(super) fn under_way(&self) -> [(Work, Option<Moment>); 3] {
        let copying = self
            .copying
            .as_ref()
            .filter(|(_, task)| !task.is_finished());
        [
            (Work::Databases, self.look.as_ref().map(|look| look.since)),
            (
                Work::Reload,
                self.reload.as_ref().map(|reload| reload.since),
            ),
            (Work::LastGood, copying.map(|(since, _)| *since)),
        ]
    }

    /// Waits until the copies of the last good files are written, but not longer than `patience`.
    pub(super) async fn finish(self, patience: Duration) {
        if let Some((_, copying)) = self.copying {
            let _ = tokio::time::timeout(patience, copying).await;
        }
    }
}

/// A reload of all files that is asked for.
pub(super) struct Asked {
    why: &'static str,
    /// By a signal, whose end nobody else records.
    is_signalled: bool,
    /// Although more is removed than `max_removed`.
    force: bool,
    /// Operators who wait for what comes of it.
    replies: Vec<Reply>,
}

type Reply = oneshot::Sender<Result<Reloaded, NotReloaded>>;

impl Asked {
    /// By SIGHUP: nobody waits for it, and nobody can force it.
    pub(super) fn by_signal() -> Asked {
        Asked {
            why: "SIGHUP",
            is_signalled: true,
            force: false,
            replies: Vec::new(),
        }
    }

    /// By a change of the files: nobody waits for it.
    fn by_change(why: &'static str) -> Asked {
        Asked {
            why,
            is_signalled: false,
            force: false,
            replies: Vec::new(),
        }
    }

    pub(super) fn by_operator(force: bool, reply: Reply) -> Asked {
        let why = if force {
            "requested and forced by an operator"
        } else {
            "requested by an operator"
        };
        Asked {
            why,
            is_signalled: false,
            force,
            replies: vec![reply],
        }
    }

    /// Merges two requests, since what several ask for is done once.
    fn and(self, later: Asked) -> Asked {
        let why = if self.force { self.why } else { later.why };
        let replies = self.replies.into_iter().chain(later.replies).collect();
        Asked {
            why,
            is_signalled: self.is_signalled || later.is_signalled,
            force: self.force || later.force,
            replies,
        }
    }
}

/// A reload under way.
pub(super) struct Reload {
    since: Moment,
    task: JoinHandle<Result<Came, JoinError>>,
    is_signalled: bool,
    replies: Vec<Reply>,
}

/// The state before the first reload.
pub(super) fn at_start(last_good: bool) -> LastReload {
    LastReload {
        refused: last_good.then_some(Refused::Broken),
        ended: now(),
        failures: 0,
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A look at the location databases under way: a file system that hangs keeps a thread waiting that nothing else waits for.
pub(super) struct Look {
    since: Moment,
    task: JoinHandle<Stamps>,
}

/// The look under way, once it has ended; the error is a panic on the way.
pub(super) async fn looked(look: &mut Option<Look>) -> Result<Stamps, JoinError> {
    match look {
        Some(look) => (&mut look.task).await,
        None => std::future::pending().await,
    }
}

/// All files, read again, and what had to be done before they are served.
struct Reread {
    built: Built,
    /// The zones, services and names that the new files remove.
    removed: Option<Removed>,
    /// The outcomes of the first round of the targets that are new in the files.
    first_round: Vec<(TargetId, Outcome)>,
    /// The state directory that they name, where it is another or was not taken up.
    moved: Option<Moved>,
}

/// The result of reading.
enum Came {
    /// All files were read.
    Files(Box<Reread>),
    /// The location databases were read.
    Databases(Box<Built>),
    /// They were, and hold what they held before.
    Same(Stamps),
    /// Something is wrong with what was read.
    Refused(NotReloaded),
}

/// The reason `refused` with every diagnostic, of files that cannot be served.
fn refusal(built: &Built, refused: Refused) -> Option<NotReloaded> {
    built.dataset.is_none().then(|| NotReloaded {
        refused,
        text: render_text(&built.diagnostics, &built.sources, false),
        diagnostics: built.diagnostics.clone(),
    })
}

/// The reload under way, once it has ended; the error is a panic on the way.
pub(super) async fn finished(reload: &mut Option<Reload>) -> Result<Finished, JoinError> {
    match reload {
        Some(reload) => (&mut reload.task).await.and_then(|came| came).map(Finished),
        None => std::future::pending().await,
    }
}

/// The files that a reload has read.
#[derive(Debug, Clone, Copy)]
enum Read {
    Files,
    Databases,
}

/// The set of files that replaces the kept copies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Copies {
    /// All files of a dataset.
    All,
    /// Location databases, beside the copies of the other files.
    Databases,
}

impl Copies {
    fn save(self, state: &Path, inputs: &Inputs) -> io::Result<()> {
        match self {
            Copies::All => state::save_last_good(state, inputs.config(), inputs.files()),
            Copies::Databases => state::save_databases(state, inputs.files()),
        }
    }
}

/// The end of a reload.
pub(super) struct Finished(Came);

/// The inputs of a reload of all files.
struct Rereading {
    config: PathBuf,
    contents: Contents,
    /// The dataset that is served until then.
    old: Arc<Dataset>,
    /// Although more is removed than `max_removed`.
    force: bool,
}

impl Rereading {
    /// Reads the files, probes what is new in them and adopts the state directory that they name; all
    /// beside the loop, since each of it may take long.
    async fn run(
        self,
        prober: Arc<Prober>,
        limit: ProbeLimit,
        settled: Option<Option<PathBuf>>,
        clock: Clock,
    ) -> Result<Came, JoinError> {
        let old = self.old.clone();
        let (built, removed) = match tokio::task::spawn_blocking(move || self.read()).await? {
            Ok(read) => read,
            Err(why) => return Ok(Came::Refused(why)),
        };
        let (mut first_round, mut named) = (Vec::new(), None);
        if let Some(new) = &built.dataset {
            // The first round below looks names up at the new resolvers already.
            prober.look_up_at(&new.config.server.resolvers);
            first_round = first_round::probe_new_targets(&prober, limit, &old, new).await;
            named = new.config.server.state.clone();
        }
        // Last, so that what the directory holds is not old when it counts.
        let find = move || Moved::find(named, settled, || clock.wall());
        let moved = tokio::task::spawn_blocking(find).await?;
        Ok(Came::Files(Box::new(Reread {
            built,
            removed,
            first_round,
            moved,
        })))
    }

    /// Reads and compiles the files; the reason, and every diagnostic, where they cannot be served.
    fn read(&self) -> Result<(Built, Option<Removed>), NotReloaded> {
        let mut built = loader::rebuild(&self.config, &self.contents, &self.old);
        let mut removed = None;
        if let Some(new) = &built.dataset {
            let gone = Removed::between(&self.old, new);
            let most = new.config.server.max_removed;
            if !self.force && gone.refuse(most, &self.config, &mut built.diagnostics) {
                built.dataset = None;
            }
            removed = Some(gone);
        }
        // Files that compile are refused for what they remove, and for nothing else.
        let why = match removed {
            Some(_) => Refused::TooMuchRemoved,
            None => Refused::Broken,
        };
        match refusal(&built, why) {
            Some(why) => Err(why),
            None => Ok((built, removed)),
        }
    }
}

impl Daemon {
    /// Reads and compiles the files on a thread of their own, and probes what is new in them; queries
    /// and probes go on.
    pub(super) fn ask_reload(&mut self, asked: Asked) {
        // Not refused, and not queued one by one: the files may have changed after they were read,
        // and one more reload sees the last state for everybody who asked.
        if self.files.is_reloading() {
            self.files.asked = Some(match self.files.asked.take() {
                Some(before) => before.and(asked),
                None => asked,
            });
            return;
        }
        let Asked {
            why,
            is_signalled,
            force,
            replies,
        } = asked;
        tracing::info!("reloading: {why}");
        notify::reloading("reading the files");
        let rereading = Rereading {
            config: self.files.config.clone(),
            contents: self.files.known.contents.clone(),
            // Compared and shared with: unchanged maps are not compiled again.
            old: self.publication.snapshot().dataset.clone(),
            force,
        };
        let (prober, limit, clock) = (self.probing.prober.clone(), self.probing.limit, self.clock);
        // Read now, since the task cannot borrow the loop; no other reload changes it meanwhile.
        let settled = self.state.directory().settled();
        let task = tokio::spawn(rereading.run(prober, limit, settled, clock));
        self.files.reload = Some(Reload {
            since: self.clock.now(),
            task,
            is_signalled,
            replies,
        });
    }

    /// Reads the location databases and nothing else: zone files that somebody is working on are not published by it.
    fn refresh(&mut self) {
        let (contents, before) = (
            self.files.known.contents.clone(),
            self.publication.snapshot().dataset.clone(),
        );
        let task = tokio::task::spawn_blocking(move || {
            let changed = || tracing::info!("reloading: a location database changed on disk");
            Ok(match loader::refresh(&contents, &before, changed) {
                Refreshed::Same(stamps) => Came::Same(stamps),
                Refreshed::Changed(built) => match refusal(&built, Refused::Database) {
                    Some(why) => Came::Refused(why),
                    None => Came::Databases(built),
                },
            })
        });
        self.files.reload = Some(Reload {
            since: self.clock.now(),
            task,
            is_signalled: false,
            replies: Vec::new(),
        });
    }

    /// All or nothing: the new dataset, or every diagnostic and the old one.
    pub(super) fn finish_reload(&mut self, finished: Result<Finished, JoinError>) {
        let reload = self.files.reload.take();
        let is_signalled = reload.as_ref().is_some_and(|reload| reload.is_signalled);
        let replies = reload.map(|reload| reload.replies).unwrap_or_default();
        let came = match finished.map(|Finished(came)| came) {
            Ok(Came::Files(reread)) => Ok(self.take_files(*reread)),
            Ok(Came::Databases(built)) => Ok(self.take_databases(*built)),
            Ok(Came::Refused(why)) => {
                let text = &why.text;
                tracing::error!("reload refused: still serving the previous files\n{text}");
                Err(why)
            }
            Ok(Came::Same(stamps)) => {
                tracing::info!(
                    "location database unchanged: a file was written again with the same contents"
                );
                self.files.known.stamps = stamps;
                (self.files.known.changed, self.files.known.tried) = (None, None);
                self.count_reload(Ok(Read::Databases));
                Ok(Reloaded {
                    summary: self.summary(),
                    warnings: Diagnostics::default(),
                })
            }
            Err(why) => {
                tracing::error!("reload failed: {why}; still serving the previous files");
                Err(NotReloaded {
                    refused: Refused::Failed,
                    text: why.to_string(),
                    diagnostics: Diagnostics::default(),
                })
            }
        };
        if let Err(why) = &came {
            self.count_reload(Err(why.refused));
            self.tell_reloaded(Err(&why.text));
        }
        if is_signalled {
            let entry = Entry::new("SIGHUP", "reload", "files");
            self.control.audit.record(match &came {
                Ok(_) => entry,
                Err(why) => entry.ended(AuditResult::Refused, &why.text),
            });
        }
        for reply in replies {
            // Whoever asked may have gone.
            let _ = reply.send(came.clone());
        }
        self.announcer.tell_again();
        if let Some(asked) = self.files.asked.take() {
            self.ask_reload(asked);
        }
    }

    /// Takes down how a reload went. One of the databases says nothing of the other files.
    fn count_reload(&self, went: Result<Read, Refused>) {
        let last = self.control.reloads.load();
        let refused = match (went, last.refused) {
            (Err(refused), _) => Some(refused),
            // A good database does not make broken zone files good.
            (Ok(Read::Databases), Some(before)) if before != Refused::Database => Some(before),
            (Ok(_), _) => None,
        };
        let failures = last.failures + u64::from(went.is_err());
        self.control.reloads.store(Arc::new(LastReload {
            refused,
            ended: now(),
            failures,
        }));
    }

    fn take_files(&mut self, reread: Reread) -> Reloaded {
        let Reread {
            built,
            removed,
            first_round,
            moved,
        } = reread;
        let Built {
            dataset,
            diagnostics,
            inputs,
            stamps,
            contents,
            ..
        } = built;
        let dataset = Arc::new(dataset.expect("what is refused does not come here"));
        diagnostics
            .iter()
            .for_each(|diagnostic| tracing::warn!("{diagnostic}"));
        self.warn_of_fixed(&dataset);
        self.files.known = Known {
            last_good: false,
            stamps,
            contents,
            changed: None,
            tried: None,
        };
        // First the directory: what its overrides drain gets no client from the new files.
        self.follow_state(moved);
        self.let_in(&dataset.config);
        self.take_dataset(dataset, first_round);
        self.keep_last_good(inputs, Copies::All);
        self.count_reload(Ok(Read::Files));
        let summary = self.summary();
        tracing::info!("reloaded: {summary}");
        if let Some(removed) = removed.filter(|removed| !removed.is_empty()) {
            tracing::warn!("no longer served: {removed}");
        }
        self.tell_reloaded(Ok(&summary));
        Reloaded {
            summary,
            warnings: diagnostics,
        }
    }

    /// Has the HTTP interface and the audit log follow the files.
    fn let_in(&self, config: &Config) {
        let gate = self.control.gate.clone();
        gate.adopt(config.admin.as_ref());
        let path = self.state.directory().adopted_path();
        self.control
            .audit
            .place(&config.server.node, path, config.audit);
        // Beside the loop: the files of the certificate may hang with their file system.
        let admin = config.admin.clone();
        tokio::task::spawn_blocking(move || gate.read_certificate(admin.as_ref()));
    }

    fn take_databases(&mut self, built: Built) -> Reloaded {
        let Built {
            dataset,
            diagnostics,
            inputs,
            stamps,
            contents,
            ..
        } = built;
        diagnostics
            .iter()
            .for_each(|diagnostic| tracing::warn!("{diagnostic}"));
        self.files.known = Known {
            last_good: self.files.known.last_good,
            stamps,
            contents,
            changed: None,
            tried: None,
        };
        self.take_dataset(
            Arc::new(dataset.expect("what is refused does not come here")),
            Vec::new(),
        );
        // The other files on the disk may be half edited: their copies stay as they were served.
        self.keep_last_good(inputs, Copies::Databases);
        self.count_reload(Ok(Read::Databases));
        let summary = self.summary();
        tracing::info!("reloaded: the location databases; {summary}");
        self.tell_reloaded(Ok(&summary));
        Reloaded {
            summary,
            warnings: diagnostics,
        }
    }

    fn take_dataset(&mut self, dataset: Arc<Dataset>, first_round: Vec<(TargetId, Outcome)>) {
        let served = dataset.clone();
        self.handle(Event::Reload {
            dataset,
            first_round,
        });
        self.probing.replace(self.publisher.generation(), &served);
    }

    fn tell_reloaded(&mut self, result: Result<&str, &str>) {
        if let Some(reloader) = &mut self.files.reloader {
            reloader(result);
        }
    }

    /// Warns of changed keys that take effect only at a restart.
    fn warn_of_fixed(&self, new: &Dataset) {
        let (old, new) = (&self.publication.snapshot().dataset.config, &new.config);
        let fixed = |server: &ServerSpec| {
            (
                server.listen.clone(),
                server.workers,
                server.udp,
                server.tcp,
                server.exec_processes,
            )
        };
        // A warning and no refusal: the rest of the files is good, and a restart is the operator's
        // choice.
        let of_admin = |admin: &Option<AdminSpec>| {
            let admin = admin.as_ref()?;
            let limits = (admin.limits.connections, admin.limits.streams);
            Some((admin.listen.clone(), admin.push_listen.clone(), limits))
        };
        if fixed(&old.server) != fixed(&new.server)
            || of_admin(&old.admin) != of_admin(&new.admin)
            || old.dnstap != new.dnstap
        {
            tracing::warn!(
                "listen, workers, pin_workers, udp_*, tcp_*, exec_processes, [dnstap] and the listen addresses, connections and streams of [admin] of the new files take effect at the next restart"
            );
        }
    }

    /// Looks whether a location database was replaced on disk; where the look before has not ended, that is waited for.
    pub(super) fn watch_geo(&mut self) {
        if self.files.look.is_none() {
            let stamps = self.files.known.stamps.clone();
            let task = tokio::task::spawn_blocking(move || stamps.look());
            self.files.look = Some(Look {
                since: self.clock.now(),
                task,
            });
        }
    }

    /// A location database was replaced on disk: once it is quiet, it is read anew.
    pub(super) fn take_look(&mut self, seen: Result<Stamps, JoinError>) {
        self.files.look = None;
        let Ok(seen) = seen.inspect_err(|why| {
            tracing::error!("location databases not watched: the look at them failed: {why}; trying again in a second")
        }) else {
            return;
        };
        let files = &mut self.files.known;
        // A database that was refused is not read every second until somebody repairs it.
        if seen == files.stamps || files.tried.as_ref() == Some(&seen) {
            files.changed = None;
            return;
        }
        match &files.changed {
            Some((stamps, since)) if *stamps == seen => {
                // A copy in progress changes length and time: it is read when it has settled.
                if since.elapsed() >= GEO_QUIET && self.files.reload.is_none() {
                    files.tried = Some(seen);
                    // While copies are served, it may be the database that was broken, and all files are tried again.
                    match files.last_good {
                        true => {
                            self.ask_reload(Asked::by_change("a location database changed on disk"))
                        }
                        false => self.refresh(),
                    }
                }
            }
            _ => files.changed = Some((seen, Instant::now())),
        }
    }

    /// Has copies of the inputs kept for a start with broken files; a disk that refuses is logged and
    /// does no harm. One set is written after the other, so that the newest stays.
    pub(super) fn keep_last_good(&mut self, inputs: Option<Inputs>, copies: Copies) {
        // Where nothing else of this process is written, since others may write there, neither are these.
        let state = self.state.written_path();
        let (Some(inputs), Some(state)) = (inputs.filter(|_| !self.files.known.last_good), state)
        else {
            tokio::task::spawn_blocking(allocator::give_back);
            return;
        };
        let keep = move || {
            if let Err(why) = copies.save(&state, &inputs) {
                let state = state.display();
                tracing::warn!(
                    "last good files not saved in {state}: {why}; a restart with broken files would fail or use older copies"
                );
            }
            // The files' texts are the last that a load leaves behind.
            drop(inputs);
            allocator::give_back();
        };
        let before = self.files.copying.take();
        let task = tokio::spawn(async move {
            // Two saves at once would each remove contents that the other's manifest names.
            if let Some((_, before)) = before {
                let _ = before.await;
            }
            let _ = tokio::task::spawn_blocking(keep).await;
        });
        self.files.copying = Some((self.clock.now(), task));
    }
}
