#![no_main]

#[path = "../../common/mod.rs"]
mod common;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use meridian::dataset::Dataset;

static DATASET: LazyLock<Arc<Dataset>> = LazyLock::new(|| common::dataset(&common::checked()));

fuzz_target!(|bytes: &[u8]| common::targets::read_history(&DATASET, bytes));
