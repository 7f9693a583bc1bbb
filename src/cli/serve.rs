//! `meridian serve`.

use std::path::Path;
use std::process::ExitCode;

use crate::daemon::{self, Hooks};
use crate::memory;

pub(super) fn run(config: &Path) -> ExitCode {
    super::log::start();
    memory::map_large_vectors();
    match daemon::run(config, Hooks::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
