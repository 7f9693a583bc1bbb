//! `health.json`: one object, its times as milliseconds before `written`.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::document::{Fate, NotUsed, Unusable, parse, read};
use super::files::{make_directory, write_atomically};
use crate::dns::Name;
use crate::health::{Key, Record};
use crate::model::Target;
use crate::publisher::History;
use crate::recovery::{Phase, PoolRecord, PoolRecovery};

/// The file in the state directory.
pub const HISTORY_FILE: &str = "health.json";
/// The name of a file that cannot be used.
pub const HISTORY_SET_ASIDE: &str = "health.json.bad";
/// The largest file that is read, in octets: a million targets.
pub const MAX_HISTORY_SIZE: u64 = 256 << 20;
/// The layout of the file; a higher one is of a later version.
const FORMAT: u32 = 1;
/// The longest time by which a file may be ahead: clocks are set back by less while they run.
const TOLERANCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct File<'f> {
    format: u32,
    /// The version of Meridian that wrote it.
    #[serde(borrow)]
    meridian: Cow<'f, str>,
    /// The time of writing, in RFC 3339.
    written: String,
    targets: Vec<TargetRow<'f>>,
    pools: Vec<PoolRow>,
}

#[derive(Serialize, Deserialize)]
struct TargetRow<'f> {
    #[serde(borrow)]
    check: Cow<'f, str>,
    definition: String,
    target: String,
    up: bool,
    settled: bool,
    judged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<u64>,
    /// Milliseconds that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct PoolRow {
    service: String,
    region: String,
    /// IPv4, then IPv6.
    families: [ReturnRow; 2],
}

#[derive(Serialize, Deserialize)]
struct ReturnRow {
    down: bool,
    phase: PhaseRow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grown: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseRow {
    InUse,
    Ramping,
    Held,
}

/// The file's content for `history`, made at `written`.
pub fn encode_history(history: &History, written: SystemTime) -> Vec<u8> {
    let file = File {
        format: FORMAT,
        meridian: env!("CARGO_PKG_VERSION").into(),
        written: humantime::format_rfc3339_millis(written).to_string(),
        targets: history
            .keys
            .iter()
            .zip(&history.records)
            .map(|(key, record)| TargetRow::new(key, record))
            .collect(),
        pools: history.pools.iter().map(PoolRow::new).collect(),
    };
    // On one line: it is written every few seconds at times, and nobody edits it.
    let mut text = serde_json::to_vec(&file).expect("strings and numbers have a JSON form");
    text.push(b'\n');
    text
}

/// Reads the history kept in `directory`, and its age at `now`; `None` where none is. A file that
/// cannot be used is set aside, so that it is looked into and not met again.
pub fn load_history(
    directory: &Path,
    now: SystemTime,
) -> Result<Option<(History, Duration)>, NotUsed> {
    let path = directory.join(HISTORY_FILE);
    let found = read(&path, MAX_HISTORY_SIZE).and_then(|bytes| match bytes {
        Some(bytes) => decode_history(&bytes, now).map(Some),
        None => Ok(None),
    });
    found.map_err(|why| NotUsed {
        consequence: "health history not used",
        fate: Fate::set_aside(&path, directory, HISTORY_SET_ASIDE),
        path,
        why: Box::new(why),
    })
}

/// Writes the file, made at `written`, whole or not at all.
pub(super) fn write_history(
    directory: &Path,
    history: &History,
    written: SystemTime,
) -> io::Result<()> {
    make_directory(directory)?;
    write_atomically(directory, HISTORY_FILE, &encode_history(history, written))
}

/// Reads the content of a file, and its age at `now`.
pub fn decode_history(bytes: &[u8], now: SystemTime) -> Result<(History, Duration), Unusable> {
    let file: File<'_> = parse(bytes, FORMAT)?;
    let written = humantime::parse_rfc3339(&file.written)
        .map_err(|_| Unusable::Damaged(format!("{:?} is not a time", file.written)))?;
    let age = match now.duration_since(written) {
        Ok(age) => age,
        // A clock that was set back a little must not cost the history.
        Err(ahead) if ahead.duration() <= TOLERANCE => Duration::ZERO,
        Err(_) => {
            return Err(Unusable::FromTheFuture {
                written: file.written,
                now: humantime::format_rfc3339_seconds(now).to_string(),
            });
        }
    };
    let rows: Vec<(Key, Record)> = file
        .targets
        .into_iter()
        .map(TargetRow::read)
        .collect::<Result<_, _>>()?;
    let (keys, records): (Vec<Key>, Vec<Record>) = rows.into_iter().unzip();
    let pools = file.pools.into_iter().map(PoolRow::read).collect();
    Ok((
        History {
            keys: keys.into(),
            records,
            pools,
        },
        age,
    ))
}

impl<'f> TargetRow<'f> {
    fn new(key: &'f Key, record: &Record) -> TargetRow<'f> {
        TargetRow {
            check: Cow::Borrowed(&key.check),
            definition: key.definition.to_string(),
            target: key.target.to_string(),
            up: record.up,
            settled: record.settled,
            judged: record.judged,
            changed: record.changed.map(millis),
            changes: record.changes.iter().copied().map(millis).collect(),
            hold: record.hold.map(millis),
            // Four digits are what is reported, and are read back exactly.
            load: record.load.map(|load| (load * 10_000.0).round() / 10_000.0),
        }
    }

    fn read(self) -> Result<(Key, Record), Unusable> {
        let target = match self.target.parse::<IpAddr>() {
            Ok(address) => Target::Address(address),
            Err(_) => Name::from_text(&self.target, None)
                .map(Target::Name)
                .map_err(|_| {
                    let target = &self.target;
                    Unusable::Damaged(format!("{target:?} is neither an address nor a name"))
                })?,
        };
        let definition = self.definition.parse().map_err(|()| {
            let definition = &self.definition;
            Unusable::Damaged(format!("{definition:?} is no check's fingerprint"))
        })?;
        let record = Record {
            up: self.up,
            settled: self.settled,
            judged: self.judged,
            changed: self.changed.map(Duration::from_millis),
            changes: self
                .changes
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
            hold: self.hold.map(Duration::from_millis),
            load: self.load,
        };
        Ok((
            Key {
                check: self.check.into(),
                definition,
                target,
            },
            record,
        ))
    }
}

impl PoolRow {
    fn new(record: &PoolRecord) -> PoolRow {
        let row = |own: PoolRecovery<Duration>| {
            let (phase, grown) = match own.phase {
                Phase::InUse => (PhaseRow::InUse, None),
                Phase::Ramping(grown) => (PhaseRow::Ramping, Some(millis(grown))),
                Phase::Held => (PhaseRow::Held, None),
            };
            ReturnRow {
                down: own.down,
                phase,
                grown,
            }
        };
        PoolRow {
            service: record.service.clone(),
            region: record.region.clone(),
            families: record.families.map(row),
        }
    }

    fn read(self) -> PoolRecord {
        let families = self.families.map(|row| {
            let phase = match row.phase {
                PhaseRow::InUse => Phase::InUse,
                // Without its time a ramp counts from its begin, which sends a returning pool too
                // little and never too much.
                PhaseRow::Ramping => Phase::Ramping(Duration::from_millis(row.grown.unwrap_or(0))),
                PhaseRow::Held => Phase::Held,
            };
            PoolRecovery {
                down: row.down,
                phase,
            }
        });
        PoolRecord {
            service: self.service,
            region: self.region,
            families,
        }
    }
}

fn millis(time: Duration) -> u64 {
    // 2⁶⁴ ms are 584 million years.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
