//! The loop's part in the files: they are read again when somebody asks, and the location databases alone when one of them
//! changes on the disk.
//!
//! ```text
//! SIGHUP ─► ask_reload ─┐                    ┌─ Came::Files ──────┐
//!                       ├─ a task, threads ──┼─ Came::Databases ──┼─► finish_reload ─► Event::Reload
//! watch_geo ────────────┘                    └─ Came::Same        ┘
//! ```
//! All or nothing: what was read takes the place of what was served as a whole, or every diagnostic is said and nothing changes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};

use super::{Daemon, first_round, state_directory};
use crate::config::ServerSpec;
use crate::dataset::Dataset;
use crate::diag::render_text;
use crate::health::Outcome;
use crate::loader::{self, Built, Contents, Inputs, Refreshed, Stamps};
use crate::memory;
use crate::model::TargetId;
use crate::probe::Job;
use crate::publisher::Event;
use crate::server::notify;

/// How long a changed location database must have been quiet before it is read.
const GEO_QUIET: Duration = Duration::from_secs(5);

/// What is known of the files on the disk.
pub(super) struct Files {
    /// They are broken; what is served are copies of the last good ones.
    pub(super) last_good: bool,
    /// The location databases as they looked when they were read.
    stamps: Stamps,
    /// What was in them.
    contents: Contents,
    /// They look different since then.
    changed: Option<(Stamps, Instant)>,
    /// How they looked when a change was last tried: one that was refused is not tried again unasked.
    tried: Option<Stamps>,
}

impl Files {
    /// What is kept of the files that the server starts from; the texts for code frames go.
    pub(super) fn kept(built: Built, last_good: bool) -> (Option<Inputs>, Files) {
        let Built { inputs, stamps, contents, .. } = built;
        let tried = last_good.then(|| stamps.look());
        (inputs, Files { last_good, stamps, contents, changed: None, tried })
    }
}

/// A reload of all files that is asked for.
pub(super) struct Asked {
    why: &'static str,
}

impl Asked {
    pub(super) fn new(why: &'static str) -> Asked {
        Asked { why }
    }
}

/// A reload under way.
pub(super) struct Reload {
    task: JoinHandle<Result<Came, JoinError>>,
}

/// What came of reading.
enum Came {
    /// All files were read; and what the first round of what is new in them saw.
    Files(Box<Built>, Vec<(TargetId, Outcome)>),
    /// The location databases were read.
    Databases(Box<Built>),
    /// They were, and hold what they held before.
    Same(Stamps),
}

/// The reload under way, once it has ended; the error is a panic on the way.
pub(super) async fn finished(reload: &mut Option<Reload>) -> Result<Finished, JoinError> {
    match reload {
        Some(reload) => (&mut reload.task).await.and_then(|came| came).map(Finished),
        None => std::future::pending().await,
    }
}

/// The end of a reload.
pub(super) struct Finished(Came);

impl Daemon {
    /// Reads and compiles the files on a thread of their own, and probes what is new in them; queries
    /// and probes go on.
    pub(super) fn ask_reload(&mut self, asked: Asked) {
        if self.reload.is_some() {
            self.asked = Some(asked);
            return;
        }
        tracing::info!("reloading: {}", asked.why);
        notify::reloading("reading the files");
        let (config, contents) = (self.config.clone(), self.files.contents.clone());
        let (prober, limit) = (self.prober.clone(), self.limit);
        let old = self.published.load().dataset.clone();
        let task = tokio::spawn(async move {
            let before = old.clone();
            let built = tokio::task::spawn_blocking(move || loader::rebuild(&config, &contents, &before)).await?;
            let first_round = match &built.dataset {
                Some(new) => first_round::probe_new_targets(&prober, limit, &old, new).await,
                None => Vec::new(),
            };
            Ok(Came::Files(Box::new(built), first_round))
        });
        self.reload = Some(Reload { task });
    }

    /// Reads the location databases and nothing else: zone files that somebody is working on are not published by it.
    fn refresh(&mut self) {
        let (contents, before) = (self.files.contents.clone(), self.published.load().dataset.clone());
        let task = tokio::task::spawn_blocking(move || {
            let changed = || tracing::info!("reloading: a location database changed on disk");
            Ok(match loader::refresh(&contents, &before, changed) {
                Refreshed::Same(stamps) => Came::Same(stamps),
                Refreshed::Changed(built) => Came::Databases(built),
            })
        });
        self.reload = Some(Reload { task });
    }

