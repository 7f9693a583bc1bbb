#![no_main]

#[path = "../../common/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| common::targets::read_overrides(bytes));
