//! `/v1/drills`: drills, those to come, and the reports of those that were.

use std::time::Duration;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::overrides::{LONGEST_NAME, LONGEST_REASON, line};
use super::{
    Concern, Deed, Nothing, Params, Present, Problem, Refusals, Routes, Running, Segments, Write,
    build, carry_out,
};
use crate::config::Config;
use crate::control::access::Scope;
use crate::control::{Control, DrillRefusal, DrillsShown};
use crate::drills::{DrillReport, DrillRequest, NotStarted, Verdict};
use crate::model::WallTime;
use crate::overrides;

/// The shortest and the longest drill.
const LASTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(86_400)];

/// The drills.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DrillList {
    /// True while one runs.
    pub running: bool,
    /// The reports that are kept, the newest first.
    pub drills: Vec<DrillReport>,
    /// The next drill of each schedule, soonest first.
    pub next: Vec<NextDrill>,
}

/// A drill to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NextDrill {
    /// Its beginning, in RFC 3339.
    pub at: String,
    /// The same by the clock of its time zone.
    pub local: String,
    /// The region, metro or label that it drains.
    pub target: String,
    /// The time for which it lasts, in seconds.
    pub seconds: f64,
    /// Its reason.
    pub reason: String,
    /// Its schedule, in the syntax of cron.
    pub schedule: String,
}

impl DrillList {
    /// The drills of a moment.
    pub fn new(shown: &DrillsShown) -> DrillList {
        let last = shown.reports.last();
        let next = shown.next.iter().map(|(at, spec)| NextDrill {
            at: utc(*at),
            local: spec.schedule.show(*at),
            target: spec.target.clone(),
            seconds: spec.lasts.as_secs_f64(),
            reason: spec.reason.clone(),
            schedule: spec.schedule.to_string(),
        });
        DrillList {
            running: last.is_some_and(|report| report.verdict == Verdict::Running),
            drills: shown.reports.iter().rev().cloned().collect(),
            next: next.collect(),
        }
    }
}

/// A Unix time in RFC 3339.
fn utc(unix: Duration) -> String {
    let wall = WallTime::default();
    wall.show(wall.moment(unix)).to_string()
}

/// A request for a drill.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    /// The part of the configuration that is drained, as overrides name it.
    pub target: String,
    /// The time for which it is, 1 s to 24 h: `15m`.
    pub r#for: String,
    /// The reason, in one line.
    #[serde(default)]
    pub reason: Option<String>,
    /// The operator's name.
    #[serde(default)]
    pub by: Option<String>,
}

impl NewDrill {
    fn read(self, config: &Config, by: String) -> Result<DrillRequest, Problem> {
        let lasts = humantime::parse_duration(&self.r#for);
        let lasts = lasts.map_err(|why| Problem::wrong("for", "bad-duration", why.to_string()))?;
        if lasts < LASTS[0] || lasts > LASTS[1] {
            let why = "a drill lasts from 1 s to 24 h";
            return Err(Problem::wrong("for", "out-of-range", why));
        }
        let target = overrides::Scope::find(config, &self.target);
        let reason = self.reason.as_deref().unwrap_or("drill");
        Ok(DrillRequest {
            target: target.map_err(|why| Problem::not_found("target", why.to_string()))?,
            lasts,
            reason: line("reason", "the reason", reason, LONGEST_REASON)?,
            by,
            scheduled: false,
        })
    }
}

/// The operator's name that a request gives, checked.
fn named(by: Option<&str>) -> Result<Option<String>, Problem> {
    by.map(|by| line("by", "the operator's name", by, LONGEST_NAME))
        .transpose()
}

/// List drills.
#[utoipa::path(
    get, path = "/v1/drills", tag = "drills",
    responses((status = 200, description = "The drills", body = DrillList), Refusals)
)]
async fn drills(Running(control): Running) -> Result<Response, Problem> {
    let shown = control.drills.shown();
    build(&control, move |_: &Present| Ok(DrillList::new(&shown))).await
}

/// Show the report of a drill.
#[utoipa::path(
    get, path = "/v1/drills/{id}", tag = "drills",
    params(("id" = u64, Path, description = "The number of the drill")),
    responses((status = 200, description = "Its report", body = DrillReport), Refusals)
)]
async fn drill(
    Running(control): Running,
    Segments(id): Segments<u64>,
) -> Result<Response, Problem> {
    let shown = control.drills.shown();
    build(&control, move |_: &Present| {
        let report = shown.reports.iter().find(|report| report.id == id);
        report
            .cloned()
            .ok_or_else(|| Problem::not_found("id", format!("there is no report of a drill {id}")))
    })
    .await
}

async fn begin(control: Control, asked: DrillRequest) -> Result<DrillReport, Problem> {
    control.drills.start(asked).await.map_err(|why| match &why {
        DrillRefusal::NotStarted(NotStarted::Running(_)) => {
            Problem::refused(why.to_string()).breaking("drill-running")
        }
        DrillRefusal::NotStarted(NotStarted::Refused { why: all, .. }) => {
            let problem = Problem::refused(why.to_string()).breaking("pre-flight");
            problem.with_objections(all.clone())
        }
        DrillRefusal::Unavailable(_) => Problem::unavailable(why.to_string()),
    })
}

/// Start a drill.
#[utoipa::path(
    post, path = "/v1/drills", tag = "drills", request_body = NewDrill,
    responses((status = 200, description = "Its report so far", body = DrillReport), Refusals)
)]
async fn start(Write { writer, body }: Write<NewDrill>) -> Result<Response, Problem> {
    let deed = Deed {
        action: "drill",
        subject: body.target.clone(),
        reason: body.reason.clone(),
        concern: Concern::Overrides(body.target.clone()),
        scope: Scope::Operate,
    };
    let (control, asking) = (writer.control.clone(), writer.clone());
    let doing = async move {
        let by = asking.operator(named(body.by.as_deref())?).await;
        let dataset = control.published.load().dataset.clone();
        let asked = body.read(&dataset.config, by)?;
        begin(control, asked).await
    };
    carry_out(&writer, deed, doing).await
}

/// The parameters of the end of a drill.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Stopping {
    /// The operator's name.
    by: Option<String>,
}

/// End the drill that runs.
#[utoipa::path(
    delete, path = "/v1/drills", tag = "drills", params(Stopping),
    responses((status = 200, description = "Its report so far", body = DrillReport), Refusals)
)]
async fn stop(
    Params(stopping): Params<Stopping>,
    Write { writer, .. }: Write<Nothing>,
) -> Result<Response, Problem> {
    let deed = Deed {
        action: "stop-drill",
        subject: String::new(),
        reason: None,
        concern: Concern::Nothing,
        scope: Scope::Operate,
    };
    let (control, asking) = (writer.control.clone(), writer.clone());
    let doing = async move {
        let by = asking.operator(named(stopping.by.as_deref())?).await;
        let stopped = control.drills.stop(by).await;
        stopped.map_err(|why| Problem::refused(why.to_string()).breaking("no-drill"))
    };
    carry_out(&writer, deed, doing).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(drills, start, stop))
        .routes(routes!(drill))
}
