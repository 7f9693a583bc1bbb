//! Where log lines go: the journal under systemd, else standard error.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. `MERIDIAN_LOG` sets the level or a filter (`info` where it is not set).
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("MERIDIAN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    match journal() {
        Some(journal) => registry.with(journal).init(),
        None => {
            let terminal = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(terminal);
            registry.with(lines).init();
        }
    }
}

/// The journal, where standard error is connected to it: systemd says so in `JOURNAL_STREAM`, as
/// device:inode (systemd.exec(5)).
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = std::fs::metadata("/dev/stderr").ok()?;
    (stream == format!("{}:{}", stderr.dev(), stderr.ino())).then(|| tracing_journald::layer().ok())?
}
