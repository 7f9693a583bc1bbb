//! Steering: which region a client gets.
//!
//! [`Plan::compile`] turns a service and the state of its endpoints into a [`Plan`], once per change; [`select`]
//! picks from the plan for one client. The ladder of availability ([`Rung`]) is compiled into one
//! bit set per pool, so that a query finds the first rung that is not empty with one bit scan.

mod plan;
mod select;

pub use plan::{Plan, PoolPlan, Ring, Rrs, Rung};
pub use select::{Asked, Selection, Trace, Verdict, select};
