//! `drills.json`: the reports of the last drills.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::{Fate, NotUsed, Unusable, parse, read, text};
use super::files::{make_directory, write_atomically};
use crate::drills::{DrillReport, StoredDrills};

/// The file in the state directory.
pub const DRILLS_FILE: &str = "drills.json";
/// The name of a file that cannot be used, once it is met.
const SET_ASIDE: &str = "drills.json.bad";
/// The largest file that is read, in octets: many times what fifty reports take.
const MAX_SIZE: u64 = 16 << 20;
/// The layout of the file; a higher one is of a later version.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'f> {
    format: u32,
    /// The version of Meridian that wrote it.
    #[serde(borrow)]
    meridian: Cow<'f, str>,
    /// The highest number ever given.
    last: u64,
    reports: Cow<'f, [DrillReport]>,
}

/// The file's content for `drills`.
pub fn encode_drills(drills: &StoredDrills) -> Vec<u8> {
    let file = File {
        format: FORMAT,
        meridian: env!("CARGO_PKG_VERSION").into(),
        last: drills.last,
        reports: Cow::Borrowed(&drills.reports),
    };
    text(&file)
}

/// Reads the content of a file.
pub fn decode_drills(bytes: &[u8]) -> Result<StoredDrills, Unusable> {
    let file: File<'_> = parse(bytes, FORMAT)?;
    Ok(StoredDrills {
        last: file.last,
        reports: file.reports.into_owned(),
    })
}

/// Writes the file, whole or not at all.
pub fn write_drills(directory: &Path, drills: &StoredDrills) -> io::Result<()> {
    make_directory(directory)?;
    write_atomically(directory, DRILLS_FILE, &encode_drills(drills))
}

/// Reads the reports kept in `directory`; none where there never were any. One that cannot be used
/// is set aside, since a report is for people alone.
pub fn load_drills(directory: &Path) -> Result<StoredDrills, NotUsed> {
    let path = directory.join(DRILLS_FILE);
    let found = read(&path, MAX_SIZE).and_then(|bytes| match bytes {
        Some(bytes) => decode_drills(&bytes),
        None => Ok(StoredDrills::default()),
    });
    found.map_err(|why| NotUsed {
        consequence: "reports of drills not read",
        fate: Fate::set_aside(&path, directory, SET_ASIDE),
        path,
        why: Box::new(why),
    })
}
