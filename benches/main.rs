//! Cost of functions: `cargo bench`, or `cargo bench respond` for one group of them.
//!
//! Run without `--bench`, as `cargo test --bench functions` does, everything runs once, on small
//! data.

#[path = "../tests/common/mod.rs"]
mod common;
mod data;
mod geo;
mod plan;
mod publish;
mod respond;
mod zone;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    functions,
    respond::bench,
    geo::bench,
    zone::bench,
    plan::bench,
    publish::bench
);
criterion_main!(functions);

/// `full` where something is measured, `small` where it only has to run.
fn size(full: usize, small: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") {
        full
    } else {
        small
    }
}
