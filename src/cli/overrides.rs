//! `meridian drain`, `up`, `down`, `weight`, `overrides` and `release`: overrides of health and
//! weight by operators.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::error::Error;
use super::local::{Change, Place, look, request};
use crate::control::api::overrides::{NewOverride, OverrideList};
use crate::control::api::written::OverrideDocument;
use crate::control::percent_encode;

/// Options of `meridian drain`.
#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    /// Drain once every cache has let go of the answers of before: they have `ttl_min` until then.
    #[arg(long)]
    lower_ttl: bool,
    #[command(flatten)]
    back: Back,
    #[command(flatten)]
    new: New,
}

/// Options of `meridian down`.
#[derive(Debug, clap::Args)]
pub(super) struct Down {
    #[command(flatten)]
    back: Back,
    #[command(flatten)]
    new: New,
}

/// Option of overrides that take whole pools out of use.
#[derive(Debug, clap::Args)]
struct Back {
    /// Time in which the weight of the pools grows back once the override ends or is released, e.g.
    /// 10m; 1s to 24h.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ramp: Option<Duration>,
}

/// Options of `meridian up`, and those that `drain`, `down` and `weight` share with it.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    place: Place,
}

/// Options of `meridian weight`.
#[derive(Debug, clap::Args)]
pub(super) struct Weight {
    /// Weight, 0 to 1000000.
    weight: u32,
    #[command(flatten)]
    new: New,
}

/// Options of every override, whatever its action.
#[derive(Debug, clap::Args)]
struct Terms {
    /// Region, metro, label (KEY:VALUE), service, SERVICE/REGION, endpoint or SERVICE/ENDPOINT.
    what: String,
    /// Reason for the override; the log and every `why` show it.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    end: End,
    /// Time until the override takes effect. Answers that it will change have `ttl_min` meanwhile.
    #[arg(long = "in", value_name = "DURATION", value_parser = humantime::parse_duration)]
    starts_in: Option<Duration>,
    /// Person who sets the override [default: the user who runs the command].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Set the override even if it leaves a service fewer regions up than its `min_regions`. The
    /// record shows that it was forced.
    #[arg(long)]
    force: bool,
    /// Change nothing, and print what the override would do: which clients move where, and whether
    /// it would be refused; then the exit code is 1.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// End of an override. It has no default, so that nobody forgets it.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// Time for which the override holds, e.g. 2h; at least 1s.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_lasting)]
    lasts: Option<Duration>,
    /// Keep the override until `meridian release` removes it.
    #[arg(long)]
    until_removed: bool,
}

/// Options of `meridian overrides`.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON list.
    #[arg(long)]
    json: bool,
    /// Continue with the overrides that are listed, after a damaged file lost others. The server
    /// is not ready until then.
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    place: Place,
}

/// Options of `meridian release`.
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// Id of the override, or its subject: then every override of that subject is removed.
    what: String,
    /// Remove it even if that leaves a service fewer regions up than its `min_regions`.
    #[arg(long)]
    force: bool,
    /// Change nothing, and print what the release would do; the exit code is 1 if it would be
    /// refused.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Unusable duration of an override.
#[derive(Debug)]
enum BadLasting {
    /// The text is no duration.
    NoDuration(humantime::DurationError),
    /// The duration is shorter than an override may be.
    TooShort,
}

impl fmt::Display for BadLasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLasting::NoDuration(error) => error.fmt(f),
            BadLasting::TooShort => f.write_str("an override holds for at least 1s"),
        }
    }
}

impl std::error::Error for BadLasting {}

fn parse_lasting(text: &str) -> Result<Duration, BadLasting> {
    let time = humantime::parse_duration(text).map_err(BadLasting::NoDuration)?;
    if time < Duration::from_secs(1) {
        Err(BadLasting::TooShort)
    } else {
        Ok(time)
    }
}

impl New {
    /// Sets an `up` at the servers.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        self.send("up", |_| {})
    }

    /// Sets an override with this `action` at the servers, once `complete` has added what is its
    /// own.
    fn send(
        self,
        action: &str,
        complete: impl FnOnce(&mut NewOverride),
    ) -> Result<ExitCode, Error> {
        let terms = self.terms;
        let by = terms.by.or_else(user);
        let mut body = NewOverride {
            action: action.to_owned(),
            weight: None,
            what: terms.what,
            reason: terms.reason,
            r#for: terms.end.lasts.map(written),
            until_released: terms.end.until_removed,
            r#in: terms.starts_in.map(written),
            lower_ttl: false,
            ramp: None,
            by: Some(by.unwrap_or_else(|| "unknown".to_owned())),
            force: terms.force,
            dry_run: terms.dry_run,
        };
        complete(&mut body);
        let change = Change::Post("/v1/overrides".to_owned(), json!(body));
        request(&self.place, &change, terms.json)
    }
}

impl Drain {
    /// Sets a drain at the servers.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let Drain {
            lower_ttl, back, ..
        } = &self;
        let (lower_ttl, ramp) = (*lower_ttl, back.ramp.map(written));
        self.new.send("drain", |body| {
            (body.lower_ttl, body.ramp) = (lower_ttl, ramp);
        })
    }
}

impl Down {
    /// Sets a `down` at the servers.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let ramp = self.back.ramp.map(written);
        self.new.send("down", |body| body.ramp = ramp)
    }
}

/// A duration as requests have it.
fn written(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

impl Weight {
    /// Sets an override of the weight at the servers.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let weight = self.weight;
        self.new.send("weight", |body| body.weight = Some(weight))
    }
}

impl List {
    /// Prints the overrides in force and announced, or accepts the loss of others.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        if self.accept_loss {
            let change = Change::Post("/v1/overrides/accept-loss".to_owned(), json!({}));
            request(&self.place, &change, self.json)
        } else {
            list(&self.place, self.json)
        }
    }
}

impl Release {
    /// Removes an override by its number, or every override of a subject.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let what = percent_encode(&self.what);
        let path = format!(
            "/v1/overrides/{what}?force={}&dry_run={}",
            self.force, self.dry_run
        );
        request(&self.place, &Change::Delete(path), self.json)
    }
}

/// Prints the overrides of each server. Fails where some were lost: the list is incomplete then.
fn list(place: &Place, as_json: bool) -> Result<ExitCode, Error> {
    let looked = look::<OverrideList>(place, "/v1/overrides")?;
    let mut losses = Vec::new();
    for (_, status) in &looked.answered {
        losses.extend(status.lost.clone());
    }
    let code = looked.print(
        as_json,
        |status| json!(status.overrides),
        |status| lines(&status.overrides),
    );
    // On standard error, so that a script that reads the list still gets valid JSON.
    for lost in &losses {
        eprintln!(
            "meridian overrides: {lost}. The server is not ready until `meridian overrides \
             --accept-loss`, which continues with the overrides above"
        );
    }
    Ok(match losses.is_empty() {
        true => code,
        false => ExitCode::FAILURE,
    })
}

fn lines(overrides: &[OverrideDocument]) -> String {
    if overrides.is_empty() {
        return "no overrides".to_owned();
    }
    overrides
        .iter()
        .map(OverrideDocument::line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Name of the user who runs the command; behind sudo, of the user who called it.
pub(super) fn user() -> Option<String> {
    if let Ok(user) = std::env::var("SUDO_USER")
        && !user.is_empty()
    {
        return Some(user);
    }
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??;
    Some(user.name)
}
