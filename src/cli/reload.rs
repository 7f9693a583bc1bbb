//! `meridian reload`.

use std::process::ExitCode;
use std::time::Duration;

use super::unit::{Place, end};
use crate::control::post_local_within;

/// Large files take their time to read, and what is new in them is probed first.
const LONGEST: Duration = Duration::from_secs(300);

/// Has the server that keeps its state at `place` read its files again.
pub(super) fn run(force: bool, place: &Place) -> ExitCode {
    end("reload", place.ask(|state| post_local_within(LONGEST, state, &format!("/reload?force={force}"))))
}
