//! `meridian serve`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::allocator;
use crate::daemon::{self, Hooks};
use crate::loader;
use crate::log;

/// The time for which the end waits for the reader of the log.
const LAST_LINES: Duration = Duration::from_secs(2);

pub(super) fn run(config: &Path, first_units: bool, node: Option<String>) -> ExitCode {
    if let Err(why) = super::log::start() {
        eprintln!("meridian serve: {why}");
        return ExitCode::from(2);
    }
    if let Some(node) = node {
        loader::name_node(node);
    }
    allocator::map_large_vectors();
    let ended = daemon::run(config, first_units, Hooks::default());
    log::flush(LAST_LINES);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
