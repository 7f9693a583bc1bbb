//! `acme.json`: the ACME challenges in force, one object each, the ends of them in RFC 3339.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::{Fate, NotUsed, Unusable, moment, parse, read, text, written};
use super::files::{make_directory, write_atomically};
use crate::acme::{Challenge, MOST, Subject, Value};
use crate::model::WallTime;

/// The file in the state directory.
pub const ACME_FILE: &str = "acme.json";
/// The name of a file that cannot be used.
pub const ACME_SET_ASIDE: &str = "acme.json.bad";
/// The largest file that is read, in octets: [`MOST`] challenges of long names take a third of it.
const MAX_SIZE: u64 = 4 << 20;
/// The layout of the file; a higher one is of a later version.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'f> {
    format: u32,
    /// The version of Meridian that wrote it.
    #[serde(borrow)]
    meridian: Cow<'f, str>,
    challenges: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: Subject,
    value: Value,
    by: String,
    until: String,
}

/// The file's content for `challenges`, whose times `wall` reads.
pub fn encode_acme(challenges: &[Challenge], wall: WallTime) -> Vec<u8> {
    let rows = challenges.iter().map(|challenge| Row {
        name: challenge.subject.clone(),
        value: challenge.value.clone(),
        by: challenge.by.clone(),
        until: written(challenge.until, wall),
    });
    let file = File {
        format: FORMAT,
        meridian: env!("CARGO_PKG_VERSION").into(),
        challenges: rows.collect(),
    };
    text(&file)
}

/// Reads the content of a file, its times as `wall` reads them.
pub fn decode_acme(bytes: &[u8], wall: WallTime) -> Result<Vec<Challenge>, Unusable> {
    let file: File<'_> = parse(bytes, FORMAT)?;
    if file.challenges.len() > MOST {
        let many = file.challenges.len();
        return Err(Unusable::Damaged(format!(
            "it has {many} challenges, and there are {MOST} at most"
        )));
    }
    let rows = file.challenges.into_iter().map(|row| {
        Ok(Challenge {
            subject: row.name,
            value: row.value,
            by: row.by,
            until: moment(&row.until, wall)?,
        })
    });
    rows.collect()
}

/// Reads the challenges kept in `directory`, whose times `wall` reads; `None` where there never were
/// any. A file that cannot be used is set aside: a client that misses its challenge sets another.
pub fn load_acme(directory: &Path, wall: WallTime) -> Result<Option<Vec<Challenge>>, NotUsed> {
    let path = directory.join(ACME_FILE);
    peek_acme(directory, wall).map_err(|why| NotUsed {
        consequence: "ACME challenges lost",
        fate: Fate::set_aside(&path, directory, ACME_SET_ASIDE),
        path,
        why: Box::new(why),
    })
}

/// Reads the challenges as [`load_acme`] does, and leaves everything as it is.
pub fn peek_acme(directory: &Path, wall: WallTime) -> Result<Option<Vec<Challenge>>, Unusable> {
    let bytes = read(&directory.join(ACME_FILE), MAX_SIZE)?;
    bytes.map(|bytes| decode_acme(&bytes, wall)).transpose()
}

/// Writes the file, whole or not at all.
pub(super) fn write_acme(
    directory: &Path,
    challenges: &[Challenge],
    wall: WallTime,
) -> io::Result<()> {
    make_directory(directory)?;
    write_atomically(directory, ACME_FILE, &encode_acme(challenges, wall))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Moment;

    fn challenge() -> impl Strategy<Value = Challenge> {
        let name = "([a-z*@0-9]{1,9}[.]){0,4}example";
        let by = ".{0,9}";
        (name, "[A-Za-z0-9_-]{1,255}", by, 0u64..1 << 45).prop_map(|(name, value, by, millis)| {
            Challenge {
                subject: Subject::parse(&name.replace('@', "\\064")).unwrap(),
                value: Value::try_from(value).unwrap(),
                by,
                until: Moment(Duration::from_millis(millis)),
            }
        })
    }

    fn one() -> Challenge {
        Challenge {
            subject: Subject::parse("www.gtm.example").unwrap(),
            value: Value::try_from("abc-DEF_1".to_owned()).unwrap(),
            by: "anna".to_owned(),
            until: Moment(Duration::from_secs(60)),
        }
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let wall = WallTime::default();
        let good = String::from_utf8(encode_acme(&[one()], wall)).unwrap();
        let many = encode_acme(&vec![one(); MOST + 1], wall);
        for (bad, said) in [
            (String::new(), "is damaged: EOF"),
            (good[..good.len() / 2].to_owned(), "is damaged: EOF"),
            (
                good.replace("\"format\": 1", "\"format\": 2"),
                "has format 2, written by Meridian",
            ),
            (good.replace("1970-01-01", "1970-13-01"), "is not a time"),
            (good.replace("abc-DEF_1", "a b"), "has the character ' '"),
            (good.replace("www.gtm", "www..gtm"), "empty label"),
            (
                good.replace("www.gtm", "_acme-challenge.gtm"),
                "without _acme-challenge",
            ),
            (good.replace("\"by\"", "\"from\""), "unknown field"),
            (
                String::from_utf8(many).unwrap(),
                "it has 1001 challenges, and there are 1000 at most",
            ),
        ] {
            let why = decode_acme(bad.as_bytes(), wall).unwrap_err().to_string();
            assert!(why.contains(said), "{said}: {why}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_set_aside_once() {
        let root = tempfile::tempdir().unwrap();
        let wall = WallTime::default();
        assert_eq!(load_acme(root.path(), wall), Ok(None), "none is there");
        write_acme(root.path(), &[one()], wall).unwrap();
        assert_eq!(load_acme(root.path(), wall), Ok(Some(vec![one()])));
        fs::write(root.path().join(ACME_FILE), "{").unwrap();
        let why = load_acme(root.path(), wall).unwrap_err().to_string();
        assert!(why.starts_with("ACME challenges lost: "), "{why}");
        assert!(why.ends_with("it is set aside as acme.json.bad"), "{why}");
        assert_eq!(load_acme(root.path(), wall), Ok(None));
    }

    proptest! {
        #[test]
        fn any_challenges_are_read_back_as_they_were_written(
            challenges in prop::collection::vec(challenge(), 0..6),
            unix in 0u64..1 << 33,
        ) {
            let wall = WallTime::new(Moment::default(), Duration::from_secs(unix));
            prop_assert_eq!(decode_acme(&encode_acme(&challenges, wall), wall), Ok(challenges));
        }
    }
}
