//! `/v1/overrides`: what operators impose on health and weight.

use std::time::Duration;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::written::{OverrideDocument, Written, change, command, dry_run};
use super::{
    Concern, Deed, Nothing, Params, Present, Problem, Refusals, Routes, Running, Segments, Write,
    Writer, build, carry_out,
};
use crate::config::Config;
use crate::control::preflight::Wish;
use crate::control::{Command, access};
use crate::model::Weight;
use crate::overrides::{Action, OverrideRequest, Scope, Selector};

/// The overrides in force and announced.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OverrideList {
    /// The reason why others were lost, until an operator accepts it; null where none were.
    pub lost: Option<String>,
    /// The overrides, in the order in which they were made.
    pub overrides: Vec<OverrideDocument>,
}

/// Every override.
pub(in crate::control) fn list(present: &Present) -> OverrideList {
    let all = &present.view.overrides;
    let overrides = all.list.0.iter();
    OverrideList {
        lost: all.lost.clone(),
        overrides: overrides
            .map(|own| OverrideDocument::new(own, present.view.at, present.wall))
            .collect(),
    }
}

/// List overrides.
#[utoipa::path(
    get, path = "/v1/overrides", tag = "overrides",
    responses((status = 200, description = "The overrides", body = OverrideList), Refusals)
)]
async fn overrides(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| Ok(list(present))).await
}

/// A new override.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOverride {
    /// `drain`, `up`, `down` or `weight`.
    pub action: String,
    /// The weight, 0 to 1000000, where that is the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub weight: Option<u32>,
    /// Its subject: a region, metro, label (`KEY:VALUE`), service, `SERVICE/REGION`, endpoint or
    /// `SERVICE/ENDPOINT`.
    pub what: String,
    /// The reason, which the log and every explanation show; at most 500 characters.
    pub reason: String,
    /// The time for which it holds, as in `2h` or `90m`; at least `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<String>,
    /// True for an override without an end. Either this or `for` is given, so that nobody forgets
    /// the end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub until_released: bool,
    /// The time until it takes effect, as in `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#in: Option<String>,
    /// True to take effect once every cache has let go of the answers of before: until then they
    /// have `ttl_min`. With `in` at the later of the two.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lower_ttl: bool,
    /// The time in which the weight of the pools grows back once it ends, 1 s to 24 h, as in `10m`;
    /// of `drain` and `down` of whole pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<String>,
    /// The operator's name, from callers that are trusted with it; the caller's own where it is left
    /// out. At most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// True to make it although the pre-flight speaks against it, which is recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// True to change nothing and be told what the pre-flight says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The shortest override; a shorter one ends before anybody sees it.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest override with an end; a longer one must say that it has none.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
/// The longest ramp after an override.
const LONGEST_RAMP: Duration = Duration::from_secs(86_400);
/// The longest reason, in characters.
pub(super) const LONGEST_REASON: usize = 500;
/// The longest name of an operator, in characters.
pub(super) const LONGEST_NAME: usize = 100;

impl NewOverride {
    /// Checks all of it; `by` is the operator's name as it is recorded.
    pub(in crate::control) fn read(
        &self,
        by: String,
        config: &Config,
    ) -> Result<OverrideRequest, Problem> {
        let reason = self.reason()?;
        let lasts = self.lasts()?;
        let starts_in = self.r#in.as_deref().map(|text| time("in", text));
        let scope = Scope::find(config, &self.what)
            .map_err(|why| Problem::not_found("what", why.to_string()))?;
        let action = self.action()?;
        let mut starts_in = starts_in.transpose()?.unwrap_or_default();
        if self.lower_ttl {
            starts_in = starts_in.max(scope.longest_ttl(config));
        }
        Ok(OverrideRequest {
            ramp: self.ramp(action, &scope)?,
            action,
            scope,
            by,
            reason,
            starts_in,
            lasts,
            force: self.force,
            drill: None,
        })
    }

    fn action(&self) -> Result<Action, Problem> {
        let action = match (self.action.as_str(), self.weight) {
            ("weight", Some(weight)) => {
                let weight = Weight::new(weight).ok_or_else(|| {
                    let why = format!("{weight} is too much: write weight 0 to {}", Weight::MAX);
                    Problem::wrong("weight", "bad-value", why)
                })?;
                return Ok(Action::Weight(weight));
            }
            ("weight", None) => {
                let why = "the action weight needs a weight";
                return Err(Problem::wrong("weight", "missing-key", why));
            }
            ("drain", _) => Action::Drain,
            ("up", _) => Action::Up,
            ("down", _) => Action::Down,
            (other, _) => {
                let why = format!("{other} is not an override: write drain, up, down or weight");
                return Err(Problem::wrong("action", "unknown-value", why));
            }
        };
        match self.weight {
            None => Ok(action),
            Some(_) => {
                let why = format!("the action {action} takes no weight");
                Err(Problem::wrong("weight", "useless-key", why))
            }
        }
    }

