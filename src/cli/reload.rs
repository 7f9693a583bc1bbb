//! `meridian reload`.

use std::process::ExitCode;
use std::time::Duration;

use super::local::{Place, tell_within};

/// Large files take their time to read, and what is new in them is probed first.
const LONGEST: Duration = Duration::from_secs(300);

/// Has running servers read their files again.
pub(super) fn run(force: bool, place: Place) -> ExitCode {
    tell_within(
        LONGEST,
        "reload",
        place,
        &format!("/reload?force={force}"),
        false,
    )
}