    /// All or nothing: the new dataset, or every diagnostic and the old one.
    pub(super) fn finish_reload(&mut self, finished: Result<Finished, JoinError>) {
        self.reload = None;
        match finished.map(|Finished(came)| came) {
            Ok(Came::Files(built, first_round)) if built.dataset.is_some() => self.take_files(*built, first_round),
            Ok(Came::Databases(built)) if built.dataset.is_some() => self.take_databases(*built),
            Ok(Came::Files(built, _) | Came::Databases(built)) => {
                let text = render_text(&built.diagnostics, &built.sources, false);
                tracing::error!("reload refused, serving what was served before\n{text}");
                self.tell_reloaded(Err(&text));
            }
            Ok(Came::Same(stamps)) => {
                tracing::info!("a location database was written again, and holds what it held before");
                self.files.stamps = stamps;
                (self.files.changed, self.files.tried) = (None, None);
            }
            Err(why) => {
                tracing::error!("reload failed, serving what was served before: {why}");
                self.tell_reloaded(Err(&why.to_string()));
            }
        }
        self.ready = None;
        if let Some(asked) = self.asked.take() {
            self.ask_reload(asked);
        }
    }

    fn take_files(&mut self, built: Built, first_round: Vec<(TargetId, Outcome)>) {
        let Built { dataset, diagnostics, inputs, stamps, contents, .. } = built;
        let dataset = Arc::new(dataset.expect("the caller has looked"));
        diagnostics.iter().for_each(|diagnostic| tracing::warn!("{diagnostic}"));
        self.warn_of_fixed(&dataset);
        self.files = Files { last_good: false, stamps, contents, changed: None, tried: None };
        self.follow_state(&dataset);
        self.take_dataset(dataset, first_round);
        self.keep_last_good(inputs, loader::save);
        let summary = self.summary();
        tracing::info!("reloaded: {summary}");
        self.tell_reloaded(Ok(&summary));
    }

    fn take_databases(&mut self, built: Built) {
        let Built { dataset, diagnostics, inputs, stamps, contents, .. } = built;
        diagnostics.iter().for_each(|diagnostic| tracing::warn!("{diagnostic}"));
        self.files = Files { last_good: self.files.last_good, stamps, contents, changed: None, tried: None };
        self.take_dataset(Arc::new(dataset.expect("the caller has looked")), Vec::new());
        self.keep_last_good(inputs, loader::save_databases);
        let summary = self.summary();
        tracing::info!("reloaded: the location databases; {summary}");
        self.tell_reloaded(Ok(&summary));
    }

    fn take_dataset(&mut self, dataset: Arc<Dataset>, first_round: Vec<(TargetId, Outcome)>) {
        let jobs = Job::all(&dataset.config.checks, &dataset.config.targets);
        self.handle(Event::Reload { dataset, first_round });
        self.scheduler.replace(self.publisher.generation(), jobs);
    }

    fn tell_reloaded(&mut self, result: Result<&str, &str>) {
        if let Some(reloader) = &mut self.reloader {
            reloader(result);
        }
    }

    /// What only a restart changes.
    fn warn_of_fixed(&self, new: &Dataset) {
        let (old, new) = (&self.published.load().dataset.config, &new.config);
        let fixed = |server: &ServerSpec| (server.listen.clone(), server.workers, server.udp, server.tcp, server.exec_processes);
        if fixed(&old.server) != fixed(&new.server) || old.admin != new.admin {
            tracing::warn!(
                "listen, workers, pin_workers, udp_*, tcp_*, exec_processes and [admin] of the new files take effect at the next restart"
            );
        }
    }

    /// A location database was replaced on disk: once it is quiet, it is read anew.
    pub(super) fn watch_geo(&mut self) {
        let files = &mut self.files;
        let seen = files.stamps.look();
        if seen == files.stamps || files.tried.as_ref() == Some(&seen) {
            files.changed = None;
            return;
        }
        match &files.changed {
            Some((stamps, since)) if *stamps == seen => {
                if since.elapsed() >= GEO_QUIET && self.reload.is_none() {
                    files.tried = Some(seen);
                    // While copies are served, it may be the database that was broken, and all files are tried again.
                    match files.last_good {
                        true => self.ask_reload(Asked::new("a location database changed on disk")),
                        false => self.refresh(),
                    }
                }
            }
            _ => files.changed = Some((seen, Instant::now())),
        }
    }

    /// Has `save` keep the inputs for a start with broken files; a disk that refuses is said and does no harm. One set is
    /// written after the other, so that the newest stays.
    pub(super) fn keep_last_good(&mut self, inputs: Option<Inputs>, save: fn(&Path, &Inputs) -> io::Result<()>) {
        let state = self.published.load().dataset.config.server.state.clone().or_else(state_directory);
        let (Some(inputs), Some(state)) = (inputs.filter(|_| !self.files.last_good), state) else {
            memory::give_back();
            return;
        };
        let keep = move || {
            if let Err(why) = save(&state, &inputs) {
                let state = state.display();
                tracing::warn!("the last good files cannot be kept in {state}: {why}; a restart with broken files will fail");
            }
            // The files' texts are the last that a load leaves behind.
            drop(inputs);
            memory::give_back();
        };
        let before = self.keeping.take();
        self.keeping = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let _ = tokio::task::spawn_blocking(keep).await;
        }));
    }
}
