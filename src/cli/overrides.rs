//! `meridian drain`, `up`, `down`, `weight`, `overrides` and `release`: an operator's word over health and weight.

use std::process::ExitCode;
use std::time::Duration;

use super::unit::{Place, end};
use crate::control::{OverrideStatus, get_local, percent_encode, post_local};

/// What every override is given besides what it says.
#[derive(Debug, clap::Args)]
pub(super) struct Terms {
    /// A region, a metro, a label as KEY:VALUE, a service, SERVICE/REGION, an endpoint, or SERVICE/ENDPOINT.
    what: String,
    /// Why; it stands in the log and in every `why`.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    end: End,
    /// It takes effect only after this time; until then the answers that it will change have `ttl_min`.
    #[arg(long = "in", value_name = "DURATION", value_parser = humantime::parse_duration)]
    starts_in: Option<Duration>,
    /// Who says so; by default the user that runs this.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Although it leaves a service fewer regions up than its `min_regions`. That is recorded.
    #[arg(long)]
    force: bool,
}

/// When it ends: there is no default, so that nobody forgets.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// How long it holds, e.g. 2h.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// It holds until `meridian release`.
    #[arg(long)]
    until_removed: bool,
}

/// Has a running server take up `word` (`drain`, `up`, `down` or `weight N`).
pub(super) fn say_word(word: &str, terms: &Terms, place: &Place) -> ExitCode {
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let by = terms.by.clone().or_else(user).unwrap_or_else(|| "unknown".to_owned());
    let mut path = format!(
        "/overrides?word={}&what={}&reason={}&by={}&force={}",
        percent_encode(word),
        percent_encode(&terms.what),
        percent_encode(&terms.reason),
        percent_encode(&by),
        terms.force
    );
    path.extend(terms.end.lasts.map(|lasts| format!("&for={}", seconds(lasts))));
    path.extend(terms.starts_in.map(|starts| format!("&in={}", seconds(starts))));
    end("override", place.ask(|state| post_local(state, &path)))
}

/// The overrides in force and announced, as a table or as JSON.
pub(super) fn list(json: bool, place: &Place) -> ExitCode {
    let listed = place.ask(|state| get_local(state, "/overrides")).and_then(|text| {
        serde_json::from_str::<Vec<OverrideStatus>>(&text).map_err(|error| format!("the server is of another version: {error}"))
    });
    let shown = |list: Vec<OverrideStatus>| match list.is_empty() {
        _ if json => format!("{:#}", serde_json::json!(list)),
        true => "no overrides".to_owned(),
        false => list.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    end("overrides", listed.map(shown))
}

/// Takes back an override by its number, or all that is said of something.
pub(super) fn release(what: &str, place: &Place) -> ExitCode {
    end("release", place.ask(|state| post_local(state, &format!("/overrides/release?what={}", percent_encode(what)))))
}

fn line(own: &OverrideStatus) -> String {
    let until = own.until.as_ref().map_or_else(|| "until it is released".to_owned(), |until| format!("until {until}"));
    let starts = if own.in_force { String::new() } else { format!(" from {}", own.starts) };
    let forced = if own.forced { ", forced" } else { "" };
    format!("{}  {} of {}{starts} {until}, by {} at {}{forced}: {}", own.number, own.word, own.of, own.by, own.made, own.reason)
}

/// Who runs this; behind sudo, who called it.
fn user() -> Option<String> {
    let named = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty());
    named.or_else(|| Some(nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??.name))
}
