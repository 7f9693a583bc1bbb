//! `overrides.json`: what operators said, one object each, its times in RFC 3339.

use std::borrow::Cow;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::format::{parse, shown};
use crate::model::{Moment, WallTime, Weight};
use crate::steer::{Override, Overrides, Scope, Word};

/// The file in the state directory.
pub const OVERRIDES_FILE: &str = "overrides.json";
/// What a file that cannot be used is renamed to.
const SET_ASIDE: &str = "overrides.json.bad";
/// The largest file that is read, in octets.
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

/// The file's content for `overrides`, whose times `wall` reads.
pub fn encode_overrides(overrides: &Overrides, wall: WallTime) -> Vec<u8> {
    let overrides = overrides.0.iter().map(|own| Row::new(own, wall)).collect();
    let file = File { format: FORMAT, meridian: env!("CARGO_PKG_VERSION").into(), overrides };
    let mut text = serde_json::to_vec_pretty(&file).expect("strings and numbers have a JSON form");
    text.push(b'\n');
    text
}

/// Reads the overrides kept in `directory`, whose times `wall` reads; none where there is no file. An error is one sentence; the file is then set aside.
pub fn load_overrides(directory: &Path, wall: WallTime) -> Result<Overrides, String> {
    let path = directory.join(OVERRIDES_FILE);
    let kept = match super::read(&path, MAX_SIZE) {
        Ok(Some(bytes)) => decode_overrides(&bytes, wall),
        Ok(None) => return Ok(Overrides::default()),
        Err(why) => Err(why),
    };
    kept.map_err(|why| {
        let aside = super::set_aside(&path, directory, SET_ASIDE);
        format!("the overrides in {} are not used, since it {why}; {aside}", path.display())
    })
}

/// What a file says, its times read by `wall`. The error completes "it …" in one line, whatever the file has.
pub fn decode_overrides(bytes: &[u8], wall: WallTime) -> Result<Overrides, String> {
    read(bytes, wall).map_err(shown)
}

fn read(bytes: &[u8], wall: WallTime) -> Result<Overrides, String> {
    let file: File<'_> = parse(bytes, FORMAT)?;
    let mut list: Vec<Override> = file.overrides.into_iter().map(|row| row.read(wall)).collect::<Result<_, _>>()?;
    list.sort_by_key(|own| own.id);
    match list.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => Err(format!("is damaged: two overrides have the number {}", pair[0].id)),
        None => Ok(Overrides(list)),
    }
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
        let word = match own.word {
            Word::Drain => WordRow::Drain,
            Word::Up => WordRow::Up,
            Word::Down => WordRow::Down,
            Word::Weight(weight) => WordRow::Weight(weight.get()),
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
        }
    }

    fn read(self, wall: WallTime) -> Result<Override, String> {
        let scope = match self.of {
            ScopeRow::Endpoint { service, target } => Scope::Endpoint { service, target },
            ScopeRow::Pool { service, region } => Scope::Pool { service, region },
            ScopeRow::Service(service) => Scope::Service(service),
            ScopeRow::Region(region) => Scope::Region(region),
            ScopeRow::Metro(metro) => Scope::Metro(metro),
            ScopeRow::Label(key, value) => Scope::Label(key, value),
        };
        let word = match self.word {
            WordRow::Drain => Word::Drain,
            WordRow::Up => Word::Up,
            WordRow::Down => Word::Down,
            WordRow::Weight(weight) => {
                Word::Weight(Weight::new(weight).ok_or_else(|| format!("is damaged: {weight} is above the largest weight"))?)
            }
        };
        Ok(Override {
            id: self.id,
            word,
            scope,
            by: self.by,
            reason: self.reason,
            made: moment(&self.made, wall)?,
            starts: moment(&self.starts, wall)?,
            until: self.until.as_deref().map(|until| moment(until, wall)).transpose()?,
            forced: self.forced,
        })
    }
}

