//! Tests with programs of hundreds of megabytes as peers; `tests/run --quick` leaves them out, by the name of this
//! module.

mod acme;
mod dashboard;
mod prometheus;
mod schemathesis;
