//! Health: outcomes in, up and down out.
//!
//! ```text
//! outcome ─► isolation (is it ours?) ─► tracker (thresholds) ─► published state ─► combine ─► endpoint
//!                                                 └── held back while isolation is suspected; held down while flapping
//! ```
//! Endpoints that report themselves come in by [`Pushes`], which makes outcomes of reports and of their absence.
//! Nothing here reads a clock: every call brings its time, and [`Health::next_deadline`] says when
//! time alone will change something. What outlives the process are [`Record`]s, by [`Key`].

mod carry;
mod combine;
mod effect;
mod entry;
mod flap;
mod isolation;
mod key;
mod load;
mod outcome;
mod pace;
mod phase;
mod push;
mod reason;
mod record;
mod spec;
mod table;
mod tracker;
mod watch;

pub use carry::{Carry, match_targets};
pub use combine::{State, combine};
pub use effect::{Cause, Effect, Transition};
pub use isolation::{End, TIME_LIMIT};
pub use key::{Fingerprint, Key};
pub use load::{AverageLoad, LOAD_SHARE, LOAD_SILENCE};
pub use outcome::{Evidence, NotJudged, Outcome, ResolverFault, Seen, Warning};
pub use pace::{Early, Rechecks};
pub use phase::{Phase, Phases};
pub use push::{Pushes, READING, Report};
pub use reason::{
    CertificateRule, DnsFault, ExecFault, FailReason, GrpcFault, HttpFault, JsonFault, PushFault,
    ResolveFault, TlsFault,
};
pub use record::{FRESH, Record};
pub use spec::TargetSpec;
pub use table::Health;
pub use tracker::{Failure, Step, Thresholds, Tracker};
pub use watch::Watch;

#[cfg(test)]
mod tests;