    fn ramp(&self, action: Action, scope: &Scope) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.ramp.as_deref() else {
            return Ok(None);
        };
        let ramp = time("ramp", text)?;
        if ramp < SHORTEST || ramp > LONGEST_RAMP {
            let why = format!("{text} is not a time from 1 s to 24 h");
            return Err(Problem::wrong("ramp", "out-of-range", why));
        }
        let is_of_pools = !matches!(scope, Scope::Endpoint { .. });
        if !is_of_pools || !matches!(action, Action::Drain | Action::Down) {
            let why = "a ramp follows a drain or a down of whole pools: leave it out";
            return Err(Problem::wrong("ramp", "useless-key", why));
        }
        Ok(Some(ramp))
    }

    fn reason(&self) -> Result<String, Problem> {
        let reason = line("reason", "the reason", &self.reason, LONGEST_REASON)?;
        if reason.is_empty() {
            let why = "the reason is missing: it tells other operators why";
            return Err(Problem::wrong("reason", "empty-value", why));
        }
        Ok(reason)
    }

    fn lasts(&self) -> Result<Option<Duration>, Problem> {
        match (self.r#for.as_deref(), self.until_released) {
            (None, true) => Ok(None),
            (Some(text), false) => {
                let lasts = time("for", text)?;
                // An override of no time would be logged as begun and ended, and have changed
                // nothing.
                if lasts < SHORTEST {
                    let why = format!("an override holds for at least {} s", SHORTEST.as_secs());
                    return Err(Problem::wrong("for", "too-short", why));
                }
                Ok(Some(lasts))
            }
            (None, false) => {
                let why = "an override has an end: write for, or until_released = true";
                Err(Problem::wrong("for", "missing-key", why))
            }
            (Some(_), true) => {
                let why = "an override ends after a time or when it is released, not both";
                Err(Problem::wrong("until_released", "useless-key", why))
            }
        }
    }

    /// The operator's name that it gives, checked.
    fn by(&self) -> Result<Option<String>, Problem> {
        let by = self.by.as_deref();
        by.map(|by| line("by", "the operator's name", by, LONGEST_NAME))
            .transpose()
    }
}

fn time(field: &str, text: &str) -> Result<Duration, Problem> {
    let time = humantime::parse_duration(text).map_err(|why| {
        let why = format!("{text} is no duration such as 90s, 15m or 2h: {why}");
        Problem::wrong(field, "bad-duration", why)
    })?;
    if time > LONGEST {
        let days = LONGEST.as_secs() / 86_400;
        let why = format!("{text} is not a time from 0 to {days} days");
        return Err(Problem::wrong(field, "too-long", why));
    }
    Ok(time)
}

/// Text for the log, for terminals and for every `why`: one line of plain text.
pub(super) fn line(field: &str, what: &str, text: &str, most: usize) -> Result<String, Problem> {
    let text = text.trim();
    if let Some(c) = text.chars().find(|c| breaks_line(*c)) {
        let c = u32::from(c);
        let why =
            format!("{what} has the control character U+{c:04X}: write one line of plain text");
        return Err(Problem::wrong(field, "control-character", why));
    }
    let length = text.chars().count();
    if length > most {
        let why = format!("{what} has {length} characters; the limit is {most}");
        return Err(Problem::wrong(field, "too-long", why));
    }
    Ok(text.to_owned())
}

/// True for characters that end a line, control a terminal, or turn the direction of what follows,
/// so that a line of the log can be made to read as another.
fn breaks_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

async fn add_override(writer: Writer, body: NewOverride) -> Result<Written, Problem> {
    let given = body.by()?;
    let by = writer.operator(given).await;
    let control = &writer.control;
    let dataset = control.published.load().dataset.clone();
    let asked = body.read(by, &dataset.config)?;
    let wish = Wish::Add(asked.clone());
    match body.dry_run {
        true => dry_run(control, wish).await,
        false => change(control, wish, Command::Override(asked)).await,
    }
}

/// Make an override.
///
/// It is durable, and in force, when the answer comes.
#[utoipa::path(
    post, path = "/v1/overrides", tag = "overrides", request_body = NewOverride,
    responses((status = 200, description = "The override, or the judgement of a dry run", body = Written), Refusals)
)]
async fn add(Write { writer, body }: Write<NewOverride>) -> Result<Response, Problem> {
    let action = body.action.clone();
    let deed = Deed {
        action: if body.dry_run { "dry run" } else { &action },
        subject: body.what.clone(),
        reason: Some(body.reason.clone()),
        concern: Concern::Overrides(body.what.clone()),
        // Who may read may ask what would be.
        scope: match body.dry_run {
            true => access::Scope::Read,
            false => access::Scope::Operate,
        },
    };
    carry_out(&writer, deed, add_override(writer.clone(), body)).await
}

/// The parameters of a release.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Release {
    /// True to release it although the pre-flight speaks against that.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    force: bool,
    /// True to change nothing and be told what the pre-flight says.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    dry_run: bool,
}

async fn release_overrides(
    writer: Writer,
    what: String,
    Release {
        force,
        dry_run: dry,
    }: Release,
) -> Result<Written, Problem> {
    let control = &writer.control;
    let dataset = control.published.load().dataset.clone();
    // No error where nothing is found: overrides outlive the files that named their scope.
    let what = Selector::find(&dataset.config, &what);
    let wish = Wish::Release {
        what: what.clone(),
        force,
    };
    match dry {
        true => dry_run(control, wish).await,
        false => change(control, wish, Command::Release { what, force }).await,
    }
}

