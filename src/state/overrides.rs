//! `overrides.json`: what operators said, one object each, its times in RFC 3339.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::document::{Unusable, moment, parse_since, read, text, written};
use super::files::{make_directory, write_atomically};
use crate::model::{WallTime, Weight};
use crate::overrides::{Action, Override, Overrides, Scope};

/// The file in the state directory.
pub const OVERRIDES_FILE: &str = "overrides.json";
/// Its copy, written after it: one of the two is whole whenever a write is cut short.
const COPY: &str = "overrides.json.last";
/// The name of a file that cannot be used, once an operator has accepted its loss.
const SET_ASIDE: &str = "overrides.json.bad";
/// The largest file that is read, in octets.
const MAX_SIZE: u64 = 16 << 20;
/// The layout of the file; a higher one is of a later version.
const FORMAT: u32 = 2;
/// The layout before overrides had ramps and drills, which is written where none has: an earlier
/// version reads it.
const PLAIN: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'f> {
    format: u32,
    /// The version of Meridian that wrote it.
    #[serde(borrow)]
    meridian: Cow<'f, str>,
    /// The highest number ever given.
    #[serde(default)]
    last: u64,
    overrides: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: u64,
    word: WordRow,
    of: ScopeRow,
    by: String,
    reason: String,
    made: String,
    starts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ramp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drill: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WordRow {
    Drain,
    Up,
    Down,
    Weight(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ScopeRow {
    Endpoint {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        target: String,
    },
    Pool {
        service: String,
        region: String,
    },
    Service(String),
    Region(String),
    Metro(String),
    Label(String, String),
}

/// The overrides of a state directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundOverrides {
    /// Those of the file, or of its copy where the file is lost.
    pub overrides: Overrides,
    /// The highest number ever given, as far as is known.
    pub last: u64,
    /// The file cannot be used, as a sentence says.
    pub lost: Option<String>,
    /// True where this user may not read the file: it may be good.
    pub is_hidden: bool,
}

/// The file's content for `overrides`; `last` is the highest number ever given, and `wall` reads times.
pub fn encode_overrides(overrides: &Overrides, last: u64, wall: WallTime) -> Vec<u8> {
    let is_plain = |own: &Override| own.ramp.is_none() && own.drill.is_none();
    let format = match overrides.0.iter().all(is_plain) {
        true => PLAIN,
        false => FORMAT,
    };
    let overrides = overrides.0.iter().map(|own| Row::new(own, wall)).collect();
    let file = File {
        format,
        meridian: env!("CARGO_PKG_VERSION").into(),
        last,
        overrides,
    };
    text(&file)
}

/// Writes the file, whole or not at all, and then its copy. A file that is there and cannot be used is set aside.
pub fn write_overrides(
    directory: &Path,
    overrides: &Overrides,
    last: u64,
    wall: WallTime,
) -> io::Result<()> {
    make_directory(directory)?;
    let path = directory.join(OVERRIDES_FILE);
    // A file that is lost is written over only once an operator has accepted that, and it stays for
    // a look.
    if peek(&path, wall).is_err() {
        fs::rename(&path, directory.join(SET_ASIDE))?;
    }
    let bytes = encode_overrides(overrides, last, wall);
    write_atomically(directory, OVERRIDES_FILE, &bytes)?;
    // What was asked for is kept; without a good copy a later damage is a loss, and is said to be one.
    if let Err(error) = write_atomically(directory, COPY, &bytes) {
        tracing::warn!("overrides saved without their copy {COPY}: {error}");
    }
    Ok(())
}

/// Reads the overrides kept in `directory`, whose times `wall` reads, leaving everything as it is; none where there never were any.
pub fn load_overrides(directory: &Path, wall: WallTime) -> FoundOverrides {
    let path = directory.join(OVERRIDES_FILE);
    let copy = || peek(&directory.join(COPY), wall).ok().flatten();
    let why = match peek(&path, wall) {
        Ok(Some((overrides, last))) => {
            return FoundOverrides {
                overrides,
                last,
                ..FoundOverrides::default()
            };
        }
        Err(why) => why,
        // Without words in it, nothing of the copy is missed.
        Ok(None) => match copy() {
            None => return FoundOverrides::default(),
            Some((overrides, last)) if overrides.0.is_empty() => {
                return FoundOverrides {
                    overrides,
                    last,
                    ..FoundOverrides::default()
                };
            }
            Some(_) => Unusable::Gone { copy: COPY },
        },
    };
    let (what, (overrides, last)) = match copy() {
        Some(copy) if copy.0.0.len() == 1 => (
            format!("the one override of the last good copy, {COPY}, is in force"),
            copy,
        ),
        Some(copy) => (
            format!(
                "the {} overrides of the last good copy, {COPY}, are in force",
                copy.0.0.len()
            ),
            copy,
        ),
        None => (
            "there is no good copy either, so no override is in force".to_owned(),
            Default::default(),
        ),
    };
    let lost = Some(format!("overrides lost: {} {why}; {what}", path.display()));
    FoundOverrides {
        overrides,
        last,
        lost,
        // A file of another user may be good, and is told apart from a damaged one.
        is_hidden: matches!(why, Unusable::Forbidden(_)),
    }
}

/// Reads a file; `None` where there is none.
fn peek(path: &Path, wall: WallTime) -> Result<Option<(Overrides, u64)>, Unusable> {
    read(path, MAX_SIZE)?
        .map(|bytes| decode_overrides(&bytes, wall))
        .transpose()
}

/// Reads the content of a file, its times as `wall` reads them, and the highest number ever given.
pub fn decode_overrides(bytes: &[u8], wall: WallTime) -> Result<(Overrides, u64), Unusable> {
    let file: File<'_> = parse_since(PLAIN, bytes, FORMAT)?;
    let mut list: Vec<Override> = file
        .overrides
        .into_iter()
        .map(|row| row.read(wall))
        .collect::<Result<_, Unusable>>()?;
    // The order of the list is that of the making, which numbers have and an edited file may not.
    list.sort_by_key(|own| own.id);
    if let Some(pair) = list.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(Unusable::Damaged(format!(
            "two overrides have the number {}",
            pair[0].id
        )));
    }
    let highest = list.last().map_or(0, |own| own.id);
    // Files before the field had no last number, and none may be given twice.
    Ok((Overrides(list), file.last.max(highest)))
}

