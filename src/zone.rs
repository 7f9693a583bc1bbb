//! Zone data: master-file text → [`Records`] → checks → the name tree that queries are looked up in.

mod checks;
mod generate;
mod lexer;
mod loc;
mod parser;
mod present;
mod rdata;
mod records;
mod svcb;
mod table;
mod words;

pub use checks::{CHECKS, ZoneCheck, ZoneUnderCheck, check, check_overlap};
pub use parser::parse;
pub use present::{present, read_name};
pub use records::{Include, IncludeError, Input, MasterText, Record, Records, Unread};
pub use table::{
    Apex, CanonicalName, CanonicalNames, CanonicalRrset, Key, Lookup, NameTable, RR_FIXED, Rrset,
    ZoneInput, rrs, target_offset,
};
