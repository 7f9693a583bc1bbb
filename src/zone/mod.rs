//! Zone data: master-file text → [`Records`] → checks → the name tree that queries are looked up in.

mod records;

pub use records::{Include, Input, Record, Records};