impl Row {
    fn new(own: &Override, wall: WallTime) -> Row {
        let of = match own.scope.clone() {
            Scope::Endpoint { service, target } => ScopeRow::Endpoint { service, target },
            Scope::Pool { service, region } => ScopeRow::Pool { service, region },
            Scope::Service(service) => ScopeRow::Service(service),
            Scope::Region(region) => ScopeRow::Region(region),
            Scope::Metro(metro) => ScopeRow::Metro(metro),
            Scope::Label(key, value) => ScopeRow::Label(key, value),
        };
        let word = match own.action {
            Action::Drain => WordRow::Drain,
            Action::Up => WordRow::Up,
            Action::Down => WordRow::Down,
            Action::Weight(weight) => WordRow::Weight(weight.get()),
        };
        Row {
            id: own.id,
            word,
            of,
            by: own.by.clone(),
            reason: own.reason.clone(),
            made: written(own.made, wall),
            starts: written(own.starts, wall),
            until: own.until.map(|until| written(until, wall)),
            forced: own.forced,
            ramp: own
                .ramp
                .map(|ramp| humantime::format_duration(ramp).to_string()),
            drill: own.drill,
        }
    }

    fn read(self, wall: WallTime) -> Result<Override, Unusable> {
        let scope = match self.of {
            ScopeRow::Endpoint { service, target } => Scope::Endpoint { service, target },
            ScopeRow::Pool { service, region } => Scope::Pool { service, region },
            ScopeRow::Service(service) => Scope::Service(service),
            ScopeRow::Region(region) => Scope::Region(region),
            ScopeRow::Metro(metro) => Scope::Metro(metro),
            ScopeRow::Label(key, value) => Scope::Label(key, value),
        };
        let action = match self.word {
            WordRow::Drain => Action::Drain,
            WordRow::Up => Action::Up,
            WordRow::Down => Action::Down,
            WordRow::Weight(weight) => Action::Weight(Weight::new(weight).ok_or_else(|| {
                Unusable::Damaged(format!("{weight} is above the largest weight"))
            })?),
        };
        Ok(Override {
            id: self.id,
            action,
            scope,
            by: self.by,
            reason: self.reason,
            made: moment(&self.made, wall)?,
            starts: moment(&self.starts, wall)?,
            until: self
                .until
                .as_deref()
                .map(|until| moment(until, wall))
                .transpose()?,
            forced: self.forced,
            ramp: self.ramp.as_deref().map(duration).transpose()?,
            drill: self.drill,
        })
    }
}

