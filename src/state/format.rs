//! `health.json`: one object, its times as milliseconds before `written`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::dns::Name;
use crate::health::{Key, Record};
use crate::model::Target;
use crate::publisher::History;
use crate::recovery::{Phase, PoolRecord, PoolRecovery};

/// The layout of the file; a higher one is of a later version.
const FORMAT: u32 = 1;
/// How far in the future a file may be: clocks are set back by less than this while they run.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Why a file of the state directory cannot be used. Its words complete "it …", in one line of bounded length whatever the file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// This user may not read it.
    Forbidden(String),
    /// A version of Meridian wrote it that lays it out otherwise.
    OtherFormat(String),
    /// It cannot be read, or is not what was written.
    Damaged(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        let (Unusable::Forbidden(why) | Unusable::OtherFormat(why) | Unusable::Damaged(why)) = self;
        why.chars()
            .take(SHOWN)
            .try_for_each(|c| f.write_char(if c.is_control() { '\u{fffd}' } else { c }))
    }
}

impl std::error::Error for Unusable {}

impl From<String> for Unusable {
    fn from(why: String) -> Unusable {
        Unusable::Damaged(why)
    }
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Head {
    format: u32,
    meridian: String,
}

#[derive(Serialize, Deserialize)]
struct File<'f> {
    format: u32,
    /// The version of Meridian that wrote it.
    #[serde(borrow)]
    meridian: Cow<'f, str>,
    /// When, in RFC 3339.
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
pub fn encode(history: &History, written: SystemTime) -> Vec<u8> {
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
    let mut text = serde_json::to_vec(&file).expect("strings and numbers have a JSON form");
    text.push(b'\n');
    text
}

/// Reads one object of the state directory, whose layout must be `known`.
pub(super) fn parse<'f, T: Deserialize<'f>>(bytes: &'f [u8], known: u32) -> Result<T, Unusable> {
    let damaged = |error: serde_json::Error| Unusable::Damaged(format!("is damaged: {error}"));
    let Head { format, meridian } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format != known {
        let why = format!(
            "has format {format}, written by Meridian {meridian}, and this version reads format {known}"
        );
        return Err(Unusable::OtherFormat(why));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// What a file says, and how old it is at `now`.
pub fn decode(bytes: &[u8], now: SystemTime) -> Result<(History, Duration), Unusable> {
    let file: File<'_> = parse(bytes, FORMAT)?;
    let written = humantime::parse_rfc3339(&file.written)
        .map_err(|_| format!("is damaged: {:?} is no time", file.written))?;
    let age = match now.duration_since(written) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() <= TOLERANCE => Duration::ZERO,
        Err(_) => {
            let now = humantime::format_rfc3339_seconds(now);
            let why = format!(
                "is from the future: it was written at {}, and the clock says {now}",
                file.written
            );
            return Err(Unusable::Damaged(why));
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

    fn read(self) -> Result<(Key, Record), String> {
        let target = match self.target.parse::<IpAddr>() {
            Ok(address) => Target::Address(address),
            Err(_) => Name::from_text(&self.target, None)
                .map(Target::Name)
                .map_err(|_| {
                    format!(
                        "is damaged: {:?} is neither an address nor a name",
                        self.target
                    )
                })?,
        };
        let definition = self.definition.parse().map_err(|()| {
            format!(
                "is damaged: {:?} is no check's fingerprint",
                self.definition
            )
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
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
