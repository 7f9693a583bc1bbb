//! The commands of operators: to move a unit, and to begin its state.

use std::fmt;

use super::inputs::Objection;
use super::{Cause, Inputs, Output, Pending, UnitRecord, Units};
use crate::commit::Failure;
use crate::model::{RegionId, ServiceId};

/// A reason to reject a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// The service is no unit.
    NotAUnit,
    /// The unit has no pool in the region.
    NoPool {
        /// The unit.
        unit: String,
        /// The region.
        region: String,
    },
    /// No unit changes hands now.
    Frozen(String),
    /// The unit has no record.
    NoRecord(String),
    /// The region owns it already.
    IsOwner {
        /// The unit.
        unit: String,
        /// The region.
        region: String,
        /// The epoch.
        epoch: u64,
    },
    /// The region is its next owner already.
    IsNext {
        /// The unit.
        unit: String,
        /// The region.
        region: String,
    },
    /// Another change of it is being written.
    Busy(String),
    /// Something speaks against the region.
    Objection {
        /// The unit.
        unit: String,
        /// The region.
        region: String,
        /// The reason.
        objection: Objection,
    },
    /// All units that are meant have a record, as the sentence about the first says.
    NothingToBegin(String),
    /// The write failed, so nothing changed.
    NotWritten(Failure),
}

impl Units {
    /// Moves a unit to a region, by force where something speaks against that. The answer comes at
    /// once where the command is rejected, and otherwise when it is durable.
    pub fn move_unit(
        &mut self,
        request: u64,
        unit: ServiceId,
        region: RegionId,
        force: bool,
        inputs: &Inputs<'_>,
    ) -> Option<Output> {
        let moved = self.judge_move(unit, region, force, inputs);
        self.answer_later(request, moved)
    }

    /// Begins the state of the units that have no record, with the owners of the files and in an
    /// epoch of at least 1. The answer comes as that of [`Units::move_unit`].
    pub fn begin(
        &mut self,
        request: u64,
        units: &[ServiceId],
        epoch: u64,
        inputs: &Inputs<'_>,
    ) -> Option<Output> {
        let begun = self.judge_begin(units, epoch, inputs);
        self.answer_later(request, begun)
    }

    fn answer_later(&mut self, request: u64, judged: Result<String, Rejected>) -> Option<Output> {
        match judged {
            Ok(said) => {
                // The change is in the next write; one that is under way was made before it.
                self.asking = true;
                self.requests.push(Pending { request, said });
                None
            }
            Err(why) => Some(Output::Answer {
                request,
                result: Err(why),
            }),
        }
    }

    fn judge_move(
        &mut self,
        id: ServiceId,
        region: RegionId,
        force: bool,
        inputs: &Inputs<'_>,
    ) -> Result<String, Rejected> {
        let held = self.held.get_mut(&id).ok_or(Rejected::NotAUnit)?;
        let (service, rules) = inputs.unit(id);
        let unit = service.name.to_string();
        let region_name = inputs.config.region_name(region).to_owned();
        let pool = service.pools.iter().position(|pool| pool.region == region);
        let Some(pool) = pool else {
            let region = region_name;
            return Err(Rejected::NoPool { unit, region });
        };
        // Before the record is looked at: while ownership is frozen the records may be out of date.
        if let Some(why) = &self.frozen {
            return Err(Rejected::Frozen(why.clone()));
        }
        let ownership = &mut held.ownership;
        match ownership.record() {
            Some(UnitRecord::Owned { owner, epoch, .. }) if *owner == region_name => {
                return Err(Rejected::IsOwner {
                    unit,
                    region: region_name,
                    epoch: *epoch,
                });
            }
            Some(UnitRecord::Fenced { next, .. }) if *next == region_name => {
                let region = region_name;
                return Err(Rejected::IsNext { unit, region });
            }
            _ => {}
        }
        let Some(record) = ownership.moved(&region_name) else {
            return Err(Rejected::NoRecord(unit));
        };
        // What is being written would be judged away: the command is about a state that nobody has
        // seen yet.
        if ownership.wanted().is_some() {
            return Err(Rejected::Busy(unit));
        }
        let cause = match inputs.objection(service, rules, pool) {
            Some(objection) if !force => {
                return Err(Rejected::Objection {
                    unit,
                    region: region_name,
                    objection,
                });
            }
            // The objection stays in the log beside the move, for whoever asks later.
            Some(objection) => Cause::Forced(objection),
            None => Cause::Moved,
        };
        let epoch = record.epoch() + 1;
        ownership.ask(record, cause);
        Ok(format!(
            "{unit} is fenced, and {region_name} owns it after the fence, in epoch {epoch}"
        ))
    }

