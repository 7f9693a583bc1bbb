//! `meridian serve`.

use std::path::Path;
use std::process::ExitCode;

use crate::daemon::{self, Hooks};
use crate::loader::memory;

pub(super) fn run(config: &Path) -> ExitCode {
    super::log::start();
    memory::prepare();
    match daemon::run(config, Hooks::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
