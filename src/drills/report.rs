//! The report of a drill: who moved, what broke, and how it ended.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DrillRequest;
use crate::model::{Moment, WallTime};
use crate::simulate::{NameShift, RegionShift, Shift, round};

/// The most names and regions of which a report tells.
const TOLD: usize = 20;
/// The most changes for the worse that a report has.
const BROKE: usize = 50;

/// The report of one drill; times are in RFC 3339.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillReport {
    /// Its number, never another's.
    pub id: u64,
    /// The part of the configuration that was drained: `region dublin`.
    pub target: String,
    /// The reason that was given.
    pub reason: String,
    /// The person who started it.
    pub by: String,
    /// True where a schedule of the configuration started it.
    pub scheduled: bool,
    /// The time at which it was asked for.
    pub started: String,
    /// The time at which it ended; `None` while it runs.
    pub ended: Option<String>,
    /// The time for which it was asked, in seconds.
    pub planned_seconds: f64,
    /// The time for which its drain was in force, in seconds.
    pub lasted_seconds: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// The causes of a refusal or an abortion, as sentences.
    pub why: Vec<String>,
    /// The number of its override; `None` where none was made.
    pub r#override: Option<u64>,
    /// The number of services of which clients moved.
    pub services: usize,
    /// The smallest and the largest share of such a service's clients that moved, 0 … 1.
    pub moved: [f64; 2],
    /// The names of which most clients moved.
    pub names: Vec<MovedClients>,
    /// The regions that had clients of these meanwhile.
    pub regions: Vec<ReachedLoad>,
    /// The changes for the worse that were seen meanwhile, where they concern a survivor or a
    /// service of which clients moved; the first ones.
    pub broke: Vec<Broke>,
    /// The number of all such changes.
    pub broke_count: usize,
}

/// The verdict of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has not ended.
    Running,
    /// It lasted as long as it was to, and nothing degraded.
    Completed,
    /// An operator ended it.
    Stopped,
    /// A survivor degraded, or nobody was left to watch them.
    Aborted,
    /// It did not begin.
    Refused,
}

/// The clients of one name that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MovedClients {
    /// Its owner name.
    pub name: String,
    /// A or AAAA.
    pub r#type: String,
    /// The share of its clients that moved, 0 … 1.
    pub moved: f64,
    /// The share of its clients by region, before.
    pub before: BTreeMap<String, f64>,
    /// The same meanwhile.
    pub after: BTreeMap<String, f64>,
}

/// The load that a region was to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReachedLoad {
    /// The region.
    pub region: String,
    /// The largest share of a name's clients that it has, before and meanwhile.
    pub clients: [f64; 2],
    /// The multiple of its capacity that this is; `None` without a capacity.
    pub of_capacity: Option<f64>,
    /// The load that its endpoints reported at the start; `None` where none is known.
    pub load: Option<f64>,
    /// The highest load that they reported meanwhile.
    pub highest_load: Option<f64>,
}

/// A change for the worse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Broke {
    /// The time at which it was seen.
    pub at: String,
    /// The sentence of the log.
    pub sentence: String,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 5] = [
        Verdict::Running,
        Verdict::Completed,
        Verdict::Stopped,
        Verdict::Aborted,
        Verdict::Refused,
    ];

    /// Its name as a metric's label.
    pub fn as_label(self) -> &'static str {
        match self {
            Verdict::Running => "running",
            Verdict::Completed => "completed",
            Verdict::Stopped => "stopped",
            Verdict::Aborted => "aborted",
            Verdict::Refused => "refused",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_label())
    }
}

impl DrillReport {
    /// The report of a drill that is asked for at `now`.
    pub(super) fn begin(
        id: u64,
        asked: &DrillRequest,
        shift: &Shift,
        now: Moment,
        wall: WallTime,
    ) -> DrillReport {
        DrillReport {
            id,
            target: asked.target.to_string(),
            reason: asked.reason.clone(),
            by: asked.by.clone(),
            scheduled: asked.scheduled,
            started: wall.show(now).to_string(),
            ended: None,
            planned_seconds: asked.lasts.as_secs_f64(),
            lasted_seconds: 0.0,
            verdict: Verdict::Running,
            why: Vec::new(),
            r#override: None,
            services: shift.moving,
            moved: [round(shift.moved.0), round(shift.moved.1)],
            names: shift
                .names
                .iter()
                .take(TOLD)
                .map(MovedClients::new)
                .collect(),
            regions: shift
                .regions
                .iter()
                .take(TOLD)
                .map(ReachedLoad::new)
                .collect(),
            broke: Vec::new(),
            broke_count: 0,
        }
    }

