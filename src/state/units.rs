//! `units.json`: one object, a row for each unit by its owner name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::{Fate, NotUsed, Unusable, parse, read, text};
use super::files::{make_directory, write_atomically};
use crate::dns::Ttl;
use crate::units::{MAX_EPOCH, UnitRecord, UnitRecords};

/// The file in the state directory.
pub const UNITS_FILE: &str = "units.json";
/// The name of a file that cannot be used.
pub const UNITS_SET_ASIDE: &str = "units.json.bad";
/// The largest file that is read, in octets: some hundred thousand units.
const MAX_UNITS_SIZE: u64 = 64 << 20;
/// The layout of the file; a higher one is of a later version.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'f> {
    format: u32,
    /// The version of Meridian that wrote it.
    #[serde(borrow)]
    meridian: Cow<'f, str>,
    units: BTreeMap<String, Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
enum Row {
    Owned {
        owner: String,
        epoch: u64,
        /// Seconds.
        ttl: u32,
    },
    Fenced {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<String>,
        next: String,
        epoch: u64,
        /// Seconds.
        ttl: u32,
    },
}

/// The file's content.
pub fn encode_units<'r>(
    records: impl IntoIterator<Item = (impl AsRef<str>, &'r UnitRecord)>,
) -> Vec<u8> {
    let mut units = BTreeMap::new();
    for (name, record) in records {
        units.insert(name.as_ref().to_owned(), Row::new(record));
    }
    let file = File {
        format: FORMAT,
        meridian: env!("CARGO_PKG_VERSION").into(),
        units,
    };
    text(&file)
}

/// Reads the content of a file.
pub fn decode_units(bytes: &[u8]) -> Result<UnitRecords, Unusable> {
    let file: File<'_> = parse(bytes, FORMAT)?;
    file.units
        .into_iter()
        .map(|(name, row)| Ok((name.clone(), row.read(&name)?)))
        .collect()
}

impl Row {
    fn new(record: &UnitRecord) -> Row {
        match record.clone() {
            UnitRecord::Owned { owner, epoch, ttl } => Row::Owned {
                owner,
                epoch,
                ttl: ttl.secs(),
            },
            UnitRecord::Fenced {
                last,
                next,
                epoch,
                ttl,
            } => Row::Fenced {
                last,
                next,
                epoch,
                ttl: ttl.secs(),
            },
        }
    }

    fn read(self, name: &str) -> Result<UnitRecord, Unusable> {
        let (least, epoch, seconds) = match &self {
            Row::Owned { epoch, ttl, .. } => (1, *epoch, *ttl),
            Row::Fenced { epoch, ttl, .. } => (0, *epoch, *ttl),
        };
        // An epoch that wraps or repeats would let two owners write: better none than such a one.
        if !(least..=MAX_EPOCH).contains(&epoch) {
            return Err(Unusable::Damaged(format!(
                "{name} has the epoch {epoch}, and epochs go from {least} to {MAX_EPOCH}"
            )));
        }
        let ttl = Ttl::from_secs(seconds)
            .ok_or_else(|| Unusable::Damaged(format!("{name} has the TTL {seconds}")))?;
        Ok(match self {
            Row::Owned { owner, epoch, .. } => UnitRecord::Owned { owner, epoch, ttl },
            Row::Fenced {
                last, next, epoch, ..
            } => UnitRecord::Fenced {
                last,
                next,
                epoch,
                ttl,
            },
        })
    }
}

/// Reads the records kept in `directory`; none where there is no file. A damaged file is set aside,
/// so that it is looked into and never written over, and that of another version stays for that
/// version.
pub fn load_units(directory: &Path) -> Result<UnitRecords, NotUsed> {
    peek_units(directory).map_err(|why| {
        let path = directory.join(UNITS_FILE);
        let fate = match why {
            // After a downgrade the owners of the later version are to be found again.
            Unusable::OtherFormat { .. } => Fate::Kept,
            _ => Fate::set_aside(&path, directory, UNITS_SET_ASIDE),
        };
        NotUsed {
            consequence: "unit owners unknown",
            path,
            why: Box::new(why),
            fate,
        }
    })
}

/// True where records were lost, now or at an earlier start, and none were written since.
pub fn were_units_lost(directory: &Path) -> bool {
    // Until something is written the loss is told at each start, since units are fenced for that
    // long.
    !directory.join(UNITS_FILE).exists() && directory.join(UNITS_SET_ASIDE).exists()
}

/// Reads the records as [`load_units`] does, and leaves everything as it is.
pub fn peek_units(directory: &Path) -> Result<UnitRecords, Unusable> {
    match read(&directory.join(UNITS_FILE), MAX_UNITS_SIZE)? {
        Some(bytes) => decode_units(&bytes),
        None => Ok(UnitRecords::new()),
    }
}

/// Writes the file, whole or not at all.
pub fn write_units<'r>(
    directory: &Path,
    records: impl IntoIterator<Item = (impl AsRef<str>, &'r UnitRecord)>,
) -> io::Result<()> {
    make_directory(directory)?;
    write_atomically(directory, UNITS_FILE, &encode_units(records))
}