    fn judge_begin(
        &mut self,
        units: &[ServiceId],
        epoch: u64,
        inputs: &Inputs<'_>,
    ) -> Result<String, Rejected> {
        if let Some(why) = &self.frozen {
            return Err(Rejected::Frozen(why.clone()));
        }
        let (mut begun, mut recorded) = (0, 0);
        for id in units {
            let held = self.held.get_mut(id).ok_or(Rejected::NotAUnit)?;
            let ownership = &mut held.ownership;
            if ownership.record().is_some() || ownership.wanted().is_some() {
                recorded += 1;
                continue;
            }
            let (service, unit) = inputs.unit(*id);
            let next = inputs.config.region_name(unit.owner).to_owned();
            // Begun with a fence: an owner before the loss of the records may still be in caches.
            let record = ownership.begun(next, epoch, service.ttl);
            ownership.ask(record, Cause::Begun);
            begun += 1;
        }
        if begun == 0 {
            return Err(match units.first() {
                Some(first) => Rejected::NothingToBegin(self.state_of(*first, inputs)),
                None => Rejected::NotAUnit,
            });
        }
        let who = match begun {
            1 => "1 unit gets its owner".to_owned(),
            _ => format!("{begun} units get their owners"),
        };
        let others = match recorded {
            0 => String::new(),
            1 => "; 1 other unit keeps its record".to_owned(),
            _ => format!("; {recorded} other units keep their records"),
        };
        Ok(format!(
            "{who} from the files in epoch {epoch}, after a fence{others}"
        ))
    }

    /// The recorded state of a unit, as a sentence.
    fn state_of(&self, id: ServiceId, inputs: &Inputs<'_>) -> String {
        let unit = &inputs.unit(id).0.name;
        match self.held[&id].ownership.record() {
            Some(UnitRecord::Owned { owner, epoch, .. }) => {
                format!("{owner} owns {unit} in epoch {epoch}")
            }
            Some(UnitRecord::Fenced { next, epoch, .. }) => {
                format!("{unit} is fenced after epoch {epoch}, and {next} is its next owner")
            }
            None => format!("{unit} is being initialised"),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::NotAUnit => f.write_str("there is no such unit"),
            Rejected::NoPool { unit, region } => {
                write!(f, "the unit {unit} has no pool in the region {region}")
            }
            Rejected::Frozen(why) => write!(f, "unit ownership is frozen: {why}"),
            Rejected::NoRecord(unit) => write!(
                f,
                "no record names an owner of {unit}: run `meridian unit init` first"
            ),
            Rejected::IsOwner {
                unit,
                region,
                epoch,
            } => write!(f, "{region} owns {unit} already, in epoch {epoch}"),
            Rejected::IsNext { unit, region } => {
                write!(
                    f,
                    "{unit} is fenced, and {region} is its next owner already"
                )
            }
            Rejected::Busy(unit) => write!(
                f,
                "another change of {unit} is being written; ask again in a moment"
            ),
            Rejected::Objection {
                unit,
                region,
                objection,
            } => write!(
                f,
                "{unit} is not moved to {region}: {objection}; --force moves it all the same"
            ),
            Rejected::NothingToBegin(state) => {
                write!(f, "nothing is left to initialise: {state}")
            }
            Rejected::NotWritten(failure) => write!(f, "{failure}"),
        }
    }
}

impl std::error::Error for Rejected {}
