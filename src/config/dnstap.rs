//! `[dnstap]`.

use std::path::Path;

use super::document::Table;
use super::kinds::{integer, path, text};
use super::{DnstapPlace, DnstapSpec};
use crate::diag::Diagnostics;

/// The most queries of which one is sampled.
const MOST: u32 = 1_000_000_000;
const DEFAULT_SAMPLE: u32 = 1000;

/// Reads `[dnstap]`; paths are relative to `directory`.
pub(super) fn dnstap(
    mut t: Table<'_>,
    directory: &Path,
    out: &mut Diagnostics,
) -> Option<DnstapSpec> {
    let socket = t.optional(out, "socket", path(directory));
    let file = t.optional(out, "file", path(directory));
    let sample = t.optional(out, "sample", integer(1..=MOST, "queries"));
    let identity = t.optional(out, "identity", text);
    let version = t.optional(out, "version", text);
    let written = (t.item("socket").is_some(), t.item("file").is_some());
    let (at, section) = (t.at(), "dnstap");
    if !t.finish(out) {
        return None;
    }
    let problem = match written {
        (true, true) => Some(("excluding-keys", "`socket` and `file` exclude each other")),
        (false, false) => Some(("missing-key", "the section needs `socket` or `file`")),
        _ => None,
    };
    if let Some((rule, message)) = problem {
        out.error(rule, at, section, message).hint(
            "write socket = \"/run/dnstap/meridian.sock\" or file = \"/var/lib/meridian/queries.fstrm\"; without [dnstap] nothing is sampled",
        );
        return None;
    }
    let place = match (socket, file) {
        (Some(socket), _) => DnstapPlace::Socket(socket),
        (None, file) => DnstapPlace::File(file?),
    };
    Some(DnstapSpec {
        place,
        sample: sample.unwrap_or(DEFAULT_SAMPLE),
        identity,
        version,
    })
}
