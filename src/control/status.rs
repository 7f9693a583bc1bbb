//! The state of a moment, as `/health` shows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Config;
use crate::health::{self, Outcome, Rechecks, Seen};
use crate::model::{Moment, TargetId, WallTime};
use crate::overrides::Override;
use crate::publisher::{TargetView, View};
use crate::readiness::NotReady;
use crate::recovery::{Phase, PoolRecord, PoolRecovery};
use crate::steer::OwnerState;
use crate::units::UnitView;

/// The state of a moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The reason why this node should not be sent queries; null when it is ready.
    pub not_ready: Option<String>,
    /// True while our own network is taken to be what failed.
    pub isolated: bool,
    /// Probes that come before their interval is over.
    pub rechecks: RecheckStatus,
    /// Every (check, address) pair.
    pub targets: Vec<TargetStatus>,
    /// Pools on their way back.
    pub returning: Vec<PoolStatus>,
    /// The owners of the units.
    pub units: UnitsStatus,
    /// The overrides of health and weight.
    pub overrides: Vec<OverrideStatus>,
    /// The reason why overrides were lost, until an operator accepts it; null where none were.
    pub overrides_lost: Option<String>,
}

/// Probes that come before their interval is over.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RecheckStatus {
    /// The most targets that are rechecked at once.
    pub limit: usize,
    /// Those that are.
    pub active: usize,
    /// Those that wait in line for it.
    pub waiting: usize,
    /// Early probes since the start.
    pub probes: u64,
}

impl From<Rechecks> for RecheckStatus {
    fn from(numbers: Rechecks) -> RecheckStatus {
        RecheckStatus {
            limit: numbers.limit,
            active: numbers.hurried,
            waiting: numbers.waiting,
            probes: numbers.asked,
        }
    }
}

/// The owners of the units.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UnitsStatus {
    /// The reason why none changes hands; null when they may.
    pub frozen: Option<String>,
    /// Every unit.
    pub units: Vec<UnitStatus>,
}

/// The state of one unit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UnitStatus {
    /// Its owner name.
    pub unit: String,
    /// Owner name of the service that it is a unit of.
    pub service: String,
    /// `owned`, `fenced`, `unknown`, or `gone` where its owner has no pool any more.
    pub state: String,
    /// The region that owns it; null where none does.
    pub owner: Option<String>,
    /// The epoch of the owner, or of the last one.
    pub epoch: u64,
    /// During a fence, the region that owns it next; null else.
    pub next: Option<String>,
    /// The end of the fence, in RFC 3339; null before that is certain.
    pub fenced_until: Option<String>,
    /// `up` or `down`: the health of the owner, or of the next one; null where there is none.
    pub health: Option<String>,
}

/// The state of one (check, address) pair.
#[derive(Debug, Clone, Serialize)]
pub struct TargetStatus {
    /// The check's name.
    pub check: String,
    /// The address or name probed.
    pub target: String,
    /// Up, after thresholds.
    pub up: bool,
    /// False is in doubt.
    pub settled: bool,
    /// The time of its last transition, in RFC 3339; null before the first time.
    pub since: Option<String>,
    /// Failures counted against it while it is up.
    pub fails: u32,
    /// Passes counted for it, towards `rise` or `forgive`.
    pub passes: u32,
    /// Until when it is held down as flapping; null where it is not.
    pub flapping_until: Option<String>,
    /// Its verdict is from before a restart, and no probe of it has ended since.
    pub restored: bool,
    /// The load it reports, averaged, 0 … 1; null where it reports none.
    pub load: Option<f64>,
    /// The number of passes without a usable load report.
    pub load_ignored: u64,
    /// The connection that is held to it: `none`, `held`, `lost`, `given up` or `no descriptor`.
    pub watch: String,
    /// The last probe's outcome; null before the first.
    pub last: Option<ProbeStatus>,
}

/// The outcome of one probe.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProbeStatus {
    /// The time of its end, in RFC 3339.
    pub at: String,
    /// `pass`, `fail` or `not judged`.
    pub verdict: &'static str,
    /// The same in words, with the reason.
    pub result: String,
    /// The beginning of what the endpoint sent, of a failure where it tells why; else null.
    pub evidence: Option<String>,
    /// The problem that will become a failure if nobody acts; else null.
    pub warning: Option<String>,
    /// The time that each phase took, in seconds, of the phases that the probe came to.
    pub phases: serde_json::Map<String, serde_json::Value>,
}

/// An operator's word.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverrideStatus {
    /// Its number.
    pub number: u64,
    /// `drain`, `up`, `down` or `weight N`.
    pub word: String,
    /// The subject of the override, as in `region dublin`.
    pub of: String,
    /// The operator who made the override.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// The time at which it was made, in RFC 3339.
    pub made: String,
    /// The time at which it took or takes effect, in RFC 3339.
    pub starts: String,
    /// The time of its end, in RFC 3339; null where it lasts until it is released.
    pub until: Option<String>,
    /// It has taken effect.
    pub in_force: bool,
    /// The pre-flight spoke against it.
    pub forced: bool,
}

impl OverrideStatus {
    /// The overrides of `view`, with times as `wall` reads them.
    pub fn all(view: &View, wall: WallTime) -> Vec<OverrideStatus> {
        let overrides = view.overrides.list.0.iter();
        overrides
            .map(|own| OverrideStatus::new(own, view.at, wall))
            .collect()
    }