/// To the millisecond.
fn written(at: Moment, wall: WallTime) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + wall.unix(at)).to_string()
}

fn moment(text: &str, wall: WallTime) -> Result<Moment, String> {
    let time = humantime::parse_rfc3339(text).map_err(|_| format!("is damaged: {text:?} is no time"))?;
    Ok(wall.moment(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at() -> impl Strategy<Value = Moment> {
        (0u64..1 << 45).prop_map(|millis| Moment(Duration::from_millis(millis)))
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let text = || ".{0,9}";
        prop_oneof![
            (prop::option::of(text()), text()).prop_map(|(service, target)| Scope::Endpoint { service, target }),
            (text(), text()).prop_map(|(service, region)| Scope::Pool { service, region }),
            text().prop_map(Scope::Service),
            text().prop_map(Scope::Region),
            text().prop_map(Scope::Metro),
            (text(), text()).prop_map(|(key, value)| Scope::Label(key, value)),
        ]
    }

    fn word() -> impl Strategy<Value = Word> {
        let weight = (0..=Weight::MAX).prop_map(|weight| Word::Weight(Weight::new(weight).unwrap()));
        prop_oneof![Just(Word::Drain), Just(Word::Up), Just(Word::Down), weight]
    }

    fn overrides() -> impl Strategy<Value = Overrides> {
        let times = (at(), at(), prop::option::of(at()));
        let own = (word(), scope(), ".{0,9}", ".{0,9}", times, any::<bool>());
        let make = |(id, (word, scope, by, reason, (made, starts, until), forced))| Override {
            id,
            word,
            scope,
            by,
            reason,
            made,
            starts,
            until,
            forced,
        };
        prop::collection::vec(own, 0..6).prop_map(move |rows| Overrides((1..).zip(rows).map(make).collect()))
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let own = Override {
            id: 3,
            word: Word::Weight(Weight::ONE),
            scope: Scope::Region("east".into()),
            by: "anna".into(),
            reason: "work".into(),
            made: Moment(Duration::from_secs(1)),
            starts: Moment(Duration::from_secs(1)),
            until: None,
            forced: false,
        };
        let good = String::from_utf8(encode_overrides(&Overrides(vec![own.clone()]), WallTime::default())).unwrap();
        let twice = String::from_utf8(encode_overrides(&Overrides(vec![own.clone(), own]), WallTime::default())).unwrap();
        for (bad, said) in [
            (String::new(), "is damaged: EOF"),
            (good[..good.len() / 2].to_owned(), "is damaged: EOF"),
            (good.replace("\"format\": 1", "\"format\": 2"), "has format 2, written by Meridian"),
            (good.replace("1970-01-01", "1970-13-01"), "is no time"),
            (good.replace("\"weight\": 1", "\"weight\": 1000001"), "is above the largest weight"),
            (good.replace("\"region\"", "\"town\""), "is damaged: unknown variant"),
            (good.replace("\"by\"", "\"from\""), "is damaged: unknown field"),
            (twice, "two overrides have the number 3"),
        ] {
            let why = decode_overrides(bad.as_bytes(), WallTime::default()).unwrap_err();
            assert!(why.contains(said), "{said}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_overrides_are_read_back_as_they_were_written(overrides in overrides(), unix in 0u64..1 << 33) {
            let wall = WallTime::new(Moment::default(), Duration::from_secs(unix));
            prop_assert_eq!(decode_overrides(&encode_overrides(&overrides, wall), wall), Ok(overrides));
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(
            overrides in overrides(),
            at in any::<prop::sample::Index>(),
            octet in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut text = encode_overrides(&overrides, WallTime::default());
            let at = at.index(text.len());
            text[at] = octet;
            let _ = decode_overrides(&text, WallTime::default());
            // The last two octets are a brace and a line break.
            prop_assert!(decode_overrides(&text[..cut.index(text.len() - 2)], WallTime::default()).is_err());
        }
    }
}
