//! The answer to a change of overrides and units, and the way of such a change through the loop.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Present, Problem, look};
use crate::control::preflight::{self, Preflight, Wish};
use crate::control::{Command, Control, DiagnosticDocument, Durable, Request, ask};
use crate::model::{Moment, WallTime};
use crate::overrides::{Action, Override};
use crate::publisher::NotDone;

/// A change that is durable, or the judgement of one that was only asked about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Written {
    /// The deed in words, a line for each part.
    pub message: String,
    /// The revision of the state document that it is in, counted since the server took its state
    /// directory up; null where nothing was written.
    #[serde(default)]
    pub revision: Option<u64>,
    /// The ids of the overrides that it is about.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Those of them that there are now.
    #[serde(default)]
    pub overrides: Vec<OverrideDocument>,
    /// The judgement of a change of overrides, and who moves; null for units, and where it took too
    /// long.
    #[serde(default)]
    pub preflight: Option<Preflight>,
    /// Warnings about the files, of a reload.
    #[serde(default)]
    pub diagnostics: Vec<DiagnosticDocument>,
}

/// An override of health or weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverrideDocument {
    /// Its id: an opaque text, never another's.
    pub id: String,
    /// `drain`, `up`, `down` or `weight`.
    pub action: String,
    /// The weight, where that is the action; null else.
    pub weight: Option<u32>,
    /// The kind of its subject: `region`, `metro`, `label`, `service`, `pool` or `endpoint`.
    pub scope: String,
    /// Its subject, as commands take it.
    pub name: String,
    /// The operator who made it, and the node: `anna@fra1`.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// The time at which it was made, in RFC 3339.
    pub made: String,
    /// The time at which it took or takes effect.
    pub starts: String,
    /// The time of its end; null where it lasts until it is released.
    pub until: Option<String>,
    /// True once it has taken effect.
    pub in_force: bool,
    /// True where the pre-flight spoke against it.
    pub forced: bool,
    /// The time in which the weight of its pools grows back afterwards, in seconds; null where they
    /// come back at once.
    pub ramp_seconds: Option<f64>,
    /// True once it has ended, while the weight of its pools grows back.
    pub returning: bool,
    /// The number of the drill that it is the drain of; null else.
    pub drill: Option<u64>,
}

impl OverrideDocument {
    /// The override as a line of a list.
    pub fn line(&self) -> String {
        let until = match &self.until {
            Some(until) => format!("until {until}"),
            None => "until it is released".to_owned(),
        };
        let starts = if self.returning {
            " returning, in force".to_owned()
        } else if self.in_force {
            String::new()
        } else {
            format!(" from {}", self.starts)
        };
        let forced = if self.forced { ", forced" } else { "" };
        let drill = self
            .drill
            .map_or(String::new(), |drill| format!(", drill {drill}"));
        let weight = self.weight.map_or(String::new(), |own| format!(" {own}"));
        format!(
            "{}  {}{weight} of {} {}{starts} {until}, by {} at {}{forced}{drill}: {}",
            self.id, self.action, self.scope, self.name, self.by, self.made, self.reason
        )
    }

    /// The document of `own`, at `now`, with times as `wall` reads them.
    pub(in crate::control) fn new(own: &Override, now: Moment, wall: WallTime) -> OverrideDocument {
        OverrideDocument {
            id: own.id.to_string(),
            action: own.action.as_label().to_owned(),
            weight: match own.action {
                Action::Weight(weight) => Some(weight.get()),
                Action::Drain | Action::Up | Action::Down => None,
            },
            scope: own.scope.as_label().to_owned(),
            name: own.scope.name(),
            by: own.by.clone(),
            reason: own.reason.clone(),
            made: wall.show(own.made).to_string(),
            starts: wall.show(own.starts).to_string(),
            until: own.until.map(|until| wall.show(until).to_string()),
            in_force: own.holds(now),
            forced: own.forced,
            ramp_seconds: own.ramp.map(|ramp| ramp.as_secs_f64()),
            returning: own.is_returning(now),
            drill: own.drill,
        }
    }
}

/// Has the loop carry out a command; the answer comes once that is on the disk.
pub(super) async fn command(control: &Control, command: Command) -> Result<Written, Problem> {
    let done = ask(control, |reply| Request::Command { command, reply }).await??;
    look(control, move |present| Ok(written(present, &done))).await
}

fn written(present: &Present, durable: &Durable) -> Written {
    let numbers = durable.done.numbers();
    let list = present.view.overrides.list.0.iter();
    let of_it = list.filter(|own| numbers.contains(&own.id));
    Written {
        message: durable.done.message(present.wall),
        revision: durable.revision.map(|revision| revision.0),
        ids: numbers.iter().map(u64::to_string).collect(),
        overrides: of_it
            .map(|own| OverrideDocument::new(own, present.view.at, present.wall))
            .collect(),
        preflight: None,
        diagnostics: Vec::new(),
    }
}

/// Has the loop change the overrides; the numbers of the pre-flight come with the answer.
pub(super) async fn change(
    control: &Control,
    wish: Wish,
    change: Command,
) -> Result<Written, Problem> {
    let judged = preflight::begin(control, wish).await?;
    // Computed beside the deed, which does not wait for it: a drain is urgent, its numbers are not.
    let result = ask(control, |reply| Request::Command {
        command: change,
        reply,
    })
    .await?;
    let preflight = judged.wait().await.ok();
    match result {
        Ok(done) => {
            let told = look(control, move |present| {
                Ok(Written {
                    preflight,
                    ..written(present, &done)
                })
            });
            told.await
        }
        Err(why @ NotDone::Refused(_)) => {
            let objections = preflight.map_or(Vec::new(), |own| own.objections);
            Err(match objections.is_empty() {
                true => Problem::from(why),
                false => Problem::from(why)
                    .breaking("preflight")
                    .with_objections(objections),
            })
        }
        Err(why) => Err(why.into()),
    }
}

/// Judges a change of the overrides, and changes nothing.
pub(super) async fn dry_run(control: &Control, wish: Wish) -> Result<Written, Problem> {
    let preflight = preflight::begin(control, wish).await?.wait().await?;
    Ok(Written {
        message: preflight.verdict(),
        preflight: Some(preflight),
        ..Written::default()
    })
}
