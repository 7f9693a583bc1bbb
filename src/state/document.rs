//! The JSON documents of the state directory: how they are read, the header that all of them have,
//! and the reasons not to use one.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::model::{Moment, WallTime};

/// The text of a document, for people as well as for the next process.
pub(super) fn text(document: &impl Serialize) -> Vec<u8> {
    let pretty = serde_json::to_vec_pretty(document);
    let mut text = pretty.expect("strings and numbers have a JSON form");
    text.push(b'\n');
    text
}

/// A reason not to use a file of the state directory. Its words complete "it …", in one line of
/// bounded length whatever the file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// This user may not read it, as the system says.
    Forbidden(String),
    /// The system cannot read it.
    Unreadable(String),
    /// It is a directory, a link, or something else that is no file.
    NotAFile,
    /// It has more octets than any that is written.
    TooLarge {
        /// The most that is read.
        mebibytes: u64,
    },
    /// Another version of Meridian wrote it, which lays it out otherwise.
    OtherFormat {
        /// Its layout.
        format: u32,
        /// The version that wrote it.
        meridian: String,
        /// The layout that this version reads.
        known: u32,
    },
    /// It was written later than now.
    FromTheFuture {
        /// The time at which it says that it was written.
        written: String,
        /// The present.
        now: String,
    },
    /// There is none, and its copy, of this name, is there.
    Gone {
        /// The copy's name.
        copy: &'static str,
    },
    /// It is not what was written, as a part of a sentence says.
    Damaged(String),
}

/// The fields that every version of a file has.
#[derive(Deserialize)]
struct Header {
    format: u32,
    meridian: String,
}

/// A file of the state directory that a start does not use.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUsed {
    /// The consequence, as the begin of a sentence.
    pub(super) consequence: &'static str,
    /// The file.
    pub(super) path: PathBuf,
    /// The reason.
    pub(super) why: Box<Unusable>,
    /// The file's fate.
    pub(super) fate: Fate,
}

/// The fate of a file that is not used. No such file is ever deleted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has this name now, so that it can be looked into and is not met again.
    Renamed(&'static str),
    /// It cannot be renamed.
    Stuck { name: &'static str, error: String },
    /// It stays for the version that wrote it.
    Kept,
}

impl Fate {
    /// Renames a file in `directory` that cannot be used.
    pub(super) fn set_aside(path: &Path, directory: &Path, name: &'static str) -> Fate {
        match fs::rename(path, directory.join(name)) {
            Ok(()) => Fate::Renamed(name),
            // It is told and left alone: the start goes on without the file.
            Err(error) => Fate::Stuck {
                name,
                error: error.to_string(),
            },
        }
    }
}

/// Reads a file of the state directory of at most `most` octets; `None` where there is none.
pub(super) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Unusable> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // In a directory that is not there, or is a file, nothing is kept.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(&error)),
    };
    // Whatever else stands there is not opened: a pipe would block the start, and a link leads to
    // what is not ours.
    if !metadata.is_file() {
        return Err(Unusable::NotAFile);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    // The file may have grown since it was looked at.
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > most {
        let mebibytes = most >> 20;
        return Err(Unusable::TooLarge { mebibytes });
    }
    Ok(Some(bytes))
}

fn unreadable(error: &io::Error) -> Unusable {
    if error.kind() == ErrorKind::PermissionDenied {
        Unusable::Forbidden(error.to_string())
    } else {
        Unusable::Unreadable(error.to_string())
    }
}

/// Reads a document whose layout must be `known`.
pub(super) fn parse<'f, T: Deserialize<'f>>(bytes: &'f [u8], known: u32) -> Result<T, Unusable> {
    parse_since(known, bytes, known)
}

/// Reads a document whose layout must be `known`, or an earlier one from `oldest` on of which it has
/// all fields.
pub(super) fn parse_since<'f, T: Deserialize<'f>>(
    oldest: u32,
    bytes: &'f [u8],
    known: u32,
) -> Result<T, Unusable> {
    // The header comes first: a later layout is recognised whatever else it has.
    let Header { format, meridian } = serde_json::from_slice(bytes)?;
    if !(oldest..=known).contains(&format) {
        return Err(Unusable::OtherFormat {
            format,
            meridian,
            known,
        });
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Writes a time, to the millisecond.
pub(super) fn written(at: Moment, wall: WallTime) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + wall.unix(at)).to_string()
}

/// Reads a time that was written so.
pub(super) fn moment(text: &str, wall: WallTime) -> Result<Moment, Unusable> {
    let time = humantime::parse_rfc3339(text)
        .map_err(|_| Unusable::Damaged(format!("{text:?} is not a time")))?;
    // A time before 1970 counts as 1970: either is long over.
    Ok(wall.moment(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

impl From<serde_json::Error> for Unusable {
    fn from(error: serde_json::Error) -> Unusable {
        Unusable::Damaged(error.to_string())
    }
}

impl Unusable {
    fn sentence(&self) -> String {
        match self {
            Unusable::Forbidden(error) | Unusable::Unreadable(error) => {
                format!("cannot be read: {error}")
            }
            Unusable::NotAFile => "is not a regular file".to_owned(),
            Unusable::TooLarge { mebibytes } => format!("is larger than {mebibytes} MiB"),
            Unusable::OtherFormat {
                format,
                meridian,
                known,
            } => format!(
                "has format {format}, written by Meridian {meridian}, and this version reads \
                 format {known}"
            ),
            Unusable::FromTheFuture { written, now } => {
                format!("is from the future: it was written at {written}, and the clock says {now}")
            }
            Unusable::Gone { copy } => format!("is missing, although its copy {copy} exists"),
            Unusable::Damaged(why) => format!("is damaged: {why}"),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        // The file may have anything, and its words go to logs and terminals.
        for c in self.sentence().chars().take(SHOWN) {
            f.write_char(if c.is_control() { '\u{fffd}' } else { c })?;
        }
        Ok(())
    }
}

impl std::error::Error for Unusable {}

impl fmt::Display for NotUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{}: {path} {}; ", self.consequence, self.why)?;
        match &self.fate {
            Fate::Renamed(name) => write!(f, "it is set aside as {name}"),
            Fate::Stuck { name, error } => {
                write!(f, "it cannot be set aside as {name}: {error}")
            }
            Fate::Kept => f.write_str(
                "it is kept for that version. To continue without it, move it away, restart, and run \
                 `meridian unit init --epoch N` with an epoch higher than any before",
            ),
        }
    }
}

impl std::error::Error for NotUsed {}
