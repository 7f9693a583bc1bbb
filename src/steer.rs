//! Steering: which region a client gets.
//!
//! [`Plan::compile`] turns a service and the state of its endpoints into a [`Plan`], once per
//! change; [`select`] picks from the plan for one client. The ladder of availability ([`Rung`]) is
//! compiled into one bit set per pool, so that a query finds the first rung that is not empty with
//! one bit scan. Overrides and recovery tell the plan their part as [`PoolConditions`] per pool,
//! and [`crate::units`] tells it the [`UnitState`] of a unit.

mod conditions;
mod hash;
mod plan;
mod rr;
mod rung;
mod select;
mod svcb;
mod unit;

pub use conditions::{Applied, Drain, PoolConditions, RAMP_STEPS};
pub use hash::client as client_hash;
pub use plan::{Census, CounterSet, Note, Plan, PoolPlan, Ring};
pub use rung::Rung;
pub use select::{Asked, Selection, Trace, Verdict, select};
pub use unit::{OwnerState, UnitState, succession, successor};
