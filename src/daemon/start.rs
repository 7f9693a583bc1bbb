//! The files that the server starts from: those on the disk, or copies of the last good ones.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::Failure;
use crate::dataset::Dataset;
use crate::diag::render_text;
use crate::loader::{self, Built};
use crate::state;

/// A dataset to start with.
pub(super) struct Start {
    pub(super) dataset: Arc<Dataset>,
    pub(super) built: Built,
    /// True where the files are broken and the dataset is made of copies.
    pub(super) last_good: bool,
}

/// Loads the files at `config`; where they are broken, the last good ones.
pub(super) fn load(config: &Path) -> Result<Start, Failure> {
    let mut built = loader::build(config);
    if let Some(dataset) = built.dataset.take() {
        warn(&built);
        return Ok(Start {
            dataset: Arc::new(dataset),
            built,
            last_good: false,
        });
    }
    // Rendered in any case: the journal must show what to repair, whatever is served meanwhile.
    let text = render_text(&built.diagnostics, &built.sources, false);
    let mut kept = last_good(config).map_err(|why| {
        Failure::Files(format!(
            "{text}meridian: not started, and no last good files to serve instead: {why}"
        ))
    })?;
    let dataset = kept.dataset.take().ok_or_else(|| {
        let why = render_text(&kept.diagnostics, &kept.sources, false);
        Failure::Files(format!(
            "{text}meridian: not started, and no last good files to serve instead: {why}"
        ))
    })?;
    tracing::error!(
        "configuration broken: serving the last good files; the node is not ready until the files are fixed and reloaded\n{text}"
    );
    Ok(Start {
        dataset: Arc::new(dataset),
        built: kept,
        last_good: true,
    })
}

/// Builds from the copies in the state directory that the broken files still name.
fn last_good(config: &Path) -> Result<Built, Box<dyn Display>> {
    let Some(state) = state::state_directory(loader::find_state(config)) else {
        return Err(Box::new("there is no state directory"));
    };
    // Copies that others could have changed would let them choose the answers.
    if let Some(why) = state::objection(&state) {
        return Err(Box::new(why));
    }
    match state::load_last_good(&state) {
        Ok(kept) => Ok(loader::build_copies(&kept.config, kept.files)),
        Err(why) => Err(Box::new(why)),
    }
}

/// Logs the warnings about files that are served.
pub(super) fn warn(built: &Built) {
    for diagnostic in built.diagnostics.iter() {
        tracing::warn!("{diagnostic}");
    }
}
