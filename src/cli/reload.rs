//! `meridian reload`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::error::Error;
use super::local::{Change, Place, request_within};

/// The time that a reload may take: large files take long to read, and new targets are probed.
const LONGEST: Duration = Duration::from_secs(300);

/// Options of `meridian reload`.
#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    /// Accept files that remove more zones, services or names than `max_removed` allows.
    #[arg(long)]
    force: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Reload {
    /// Makes running servers read their files again.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let body = json!({ "force": self.force });
        let change = Change::Post("/v1/reload".to_owned(), body);
        request_within(LONGEST, &self.place, &change, self.json)
    }
}
