//! The filter of the log: `MERIDIAN_LOG`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use super::terminal::has_color;
use crate::log;

/// Starts logging. `MERIDIAN_LOG` sets the level or a filter (`info` where it is not set); the error says what is wrong with it, or
/// that no thread can be had.
pub(super) fn start() -> Result<(), String> {
    let filter = match std::env::var_os("MERIDIAN_LOG").filter(|text| !text.is_empty()) {
        Some(text) => {
            filter(&text.to_string_lossy()).map_err(|why| format!("MERIDIAN_LOG: {why}"))?
        }
        None => EnvFilter::new("info"),
    };
    log::start(filter, has_color(&std::io::stderr()))
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// Reads LEVEL, and TARGET=LEVEL after commas. A word alone that is no level would name a target, and silence all others.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let is_good = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        part.parse::<Directive>().is_ok() && level.parse::<LevelFilter>().is_ok()
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(bad) = parts.iter().find(|part| !is_good(part)) {
        return Err(format!(
            "{bad:?} is neither a level (error, warn, info, debug, trace, off) nor TARGET=LEVEL, as in info,meridian::probe=debug"
        ));
    }
    EnvFilter::try_new(parts.join(",")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_no_filter() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,meridian::probe=debug",
            "warn, hyper=error",
            "meridian[reload]=trace",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in [
            "nonsense",
            "inf",
            "info,",
            "info,meridian",
            "meridian=loud",
            "=",
            "info;warn",
        ] {
            assert!(
                filter(bad).unwrap_err().contains("is neither a level"),
                "{bad}"
            );
        }
    }
}