fn duration(text: &str) -> Result<Duration, Unusable> {
    humantime::parse_duration(text)
        .map_err(|_| Unusable::Damaged(format!("{text:?} is not a duration")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Moment;

    fn at() -> impl Strategy<Value = Moment> {
        (0u64..1 << 45).prop_map(|millis| Moment(Duration::from_millis(millis)))
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let text = || ".{0,9}";
        prop_oneof![
            (prop::option::of(text()), text())
                .prop_map(|(service, target)| Scope::Endpoint { service, target }),
            (text(), text()).prop_map(|(service, region)| Scope::Pool { service, region }),
            text().prop_map(Scope::Service),
            text().prop_map(Scope::Region),
            text().prop_map(Scope::Metro),
            (text(), text()).prop_map(|(key, value)| Scope::Label(key, value)),
        ]
    }

    fn word() -> impl Strategy<Value = Action> {
        let weight =
            (0..=Weight::MAX).prop_map(|weight| Action::Weight(Weight::new(weight).unwrap()));
        prop_oneof![
            Just(Action::Drain),
            Just(Action::Up),
            Just(Action::Down),
            weight
        ]
    }

    fn overrides() -> impl Strategy<Value = Overrides> {
        let times = (at(), at(), prop::option::of(at()));
        let ramp = prop::option::of((1u64..1 << 40).prop_map(Duration::from_millis));
        let more = (any::<bool>(), ramp, prop::option::of(any::<u64>()));
        let own = (word(), scope(), ".{0,9}", ".{0,9}", times, more);
        let make =
            |(id, (word, scope, by, reason, (made, starts, until), (forced, ramp, drill)))| {
                Override {
                    id,
                    action: word,
                    scope,
                    by,
                    reason,
                    made,
                    starts,
                    until,
                    forced,
                    ramp,
                    drill,
                }
            };
        prop::collection::vec(own, 0..6)
            .prop_map(move |rows| Overrides((1..).zip(rows).map(make).collect()))
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let own = Override {
            id: 3,
            action: Action::Weight(Weight::ONE),
            scope: Scope::Region("east".into()),
            by: "anna".into(),
            reason: "work".into(),
            made: Moment(Duration::from_secs(1)),
            starts: Moment(Duration::from_secs(1)),
            until: None,
            forced: false,
            ramp: None,
            drill: None,
        };
        let wall = WallTime::default();
        let good =
            String::from_utf8(encode_overrides(&Overrides(vec![own.clone()]), 3, wall)).unwrap();
        let twice = String::from_utf8(encode_overrides(
            &Overrides(vec![own.clone(), own]),
            3,
            wall,
        ))
        .unwrap();
        for (bad, said) in [
            (String::new(), "is damaged: EOF"),
            (good[..good.len() / 2].to_owned(), "is damaged: EOF"),
            (
                good.replace("\"format\": 1", "\"format\": 3"),
                "has format 3, written by Meridian",
            ),
            (good.replace("1970-01-01", "1970-13-01"), "is not a time"),
            (
                good.replace("\"weight\": 1", "\"weight\": 1000001"),
                "is above the largest weight",
            ),
            (
                good.replace("\"region\"", "\"town\""),
                "is damaged: unknown variant",
            ),
            (
                good.replace("\"by\"", "\"from\""),
                "is damaged: unknown field",
            ),
            (twice, "two overrides have the number 3"),
        ] {
            let why = decode_overrides(bad.as_bytes(), wall)
                .unwrap_err()
                .to_string();
            assert!(why.contains(said), "{said}: {why}");
        }
    }

    #[test]
    fn a_file_without_ramps_and_drills_has_the_layout_of_the_version_before() {
        let text = r#"{"format": 1, "meridian": "0.1.0", "last": 7, "overrides": [{"id": 7,
            "word": "drain", "of": {"region": "east"}, "by": "anna", "reason": "work",
            "made": "2026-01-02T03:04:05Z", "starts": "2026-01-02T03:04:05Z"}]}"#;
        let wall = WallTime::default();
        let (mut overrides, last) = decode_overrides(text.as_bytes(), wall).unwrap();
        assert_eq!(
            (overrides.0[0].ramp, overrides.0[0].drill, last),
            (None, None, 7)
        );
        let format = |overrides: &Overrides| {
            let bytes = encode_overrides(overrides, 7, wall);
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["format"].clone()
        };
        assert_eq!(format(&overrides), 1);
        overrides.0[0].ramp = Some(Duration::from_secs(600));
        assert_eq!(format(&overrides), 2);
    }

    proptest! {
        #[test]
        fn any_overrides_are_read_back_as_they_were_written(overrides in overrides(), last in 6u64.., unix in 0u64..1 << 33) {
            let wall = WallTime::new(Moment::default(), Duration::from_secs(unix));
            prop_assert_eq!(decode_overrides(&encode_overrides(&overrides, last, wall), wall), Ok((overrides, last)));
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(
            overrides in overrides(),
            at in any::<prop::sample::Index>(),
            octet in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut text = encode_overrides(&overrides, 7, WallTime::default());
            let at = at.index(text.len());
            text[at] = octet;
            let _ = decode_overrides(&text, WallTime::default());
            // The last two octets are a brace and a line break.
            prop_assert!(decode_overrides(&text[..cut.index(text.len() - 2)], WallTime::default()).is_err());
        }
    }
}
