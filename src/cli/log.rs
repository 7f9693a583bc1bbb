//! What is logged: `MERIDIAN_LOG`.

use tracing_subscriber::EnvFilter;

use crate::log;

/// Starts logging. `MERIDIAN_LOG` sets the level or a filter (`info` where it is not set).
pub(super) fn start() -> std::io::Result<()> {
    log::start(EnvFilter::try_from_env("MERIDIAN_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
}
