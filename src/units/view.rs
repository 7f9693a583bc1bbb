//! The state of units, as operators and the pre-flight see it.

use super::inputs::pool;
use super::{Inputs, Units};
use crate::model::{ServiceId, Takeover};
use crate::steer::{OwnerState, UnitState};

/// The state of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitView {
    /// Its owner name.
    pub unit: String,
    /// The owner name of the service that it is a unit of.
    pub service: String,
    /// Its state in the answers.
    pub unit_state: UnitState,
    /// The region that owns it, or is to be its next owner; `None` without a record.
    pub region: Option<String>,
    /// True where that region's pool is up; `None` where there is none.
    pub is_up: Option<bool>,
}

impl Units {
    /// Every unit, with the state that its plan has in the answers, as `unit_state` finds it.
    pub fn views<'p>(
        &self,
        unit_state: impl Fn(ServiceId) -> Option<&'p UnitState>,
        inputs: &Inputs<'_>,
    ) -> Vec<UnitView> {
        let mut views = Vec::with_capacity(self.held.len());
        for id in self.held.keys() {
            let unit_state = unit_state(*id);
            views.extend(unit_state.and_then(|unit_state| self.view(*id, unit_state, inputs)));
        }
        views
    }

    /// A unit whose plan has this state; `None` where the service is none.
    pub fn view(
        &self,
        id: ServiceId,
        unit_state: &UnitState,
        inputs: &Inputs<'_>,
    ) -> Option<UnitView> {
        self.held.get(&id)?;
        let (service, unit) = inputs.unit(id);
        let region = match &unit_state.owner {
            OwnerState::Owner(region) | OwnerState::Fenced { next: region, .. } => {
                Some(inputs.config.region_name(*region).to_owned())
            }
            // The region is named although it has no pool: the operator has to know whose unit this
            // is.
            OwnerState::Gone(region) => Some(region.clone()),
            OwnerState::Unknown => None,
        };
        let pool = region
            .as_ref()
            .and_then(|region| pool(inputs.config, service, region));
        Some(UnitView {
            unit: service.name.to_string(),
            service: unit.rules.service.to_string(),
            is_up: pool.map(|pool| inputs.is_up(service, pool)),
            unit_state: unit_state.clone(),
            region,
        })
    }

    /// The units whose owners are in use with the inputs `before` and not with those `after`, and
    /// that only an operator moves.
    pub fn stranded(&self, before: &Inputs<'_>, after: &Inputs<'_>) -> Vec<String> {
        let mut stranded = Vec::new();
        for (id, held) in &self.held {
            let (service, unit) = before.unit(*id);
            let owner = held.ownership.record().and_then(|record| record.owner());
            // Under `auto` the unit moves by itself, so that no operator is left with it.
            if unit.rules.takeover != Takeover::Manual {
                continue;
            }
            let pool = owner.and_then(|owner| pool(before.config, service, owner));
            if pool.is_some_and(|pool| before.is_up(service, pool) && !after.is_up(service, pool)) {
                stranded.push(service.name.to_string());
            }
        }
        stranded
    }
}
