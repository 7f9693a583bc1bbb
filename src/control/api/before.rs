//! The state before a deed, as the audit log keeps it beside what came of it.

use serde_json::{Value, json};

use super::Present;
use super::challenges::challenges_of;
use super::written::OverrideDocument;
use crate::control::status::{PoolStatus, UnitsStatus};
use crate::overrides::Selector;

/// The part of the state that a deed is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Concern {
    /// None that could be shown.
    Nothing,
    /// The overrides that an operator's text means: an id or a subject.
    Overrides(String),
    /// The units of this owner name, or of the service of this name.
    Units(String),
    /// The pools of this service that are on their way back.
    Returning(String),
    /// The ACME challenges of this name.
    Challenges(String),
}

impl Concern {
    /// That part in the state of a moment; null where there is none.
    pub(super) fn read(&self, present: &Present) -> Value {
        let (view, wall) = (&present.view, present.wall);
        match self {
            Concern::Nothing => Value::Null,
            Concern::Overrides(text) => {
                let what = Selector::find(present.config(), text);
                let all = view.overrides.list.0.iter();
                let meant = all.filter(|own| what.selects(own));
                let shown = meant.map(|own| OverrideDocument::new(own, view.at, wall));
                json!({ "overrides": shown.collect::<Vec<_>>() })
            }
            Concern::Units(name) => {
                let name = name.trim_end_matches('.');
                let is_meant = |own: &str| own.trim_end_matches('.').eq_ignore_ascii_case(name);
                let mut units = UnitsStatus::new(view, wall).units;
                units.retain(|own| is_meant(&own.unit) || is_meant(&own.service));
                json!({ "units": units })
            }
            Concern::Returning(service) => {
                let name = service.trim_end_matches('.');
                let pools = view.recovery().map(PoolStatus::new);
                let meant = pools.filter(|own| own.service.trim_end_matches('.') == name);
                json!({ "returning": meant.collect::<Vec<_>>() })
            }
            Concern::Challenges(name) => json!({ "challenges": challenges_of(present, name) }),
        }
    }
}
