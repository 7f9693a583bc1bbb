//! `meridian drill`: drains that rehearse the loss of a place.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Error, Reason};
use super::local::{Place, look};
use super::overrides::user;
use crate::control::api::drills::{DrillList, NextDrill};
use crate::control::{RequestError, Server, delete, percent_encode, post};
use crate::drills::DrillReport;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Drill {
    /// Drain a place for a time, and watch those who take its clients over. The drill does not
    /// begin if they cannot take them, ends by itself, and ends at once if one of them degrades.
    Start(Start),
    /// End the running drill.
    Stop(Stop),
    /// List the drills that were, and the next ones of the schedule.
    List(List),
    /// Show the report of a drill: who moved, what broke, and for how long.
    Report(Report),
}

/// Options of `meridian drill start`.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// Region, metro, label (KEY:VALUE), service or SERVICE/REGION to drain.
    target: String,
    /// Time for which the drill lasts, e.g. 15m; 1s to 24h.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Duration,
    /// Reason for the drill; the log, the report and every `why` show it.
    #[arg(long)]
    reason: Option<String>,
    /// Person who starts the drill [default: the user who runs the command].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Options of `meridian drill stop`.
#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// Person who ends the drill [default: the user who runs the command].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Options of `meridian drill list`.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Options of `meridian drill report`.
#[derive(Debug, clap::Args)]
pub(super) struct Report {
    /// Number of the drill [default: the last one].
    id: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Drill {
    /// Does what the command says.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        match self {
            Drill::Start(start) => start.run(),
            Drill::Stop(stop) => stop.run(),
            Drill::List(list) => list.run(),
            Drill::Report(report) => report.run(),
        }
    }
}

impl Start {
    fn run(self) -> Result<ExitCode, Error> {
        let body = json!({
            "target": self.target,
            "for": humantime::format_duration(self.lasts).to_string(),
            "reason": self.reason,
            "by": self.by.or_else(user),
        });
        change(&self.place, self.json, |server| {
            post(server, "/v1/drills", Some(&body))
        })
    }
}

impl Stop {
    fn run(self) -> Result<ExitCode, Error> {
        let mut path = "/v1/drills".to_owned();
        if let Some(by) = self.by.or_else(user) {
            path += &format!("?by={}", percent_encode(&by));
        }
        change(&self.place, self.json, |server| delete(server, &path))
    }
}

/// Has each server in turn change its drills, up to the first that refuses, and prints the reports.
fn change(
    place: &Place,
    as_json: bool,
    ask: impl Fn(&Server) -> Result<String, RequestError>,
) -> Result<ExitCode, Error> {
    for server in place.servers()? {
        let text = ask(&server).map_err(Reason::from)?;
        let report: DrillReport = serde_json::from_str(&text).map_err(Reason::OtherVersion)?;
        if as_json {
            print_line!("{:#}", json!(report));
        } else {
            print_line!("{}", report.lines().join("\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn run(self) -> Result<ExitCode, Error> {
        let answers = look::<DrillList>(&self.place, "/v1/drills")?;
        Ok(answers.print(self.json, |list| json!(list), lines))
    }
}

impl Report {
    fn run(self) -> Result<ExitCode, Error> {
        if let Some(id) = self.id {
            let answers = look::<DrillReport>(&self.place, &format!("/v1/drills/{id}"))?;
            return Ok(answers.print(
                self.json,
                |report| json!(report),
                |report| report.lines().join("\n"),
            ));
        }
        let answers = look::<DrillList>(&self.place, "/v1/drills")?;
        let text = |list: &DrillList| match list.drills.first() {
            Some(report) => report.lines().join("\n"),
            None => "no drills yet".to_owned(),
        };
        let value = |list: &DrillList| list.drills.first().map_or(Value::Null, |own| json!(own));
        Ok(answers.print(self.json, value, text))
    }
}

fn lines(list: &DrillList) -> String {
    let mut lines: Vec<String> = list.next.iter().map(NextDrill::line).collect();
    lines.extend(list.drills.iter().map(line));
    if lines.is_empty() {
        return "no drills yet, and none to come".to_owned();
    }
    lines.join("\n")
}

impl NextDrill {
    fn line(&self) -> String {
        let lasts = humantime::format_duration(Duration::from_secs_f64(self.seconds));
        format!(
            "next  {} of {} for {lasts}: {}",
            self.local, self.target, self.reason
        )
    }
}

fn line(report: &DrillReport) -> String {
    let why = match report.why.first() {
        Some(why) => format!(", because {why}"),
        None => String::new(),
    };
    format!(
        "{}  {} {} at {}, by {}: {}{why}",
        report.id, report.target, report.verdict, report.started, report.by, report.reason
    )
}
