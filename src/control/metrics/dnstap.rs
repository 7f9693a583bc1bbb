//! Families of query sampling.

use std::fmt::Error;

use super::family::{Families, families};
use crate::control::Control;

families! { "Query sampling"
    FRAMES: Counter "meridian_dnstap_frames" []
        "Samples of queries written as dnstap frames", "1", "0 without `[dnstap]`. See [dnstap](dnstap.md)";
    DROPPED: Counter "meridian_dnstap_dropped" ["reason"]
        "Samples of queries that were not written, by reason", "3",
        "`queue`: the worker's queue was full, because the writer was slower or held up; `too_long`: query and answer have more than 5328 octets together, which only those over TCP can; `output`: the socket had no reader or the file could not be written";
}

/// Writes the families of this subject.
pub(super) fn write(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let sampled = &control.sampled;
    let (mut queue, mut too_long) = (0_u64, 0_u64);
    for worker in &sampled.workers {
        queue = queue.wrapping_add(worker.queue_full.get());
        too_long = too_long.wrapping_add(worker.too_long.get());
    }
    out.counter(&FRAMES, sampled.written.frames.get())?;
    out.counters(
        &DROPPED,
        [
            (["queue"], queue),
            (["too_long"], too_long),
            (["output"], sampled.written.lost.get()),
        ],
    )
}
