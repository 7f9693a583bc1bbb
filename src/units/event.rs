//! The events in the life of units, each one sentence.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Objection, UNITS_RETRY, UnitRecord};

/// An event in the life of units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A unit has no owner for the time of a fence.
    Fenced {
        /// Its owner name.
        unit: String,
        /// The last owner.
        owner: Option<String>,
        /// The next owner.
        next: String,
        /// The cause.
        cause: Cause,
    },
    /// A fenced unit is to get another owner than before.
    Redirected {
        /// Its owner name.
        unit: String,
        /// The next owner.
        next: String,
        /// The one that was to be it.
        old: String,
        /// The cause.
        cause: Cause,
    },
    /// A unit has an owner again.
    Owned {
        /// Its owner name.
        unit: String,
        /// The owner.
        owner: String,
        /// The number of its owners so far.
        epoch: u64,
        /// The cause.
        cause: Cause,
    },
    /// The owner of a unit is down, and no other region can take over.
    Stranded {
        /// Its owner name.
        unit: String,
        /// The owner.
        owner: String,
    },
    /// Units of the files have no record.
    Unknown {
        /// Their owner names.
        units: Vec<String>,
        /// The units that have one, where none of the files has.
        others: Vec<String>,
    },
    /// The records have units that the files do not have.
    Foreign {
        /// Their owner names.
        units: Vec<String>,
    },
    /// No unit changes hands, since the state directory cannot be used.
    Frozen {
        /// The reason.
        why: String,
        /// The number of units.
        units: usize,
    },
    /// No unit changes hands, since the records cannot be written.
    NotWritten {
        /// The reason.
        why: String,
    },
    /// Records are written again.
    Written,
}

/// The cause of a change of ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The owner stays, and the files have a longer TTL.
    LongerTtl,
    /// The fence is over.
    FenceOver,
    /// The fence is over, and another region is ready instead of the one of this name.
    NotReady(String),
    /// The owner is down.
    Down(String),
    /// The owner has no pool any more.
    Gone(String),
    /// An operator moved it.
    Moved,
    /// An operator moved it although something spoke against it.
    Forced(Objection),
    /// An operator began its state.
    Begun,
}

impl Event {
    /// Its kind, as a metric's label.
    pub fn as_label(&self) -> &'static str {
        match self {
            Event::Fenced { .. } => "fenced",
            Event::Redirected { .. } => "redirected",
            Event::Owned { .. } => "owned",
            Event::Stranded { .. } => "stranded",
            Event::Unknown { .. } => "unknown",
            Event::Foreign { .. } => "foreign",
            Event::Frozen { .. } => "frozen",
            Event::NotWritten { .. } => "not_written",
            Event::Written => "written",
        }
    }

    /// The event of a record that became durable; `None` where nothing but its TTL changed.
    pub(super) fn of_write(
        unit: &str,
        record: UnitRecord,
        cause: Cause,
        before: Option<UnitRecord>,
    ) -> Option<Event> {
        let unit = unit.to_owned();
        match (record, before) {
            (UnitRecord::Fenced { next, .. }, Some(UnitRecord::Fenced { next: old, .. })) => {
                Some(Event::Redirected {
                    unit,
                    next,
                    old,
                    cause,
                })
            }
            (UnitRecord::Fenced { last, next, .. }, _) => Some(Event::Fenced {
                unit,
                owner: last,
                next,
                cause,
            }),
            (UnitRecord::Owned { .. }, _) if cause == Cause::LongerTtl => None,
            (UnitRecord::Owned { owner, epoch, .. }, _) => Some(Event::Owned {
                unit,
                owner,
                epoch,
                cause,
            }),
        }
    }

    /// The unit, where the event is about one.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Event::Fenced { unit, .. }
            | Event::Redirected { unit, .. }
            | Event::Owned { unit, .. }
            | Event::Stranded { unit, .. } => Some(unit),
            _ => None,
        }
    }

    /// True for an event that someone should look at.
    pub fn is_bad(&self) -> bool {
        !matches!(
            self,
            Event::Redirected { .. } | Event::Owned { .. } | Event::Written
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Fenced {
                unit,
                owner,
                next,
                cause,
            } => write_fenced(f, unit, owner.as_deref(), next, cause),
            Event::Redirected {
                unit,
                next,
                old,
                cause,
            } => {
                write!(
                    f,
                    "unit {unit} is fenced, its next owner is {next}, was to be {old}: "
                )?;
                write!(f, "{cause}")
            }
            Event::Owned {
                unit,
                owner,
                epoch,
                cause,
            } => write!(
                f,
                "unit {unit} is owned by {owner} in epoch {epoch}: {cause}"
            ),
            Event::Stranded { unit, owner } => {
                write!(
                    f,
                    "unit {unit} stays with {owner}, which is down or drained: "
                )?;
                f.write_str("no other region is up and ready")
            }
            Event::Unknown { units, others } => write_unknown(f, units, others),
            Event::Foreign { units } => {
                f.write_str("unit records kept although the files do not have the units: ")?;
                f.write_str(&counted(units))
            }
            Event::Frozen { why, units } => write_frozen(f, why, *units),
            Event::NotWritten { why } => {
                let seconds = UNITS_RETRY.as_secs();
                write!(
                    f,
                    "unit ownership frozen: cannot write {why}; retrying every {seconds} s"
                )
            }
            Event::Written => {
                f.write_str("unit ownership no longer frozen: records are written again")
            }
        }
    }
}

