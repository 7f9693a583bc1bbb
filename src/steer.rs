//! Steering: which region a client gets.
//!
//! [`Plan::compile`] turns a service and the state of its endpoints into a [`Plan`], once per change; [`select`]
//! picks from the plan for one client. The ladder of availability ([`Rung`]) is compiled into one
//! bit set per pool, so that a query finds the first rung that is not empty with one bit scan. How pools
//! that were down come back is kept by [`Returns`], and told to the plan as a [`Standing`] per pool; who owns a
//! unit is told as a [`Holding`].

mod hash;
mod overrides;
mod plan;
mod returns;
mod select;
mod svcb;
mod unit;

pub use hash::client as client_hash;
pub(crate) use overrides::until;
pub use overrides::{Override, Overrides, Said, Scope, Word};
pub use plan::{Drain, Note, Plan, PoolPlan, RAMP_STEPS, Ring, Rung, Standing};
pub use returns::{Phase, Ramp, Return, Returns};
pub use select::{Asked, Selection, Trace, Verdict, select};
pub use unit::{Holder, Holding, succession, successor};
