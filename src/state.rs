//! The state directory's part that changes while the server runs: `health.json`, the history of
//! health, `units.json`, the owners of units, `overrides.json`, and `acme.json`, the challenges; and
//! `drills.json`, the reports of drills, which a task of their own writes.
//!
//! ```text
//! Effect::Commit ─► StateWriter ─► its thread: merge, encode, write, fsync, rename ─► commit::End
//! load_history ─► History and its age    load_units ─► UnitRecords    load_overrides ─► FoundOverrides
//! ```
//! Everything is written by one thread, in turn; nobody waits for it but the end of the process, and
//! that not for long. A file that cannot be used is set aside, never deleted.

mod acme;
mod directory;
mod document;
mod drills;
mod files;
mod history;
mod last_good;
mod lock;
mod overrides;
mod place;
mod units;
mod writer;

pub use acme::{ACME_FILE, ACME_SET_ASIDE, decode_acme, encode_acme, load_acme, peek_acme};
pub use directory::{objection, service_objection, sweep};
pub use document::{NotUsed, Unusable};
pub use drills::{DRILLS_FILE, decode_drills, encode_drills, load_drills, write_drills};
pub use history::{
    HISTORY_FILE, HISTORY_SET_ASIDE, MAX_HISTORY_SIZE, decode_history, encode_history, load_history,
};
pub use last_good::{LastGood, LastGoodError, load_last_good, save_databases, save_last_good};
pub use lock::{Lock, NotLocked};
pub use overrides::{
    FoundOverrides, OVERRIDES_FILE, decode_overrides, encode_overrides, load_overrides,
    write_overrides,
};
pub use place::{DEFAULT_STATE, SOCKET, is_default_state_hidden, state_directory};
pub use units::{
    UNITS_FILE, UNITS_SET_ASIDE, decode_units, encode_units, load_units, peek_units,
    were_units_lost, write_units,
};
pub use writer::StateWriter;

#[cfg(test)]
mod tests;