fn write_fenced(
    f: &mut fmt::Formatter<'_>,
    unit: &str,
    owner: Option<&str>,
    next: &str,
    cause: &Cause,
) -> fmt::Result {
    write!(f, "unit {unit} is fenced, ")?;
    match owner {
        Some(owner) => write!(f, "its owner was {owner}, its next owner is {next}")?,
        None => write!(f, "its first owner is {next}")?,
    }
    write!(f, ": {cause}")
}

fn write_frozen(f: &mut fmt::Formatter<'_>, why: &str, units: usize) -> fmt::Result {
    let plural = if units == 1 { "" } else { "s" };
    write!(
        f,
        "unit ownership FROZEN, {units} unit{plural} cannot change hands: {why}"
    )
}

fn write_unknown(f: &mut fmt::Formatter<'_>, units: &[String], others: &[String]) -> fmt::Result {
    let are = if units.len() == 1 { "is" } else { "are" };
    write!(
        f,
        "{} {are} fenced: no record names an owner; ",
        counted(units)
    )?;
    f.write_str("run `meridian unit init`")?;
    if others.is_empty() {
        return Ok(());
    }
    write!(
        f,
        "; the records are of {} that the files do not have",
        counted(others)
    )
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::LongerTtl => f.write_str("its ttl is longer now"),
            Cause::FenceOver => f.write_str("the fence is over"),
            Cause::NotReady(region) => {
                write!(f, "the fence is over, and {region} is not ready any more")
            }
            Cause::Down(region) => write!(f, "{region} is down or drained"),
            Cause::Gone(region) => write!(f, "{region} has no pool any more"),
            Cause::Moved => f.write_str("an operator moved it"),
            Cause::Forced(objection) => {
                write!(f, "an operator moved it by force, although {objection}")
            }
            Cause::Begun => f.write_str("an operator initialised it"),
        }
    }
}

/// The number of units, and the first of them by name.
fn counted(units: &[String]) -> String {
    const NAMED: usize = 5;
    let named = units[..units.len().min(NAMED)].join(", ");
    match units.len() {
        1 => format!("1 unit ({named})"),
        count if count <= NAMED => format!("{count} units ({named})"),
        count => format!("{count} units ({named} and {} more)", count - NAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_units_is_one_sentence() {
        let text = |text: &str| text.to_owned();
        let fenced = |owner| Event::Fenced {
            unit: text("07.orders.example."),
            owner,
            next: text("tokyo"),
            cause: Cause::Gone(text("dublin")),
        };
        let names = |count: usize| Vec::from_iter((0..count).map(|unit| format!("{unit}.x.")));
        for (event, sentence) in [
            (
                fenced(Some(text("dublin"))),
                "unit 07.orders.example. is fenced, its owner was dublin, its next owner is tokyo: \
                 dublin has no pool any more",
            ),
            (
                fenced(None),
                "unit 07.orders.example. is fenced, its first owner is tokyo: dublin has no pool any more",
            ),
            (
                Event::Unknown {
                    units: names(7),
                    others: names(1),
                },
                "7 units (0.x., 1.x., 2.x., 3.x., 4.x. and 2 more) are fenced: no record names an owner; \
                 run `meridian unit init`; the records are of 1 unit (0.x.) that the files do not have",
            ),
            (
                Event::Foreign { units: names(2) },
                "unit records kept although the files do not have the units: 2 units (0.x., 1.x.)",
            ),
            (
                Event::Frozen {
                    why: text("there is no state directory"),
                    units: 3,
                },
                "unit ownership FROZEN, 3 units cannot change hands: there is no state directory",
            ),
            (
                Event::NotWritten {
                    why: text("units.json: disk full"),
                },
                "unit ownership frozen: cannot write units.json: disk full; retrying every 5 s",
            ),
        ] {
            assert!(event.is_bad());
            assert_eq!(event.to_string(), sentence);
        }
    }
}
