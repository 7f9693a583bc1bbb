//! `meridian acme`: ACME challenges at running servers.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Error, Reason};
use super::local::{Place, look, look_with};
use crate::acme::LONGEST;
use crate::control::api::acme::{
    ChallengeDocument, ChallengeList, NewChallenge, WrittenChallenges,
};
use crate::control::{RequestError, Server, delete, percent_encode, put};

/// Commands of `meridian acme`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Acme {
    /// Set a challenge: a TXT record at _acme-challenge.NAME, for a certificate authority to ask
    /// for.
    Set {
        /// Name that the certificate is for, in a zone of the server.
        name: String,
        /// Value that the ACME client gives. Other values of the name stay.
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Time after which the challenge goes by itself, at most 24h.
        #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = parse_lasting)]
        lasts: Duration,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Clear a challenge, or every challenge of a name.
    Clear {
        /// Name that the certificate is for.
        name: String,
        /// Value of the challenge [default: every value of the name].
        #[arg(allow_hyphen_values = true)]
        value: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List the challenges in force.
    List {
        /// Print one JSON list.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Unusable duration of a challenge.
#[derive(Debug)]
enum BadLasting {
    /// The text is no duration.
    NoDuration(humantime::DurationError),
    /// The duration is none that a challenge may have.
    OutOfRange,
}

impl std::fmt::Display for BadLasting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadLasting::NoDuration(error) => error.fmt(f),
            BadLasting::OutOfRange => f.write_str("a challenge lasts from 1s to 24h"),
        }
    }
}

impl std::error::Error for BadLasting {}

fn parse_lasting(text: &str) -> Result<Duration, BadLasting> {
    let time = humantime::parse_duration(text).map_err(BadLasting::NoDuration)?;
    match (Duration::from_secs(1)..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err(BadLasting::OutOfRange),
    }
}

impl Acme {
    /// Sets, clears or lists challenges. Every server is asked, whatever becomes of another one:
    /// an authority asks any of them.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        match self {
            Acme::Set {
                name,
                value,
                lasts,
                json,
                place,
            } => {
                let body = json!(NewChallenge {
                    value,
                    r#for: Some(humantime::format_duration(lasts).to_string()),
                });
                let path = format!("/v1/acme/{}", percent_encode(&name));
                write(&place, json, |server| put(server, &path, Some(&body)))
            }
            Acme::Clear {
                name,
                value,
                json,
                place,
            } => {
                let mut path = format!("/v1/acme/{}", percent_encode(&name));
                if let Some(value) = value {
                    path += &format!("?value={}", percent_encode(&value));
                }
                write(&place, json, |server| delete(server, &path))
            }
            Acme::List { json, place } => {
                let answers = look::<ChallengeList>(&place, "/v1/acme")?;
                Ok(answers.print(json, |all| json!(all.challenges), lines))
            }
        }
    }
}

/// Has each server change its challenges, and prints the results.
fn write(
    place: &Place,
    as_json: bool,
    ask: impl Fn(&Server) -> Result<String, RequestError> + Sync,
) -> Result<ExitCode, Error> {
    let ask = |server: &Server| {
        let text = ask(server)?;
        serde_json::from_str::<WrittenChallenges>(&text).map_err(Reason::OtherVersion)
    };
    let answers = look_with(&place.servers()?, ask)?;
    let value = |written: &WrittenChallenges| -> Value { json!(written) };
    Ok(answers.print(as_json, value, |written| written.message.clone()))
}

fn lines(list: &ChallengeList) -> String {
    if list.challenges.is_empty() {
        return "no ACME challenges".to_owned();
    }
    let lines: Vec<String> = list.challenges.iter().map(line).collect();
    lines.join("\n")
}

fn line(challenge: &ChallengeDocument) -> String {
    let ChallengeDocument {
        record,
        value,
        by,
        until,
        ..
    } = challenge;
    format!("{record} TXT {value} until {until}, by {by}")
}
