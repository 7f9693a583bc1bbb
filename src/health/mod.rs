//! Health: outcomes in, up and down out.
//!
//! ```text
//! outcome ─► isolation (is it ours?) ─► tracker (thresholds) ─► published state ─► combine ─► endpoint
//!                                                 └── held back while isolation is suspected ──┘
//! ```
//! Nothing here reads a clock: every call brings its time, and [`Health::next_deadline`] says when
//! time alone will change something. History on disk, flap hold and ramp build on the same
//! [`Health`], as further reasons to publish another state than the tracker's.

mod carry;
mod combine;
mod isolation;
mod outcome;
mod reason;
mod spec;
mod table;
mod tracker;

pub use carry::{Carry, match_targets};
pub use combine::{State, combine};
pub use isolation::{End, TIME_LIMIT};
pub use outcome::{Evidence, NotJudged, Outcome, Phase, Phases, Seen, Warning};
pub use reason::{
    CertificateRule, DnsFault, ExecFault, FailReason, GrpcFault, HttpFault, JsonFault, PushFault, ResolveFault, TlsFault,
};
pub use spec::TargetSpec;
pub use table::{Cause, Effect, Health, Transition};
pub use tracker::{Step, Thresholds, Tracker};

#[cfg(test)]
mod tests;