    /// Notes a change for the worse.
    pub(super) fn note(&mut self, sentence: &str, now: Moment, wall: WallTime) {
        self.broke_count += 1;
        if self.broke.len() < BROKE {
            self.broke.push(Broke {
                at: wall.show(now).to_string(),
                sentence: sentence.to_owned(),
            });
        }
    }

    /// Notes the load that a survivor reports.
    pub(super) fn note_load(&mut self, region: &str, load: f64) {
        if let Some(own) = self.regions.iter_mut().find(|own| own.region == region) {
            let highest = own.highest_load.unwrap_or(0.0).max(load);
            own.highest_load = Some(round(highest));
        }
    }

    /// The report in words, a line each.
    pub fn lines(&self) -> Vec<String> {
        let ended = match &self.ended {
            Some(ended) => format!("{} to {ended}", self.started),
            None => format!("since {}", self.started),
        };
        let scheduled = if self.scheduled { ", as scheduled" } else { "" };
        let mut lines = vec![
            format!("drill {}: {} of {}", self.id, self.verdict, self.target),
            format!("  {ended}, by {}{scheduled}: {}", self.by, self.reason),
        ];
        lines.extend(self.why.iter().map(|why| format!("  because {why}")));
        if self.r#override.is_some() {
            lines.push(format!(
                "  drained for {:.0} s of {:.0} s",
                self.lasted_seconds, self.planned_seconds
            ));
        }
        let moved = match self.r#override {
            Some(_) => "moved",
            None => "would have moved",
        };
        let plural = if self.services == 1 { "" } else { "s" };
        lines.push(format!(
            "  clients of {} service{plural} {moved}",
            self.services
        ));
        for name in &self.names {
            lines.push(format!("    {}", name.line()));
        }
        lines.extend(self.regions.iter().filter_map(ReachedLoad::line));
        match self.broke_count {
            // Nothing could break of what did not begin.
            0 if self.r#override.is_none() => {}
            0 => lines.push("  nothing broke".to_owned()),
            count => lines.push(format!("  changes for the worse: {count}")),
        }
        for broke in &self.broke {
            lines.push(format!("    {} {}", broke.at, broke.sentence));
        }
        lines
    }
}

impl MovedClients {
    fn new(shift: &NameShift) -> MovedClients {
        MovedClients {
            name: shift.name.clone(),
            r#type: shift.rtype.to_string(),
            moved: round(shift.moved),
            before: shares(&shift.before),
            after: shares(&shift.after),
        }
    }

    fn line(&self) -> String {
        let mut went = Vec::new();
        for (region, share) in &self.after {
            let before = self.before.get(region).copied().unwrap_or(0.0);
            if share - before > 1e-6 {
                let gained = crate::simulate::percent(share - before);
                went.push(format!("{gained} to {region}"));
            }
        }
        let moved = crate::simulate::percent(self.moved);
        format!(
            "{} {}: {moved}, {}",
            self.name,
            self.r#type,
            went.join(", ")
        )
    }
}

impl ReachedLoad {
    fn new(shift: &RegionShift) -> ReachedLoad {
        let load = shift.load.map(|(now, _)| round(now));
        ReachedLoad {
            region: shift.region.clone(),
            clients: [round(shift.before), round(shift.after)],
            // JSON has no infinity.
            of_capacity: shift.of_capacity().filter(|of| of.is_finite()).map(round),
            load,
            highest_load: load,
        }
    }

    /// The line of a region of which something is known; `None` of others.
    fn line(&self) -> Option<String> {
        let mut known = Vec::new();
        if let Some(of) = self.of_capacity {
            known.push(format!("{:.2} × its capacity", of));
        }
        if let (Some(load), Some(highest)) = (self.load, self.highest_load) {
            known.push(format!("load {load:.2} at the start, {highest:.2} at most"));
        }
        (!known.is_empty()).then(|| format!("  {}: {}", self.region, known.join(", ")))
    }
}

fn shares(split: &[(String, f64)]) -> BTreeMap<String, f64> {
    let shares = split.iter();
    shares
        .map(|(to, share)| (to.clone(), round(*share)))
        .collect()
}