/// Release an override.
#[utoipa::path(
    delete, path = "/v1/overrides/{id}", tag = "overrides",
    params(
        ("id" = String, Path, description = "The id of the override, or its subject: then every override of that subject is released"),
        Release,
    ),
    responses((status = 200, description = "What is released, or the judgement of a dry run", body = Written), Refusals)
)]
async fn release(
    Segments(id): Segments<String>,
    Params(how): Params<Release>,
    Write { writer, .. }: Write<Nothing>,
) -> Result<Response, Problem> {
    let deed = Deed {
        action: if how.dry_run { "dry run" } else { "release" },
        subject: id.clone(),
        reason: None,
        concern: Concern::Overrides(id.clone()),
        scope: match how.dry_run {
            true => access::Scope::Read,
            false => access::Scope::Operate,
        },
    };
    carry_out(&writer, deed, release_overrides(writer.clone(), id, how)).await
}

/// Accept the loss of overrides.
///
/// The server goes on with those that it has, after a damaged file lost others.
#[utoipa::path(
    post, path = "/v1/overrides/accept-loss", tag = "overrides",
    responses((status = 200, description = "The loss is accepted", body = Written), Refusals)
)]
async fn accept_loss(Write { writer, .. }: Write<Nothing>) -> Result<Response, Problem> {
    let deed = Deed {
        action: "accept-loss",
        subject: "overrides".to_owned(),
        reason: None,
        concern: Concern::Nothing,
        scope: access::Scope::Operate,
    };
    let control = writer.control.clone();
    let doing = async move { command(&control, Command::AcceptLoss).await };
    carry_out(&writer, deed, doing).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(overrides, add))
        .routes(routes!(release))
        .routes(routes!(accept_loss))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wrong<T: std::fmt::Debug>(result: Result<T, Problem>, field: &str, rule: &str) {
        let problem = result.unwrap_err();
        let document = problem.document();
        assert_eq!(
            (document.field.as_deref(), document.rule.as_deref()),
            (Some(field), Some(rule)),
            "{}",
            document.detail
        );
    }

    fn drain() -> NewOverride {
        NewOverride {
            action: "drain".to_owned(),
            reason: " INC-7 ".to_owned(),
            r#for: Some("90m".to_owned()),
            ..NewOverride::default()
        }
    }

    #[test]
    fn an_override_has_a_known_action_a_reason_and_one_end() {
        let own = drain();
        assert_eq!(own.action().unwrap(), Action::Drain);
        assert_eq!(own.reason().unwrap(), "INC-7");
        assert_eq!(own.lasts().unwrap(), Some(Duration::from_secs(5400)));
        let with = |change: fn(&mut NewOverride)| {
            let mut own = drain();
            change(&mut own);
            own
        };
        let weight = with(|own| (own.action, own.weight) = ("weight".to_owned(), Some(7)));
        assert_eq!(weight.action().unwrap().to_string(), "weight 7");
        wrong(
            with(|own| own.weight = Some(1)).action(),
            "weight",
            "useless-key",
        );
        let without = with(|own| own.action = "weight".to_owned());
        wrong(without.action(), "weight", "missing-key");
        let large = with(|own| {
            (own.action, own.weight) = ("weight".to_owned(), Some(1_000_001));
        });
        wrong(large.action(), "weight", "bad-value");
        wrong(
            with(|own| own.action.clear()).action(),
            "action",
            "unknown-value",
        );
        wrong(
            with(|own| own.reason.clear()).reason(),
            "reason",
            "empty-value",
        );
        let long = with(|own| own.reason = "x".repeat(501));
        wrong(long.reason(), "reason", "too-long");
        let forged = with(|own| own.by = Some("anna\nERROR".to_owned()));
        wrong(forged.by(), "by", "control-character");
    }

    #[test]
    fn an_end_is_a_time_or_a_release_and_never_forgotten() {
        let lasts = |text: Option<&str>, until_released| {
            let own = NewOverride {
                r#for: text.map(str::to_owned),
                until_released,
                ..NewOverride::default()
            };
            own.lasts()
        };
        assert_eq!(lasts(None, true).unwrap(), None);
        wrong(lasts(None, false), "for", "missing-key");
        wrong(lasts(Some("1h"), true), "until_released", "useless-key");
        wrong(lasts(Some("999ms"), false), "for", "too-short");
        wrong(lasts(Some("11years"), false), "for", "too-long");
        wrong(lasts(Some("soon"), false), "for", "bad-duration");
    }

    #[test]
    fn a_line_of_text_cannot_be_made_to_look_like_another() {
        assert_eq!(line("by", "it", "  münchen 雪 ", 10).unwrap(), "münchen 雪");
        for c in ['\n', '\u{1b}', '\u{2028}', '\u{202e}', '\u{2066}'] {
            wrong(
                line("by", "it", &format!("a{c}b"), 10),
                "by",
                "control-character",
            );
        }
    }
}
