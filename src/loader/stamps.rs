//! The state of the location databases on disk, by which a change is noticed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// The state of the location databases on disk: something in it changes whenever one is replaced or
/// written to. Package managers set all times alike, and files may keep their length, so time and
/// length alone are not enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// One file: device, inode, length, and in nanoseconds when its content and when its inode changed
/// last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// The databases that `config` names, unlike any that are there.
    pub(super) fn unseen(config: &Config) -> Stamps {
        let named = [&config.geo.city, &config.geo.asn].into_iter().flatten();
        Stamps(named.map(|(path, _)| (path.clone(), None)).collect())
    }

    /// Adds the state of `path`. To be called before it is read: a change in between then shows as
    /// a change, and is read again.
    pub(super) fn add(&mut self, path: &Path) {
        // A file that is not there has no stamp, so that its appearance is a change as well.
        self.0.push((path.to_owned(), look(path)));
    }

    /// The state of the same files now.
    pub fn look(&self) -> Stamps {
        let mut now = Stamps::default();
        for (path, _) in &self.0 {
            now.add(path);
        }
        now
    }
}

fn look(path: &Path) -> Option<Stamp> {
    let seen = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: seen.dev(),
        inode: seen.ino(),
        length: seen.len(),
        modified: (seen.mtime(), seen.mtime_nsec()),
        changed: (seen.ctime(), seen.ctime_nsec()),
    })
}