    fn new(own: &Override, now: Moment, wall: WallTime) -> OverrideStatus {
        OverrideStatus {
            number: own.id,
            word: own.action.to_string(),
            of: own.scope.to_string(),
            by: own.by.clone(),
            reason: own.reason.clone(),
            made: wall.show(own.made).to_string(),
            starts: wall.show(own.starts).to_string(),
            until: own.until.map(|until| wall.show(until).to_string()),
            in_force: own.holds(now),
            forced: own.forced,
        }
    }
}

const HELD: &str = "held";

/// A pool on its way back, in the families in which it is.
#[derive(Debug, Clone, Serialize)]
pub struct PoolStatus {
    /// Owner name of the service.
    pub service: String,
    /// The region.
    pub region: String,
    /// For A: `in use`, `down`, `ramping`, `held`.
    pub ipv4: &'static str,
    /// The same for AAAA.
    pub ipv6: &'static str,
}

impl Status {
    /// The state that `view` tells, with times as `wall` reads them.
    pub fn new(view: &View, not_ready: Option<NotReady>, wall: WallTime) -> Status {
        let targets = view
            .targets()
            .map(|(id, target)| TargetStatus::new(&view.dataset.config, id, target, wall));
        Status {
            not_ready: not_ready.map(|why| why.to_string()),
            isolated: view.is_isolated,
            rechecks: RecheckStatus::from(view.rechecks),
            targets: targets.collect(),
            returning: view.recovery().map(PoolStatus::new).collect(),
            units: UnitsStatus::new(view, wall),
            overrides: OverrideStatus::all(view, wall),
            overrides_lost: view.overrides.lost.clone(),
        }
    }
}

impl UnitsStatus {
    /// The units of `view`, with times as `wall` reads them.
    pub fn new(view: &View, wall: WallTime) -> UnitsStatus {
        UnitsStatus {
            frozen: view.frozen.as_deref().map(str::to_owned),
            units: view
                .units()
                .map(|unit| UnitStatus::new(unit, wall))
                .collect(),
        }
    }
}

impl UnitStatus {
    /// The state that `view` tells, with times as `wall` reads them.
    pub(super) fn new(view: &UnitView, wall: WallTime) -> UnitStatus {
        let region = view.region.clone();
        let (state, owner, next, until) = match view.unit_state.owner {
            OwnerState::Owner(_) => ("owned", region, None, None),
            OwnerState::Fenced { until, .. } => ("fenced", None, region, until),
            OwnerState::Unknown => ("unknown", None, None, None),
            OwnerState::Gone(_) => ("gone", None, None, None),
        };
        UnitStatus {
            unit: view.unit.clone(),
            service: view.service.clone(),
            state: state.to_owned(),
            owner,
            epoch: view.unit_state.epoch,
            next,
            fenced_until: until.map(|until| wall.show(until).to_string()),
            health: view
                .is_up
                .map(|up| if up { "up" } else { "down" }.to_owned()),
        }
    }
}

impl TargetStatus {
    fn new(config: &Config, id: TargetId, view: &TargetView, wall: WallTime) -> TargetStatus {
        let target = &config.targets[id.index()];
        TargetStatus {
            check: config.checks[target.check.index()].name.clone(),
            target: target.target.to_string(),
            up: view.state.up,
            settled: view.state.settled,
            since: view.changed.map(|at| wall.show(at).to_string()),
            fails: view.fails,
            passes: view.passes,
            flapping_until: view.flapping_until.map(|at| wall.show(at).to_string()),
            restored: view.restored,
            load: view.load,
            load_ignored: view.load_ignored,
            watch: view.watch.to_string(),
            last: view
                .last
                .as_ref()
                .map(|outcome| ProbeStatus::new(outcome, wall)),
        }
    }
}

impl ProbeStatus {
    /// The document of `outcome`, with times as `wall` reads them.
    pub(super) fn new(outcome: &Outcome, wall: WallTime) -> ProbeStatus {
        let verdict = match outcome.seen {
            Seen::Pass => "pass",
            Seen::Fail(_) => "fail",
            Seen::NotJudged(_) => "not judged",
        };
        let seconds = |(phase, taken): (health::Phase, Duration)| {
            (phase_name(phase).to_owned(), taken.as_secs_f64().into())
        };
        ProbeStatus {
            at: wall.show(outcome.at).to_string(),
            verdict,
            result: outcome.seen.to_string(),
            evidence: outcome.evidence.as_ref().map(ToString::to_string),
            warning: outcome.warning.as_ref().map(ToString::to_string),
            phases: outcome.phases.iter().map(seconds).collect(),
        }
    }
}

fn phase_name(phase: health::Phase) -> &'static str {
    match phase {
        health::Phase::Resolve => "resolve",
        health::Phase::Connect => "connect",
        health::Phase::Tls => "tls",
        health::Phase::Response => "response",
        health::Phase::Body => "body",
        health::Phase::Run => "run",
    }
}

impl PoolStatus {
    /// True where an operator is waited for, in either family.
    pub fn is_held(&self) -> bool {
        [self.ipv4, self.ipv6].contains(&HELD)
    }

    /// The state that `record` tells.
    pub(super) fn new(record: &PoolRecord) -> PoolStatus {
        let word = |own: &PoolRecovery<_>| match own.phase {
            _ if own.down => "down",
            Phase::InUse => "in use",
            Phase::Ramping(_) => "ramping",
            Phase::Held => HELD,
        };
        let [ipv4, ipv6] = record.families.each_ref().map(word);
        PoolStatus {
            service: record.service.clone(),
            region: record.region.clone(),
            ipv4,
            ipv6,
        }
    }
}
