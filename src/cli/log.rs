//! Filter of the log: `MERIDIAN_LOG`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use super::error::{BadFilter, Error, Reason};
use super::terminal::has_color;
use crate::log;

/// Starts logging in a format. `MERIDIAN_LOG` sets the level or a filter; it defaults to `info`.
pub(super) fn start(format: log::Format) -> Result<(), Error> {
    let filter = match std::env::var_os("MERIDIAN_LOG").filter(|text| !text.is_empty()) {
        Some(text) => filter(&text.to_string_lossy()).map_err(Reason::LogFilter),
        None => Ok(EnvFilter::new("info")),
    };
    let started = filter.and_then(|filter| {
        log::start(filter, has_color(&std::io::stderr()), format)
            .map_err(|error| Reason::System("start the log's thread", error))
    });
    started.map_err(Reason::into_usage)
}

/// Reads LEVEL, and TARGET=LEVEL after commas.
fn filter(text: &str) -> Result<EnvFilter, BadFilter> {
    let mut parts = Vec::new();
    for part in text.split(',').map(str::trim) {
        // The library takes a lone word that is no level for a target, which would silence every
        // other target: a misspelt level must be an error.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if part.parse::<Directive>().is_err() || level.parse::<LevelFilter>().is_err() {
            return Err(BadFilter::Part(part.to_owned()));
        }
        parts.push(part);
    }
    EnvFilter::try_new(parts.join(",")).map_err(BadFilter::Whole)
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
                filter(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("is neither a level"),
                "{bad}"
            );
        }
    }
}
