//! libFuzzer around the target that `MERIDIAN_FUZZ_TARGET` names.

#![no_main]

#[path = "../common/mod.rs"]
mod common;
#[path = "../targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted =
        std::env::var("MERIDIAN_FUZZ_TARGET").expect("MERIDIAN_FUZZ_TARGET names a target");
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    found
        .unwrap_or_else(|| panic!("{wanted} is not a target"))
        .1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
