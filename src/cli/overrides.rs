//! `meridian drain`, `up`, `down`, `weight`, `overrides` and `release`: an operator's word over health and weight.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::local::{Place, by_server, headed, look, show, tell};
use crate::control::{OverrideStatus, OverridesStatus, percent_encode};

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
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// When it ends: there is no default, so that nobody forgets.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// How long it holds, e.g. 2h; at least 1s.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_lasting)]
    lasts: Option<Duration>,
    /// It holds until `meridian release`.
    #[arg(long)]
    until_removed: bool,
}

fn parse_lasting(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) {
        Err("an override holds for 1s at least".to_owned())
    } else {
        Ok(time)
    }
}

/// Has a running server take up `word` (`drain`, `up`, `down` or `weight N`).
pub(super) fn say_word(word: &str, terms: &Terms, place: Place) -> ExitCode {
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let by = terms
        .by
        .clone()
        .or_else(user)
        .unwrap_or_else(|| "unknown".to_owned());
    let mut path = format!(
        "/overrides?word={}&what={}&reason={}&by={}&force={}",
        percent_encode(word),
        percent_encode(&terms.what),
        percent_encode(&terms.reason),
        percent_encode(&by),
        terms.force
    );
    path.extend(
        terms
            .end
            .lasts
            .map(|lasts| format!("&for={}", seconds(lasts))),
    );
    path.extend(
        terms
            .starts_in
            .map(|starts| format!("&in={}", seconds(starts))),
    );
    tell(
        word.split(' ').next().unwrap_or(word),
        place,
        &path,
        terms.json,
    )
}

/// The overrides in force and announced, as lines or as JSON. Fails where some were lost: the list is not to be relied on then.
pub(super) fn list(as_json: bool, place: Place) -> ExitCode {
    let listed = match look::<OverridesStatus>(place, "/overrides") {
        Ok(listed) => listed,
        Err(why) => return show("overrides", Err(why)),
    };
    if as_json {
        let values = listed
            .iter()
            .map(|(socket, status)| (socket.clone(), json!(status.overrides)))
            .collect();
        say!("{:#}", by_server(values));
    } else {
        let lines = |list: &[OverrideStatus]| match list {
            [] => "no overrides".to_owned(),
            list => list.iter().map(line).collect::<Vec<_>>().join("\n"),
        };
        say!(
            "{}",
            headed(
                &listed
                    .iter()
                    .map(|(socket, status)| (socket.clone(), lines(&status.overrides)))
                    .collect::<Vec<_>>()
            )
        );
    }
    let lost: Vec<&str> = listed
        .iter()
        .filter_map(|(_, status)| status.lost.as_deref())
        .collect();
    lost.iter().for_each(|why| {
        eprintln!("meridian overrides: {why}. The server is not ready until `meridian overrides --accept-loss`, which goes on with these");
    });
    if lost.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Goes on with the overrides in force, after others were lost.
pub(super) fn accept_loss(as_json: bool, place: Place) -> ExitCode {
    tell("overrides", place, "/overrides/accept-loss", as_json)
}

/// Takes back an override by its number, or all that is said of something.
pub(super) fn release(what: &str, force: bool, as_json: bool, place: Place) -> ExitCode {
    tell(
        "release",
        place,
        &format!(
            "/overrides/release?what={}&force={force}",
            percent_encode(what)
        ),
        as_json,
    )
}

fn line(own: &OverrideStatus) -> String {
    let until = own.until.as_ref().map_or_else(
        || "until it is released".to_owned(),
        |until| format!("until {until}"),
    );
    let starts = if own.in_force {
        String::new()
    } else {
        format!(" from {}", own.starts)
    };
    let forced = if own.forced { ", forced" } else { "" };
    format!(
        "{}  {} of {}{starts} {until}, by {} at {}{forced}: {}",
        own.number, own.word, own.of, own.by, own.made, own.reason
    )
}

/// Who runs this; behind sudo, who called it.
fn user() -> Option<String> {
    let named = std::env::var("SUDO_USER")
        .ok()
        .filter(|user| !user.is_empty());
    named.or_else(|| {
        Some(
            nix::unistd::User::from_uid(nix::unistd::getuid())
                .ok()??
                .name,
        )
    })
}
