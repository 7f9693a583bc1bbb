//! `meridian serve`.

use std::path::Path;
use std::process::ExitCode;

use crate::daemon::{self, Hooks};
use crate::memory;

pub(super) fn run(config: &Path, first_units: bool) -> ExitCode {
    super::log::start();
    memory::map_large_vectors();
    match daemon::run(config, first_units, Hooks::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
