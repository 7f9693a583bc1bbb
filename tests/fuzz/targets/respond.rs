#![no_main]

#[path = "../../common/mod.rs"]
mod common;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use meridian::answer::{TCP_BUFFER, Worker};
use meridian::dataset::Snapshot;

static GTM: LazyLock<Arc<Snapshot>> = LazyLock::new(|| common::snapshot(&[common::CONFIGURATION, include_str!("../../answers.zone")].concat()));

fuzz_target!(|bytes: &[u8]| {
    let mut out = vec![0; TCP_BUFFER];
    common::targets::respond_to_anything(&GTM, &mut Worker::new(1), bytes, &mut out);
});
