//! Zone data: master-file text → [`Records`] → checks → the name tree that queries are looked up in.

mod records;
mod table;

pub use records::{Include, Input, Record, Records};
pub use table::{Apex, Lookup, NameTable, RR_FIXED, Rrset, ZoneInput, rrs, target_offset};
