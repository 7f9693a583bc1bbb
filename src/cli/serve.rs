//! `meridian serve`.

use std::process::ExitCode;
use std::time::Duration;

use super::error::Error;
use super::files::Files;
use crate::allocator;
use crate::config::is_node_name;
use crate::daemon::{self, Hooks};
use crate::loader;
use crate::log;

/// The time for which the process waits at its end for the reader of the log.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Options of `meridian serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Give every unit without recorded state the owner named in the zone file, immediately, as
    /// epoch 1. For a zone's first start only: after lost state this may reuse an epoch.
    #[arg(long)]
    init_units: bool,
    /// Name of this node. Overrides [server] node, so that several hosts can share their files.
    #[arg(long, value_name = "NAME", value_parser = parse_node)]
    node: Option<String>,
    /// Form of the log on standard error: text, or json with one object a line. Under systemd, text
    /// goes to the journal.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: log::Format,
    #[command(flatten)]
    files: Files,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        // Without a configuration there is nothing to log: the terminal gets the error alone.
        let config = self.files.config()?;
        super::log::start(self.log_format)?;
        if let Some(node) = self.node {
            loader::name_node(node);
        }
        allocator::map_large_vectors();
        let ended = daemon::run(&config, self.init_units, Hooks::default());
        // The last lines may still be in the queue, and they say why the server ended. A reader that
        // hangs must not keep the process alive, though.
        log::flush(LAST_LINES);
        ended?;
        Ok(ExitCode::SUCCESS)
    }
}

fn parse_node(text: &str) -> Result<String, &'static str> {
    if is_node_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a node name has up to 64 letters, digits and punctuation, without spaces")
    }
}
