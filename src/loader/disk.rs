//! The files as they are on the disk, each read once, whole, and only up to a limit.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::certificate::load_certificate;
use super::reading::{MAX_FILE, Problem, read, read_up_to, refuse, text};
use super::secret::{secret, tokens};
use super::stamps::Stamps;
use super::{Content, InputFile, is_zone_file};
use crate::config::{CertificatePlaces, OUTSIDE, Source, Unreadable};
use crate::model::SecretPlace;
use crate::zone::MasterText;

/// Reads files and remembers them.
#[derive(Default)]
pub(super) struct Disk {
    files: HashMap<PathBuf, Content>,
    /// The paths, in the order in which they were read.
    order: Vec<PathBuf>,
    listed: Vec<PathBuf>,
    /// The positions of octets that are not UTF-8, of the master files that have any.
    escapes: HashMap<PathBuf, Arc<[u32]>>,
    /// The stamps of the location databases just before they were read.
    pub(super) stamps: Stamps,
}

impl Disk {
    pub(super) fn inputs(&self) -> Vec<InputFile> {
        let mut inputs = Vec::with_capacity(self.order.len());
        for path in &self.order {
            if let Some(content) = self.files.get(path) {
                inputs.push(InputFile {
                    path: path.clone(),
                    content: content.clone(),
                });
            }
        }
        inputs
    }

    /// A zone file that was listed and is not there: a dangling link, or it was removed just now.
    fn explain_missing(&self, path: &Path, problem: &Problem) -> Option<Unreadable> {
        // Only for files that were listed: of others "there is no file" is the whole truth.
        let missing = matches!(problem, Problem::Io(error) if error.kind() == ErrorKind::NotFound);
        if !missing || !self.listed.iter().any(|listed| listed == path) {
            return None;
        }
        let (message, hint) = match fs::symlink_metadata(path) {
            Ok(_) => (
                "is a link to a file that does not exist",
                "fix or remove the link",
            ),
            Err(_) => (
                "was removed while Meridian read the files",
                "try again once the files are complete",
            ),
        };
        let message = format!("{} {message}", path.display());
        Some(Unreadable {
            rule: "missing-file",
            message,
            hint: Some(hint.to_owned()),
            position: None,
        })
    }

    fn remember(&mut self, path: &Path, content: Content) {
        // The map has no order of its own, and the copies keep that of reading.
        self.order.push(path.to_owned());
        self.files.insert(path.to_owned(), content);
    }
}

impl Source for Disk {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        if let Some(Content::Text(text)) = self.files.get(path) {
            return Ok(text.clone());
        }
        let bytes = read(path).map_err(|problem| {
            self.explain_missing(path, &problem)
                .unwrap_or_else(|| problem.explain(path))
        })?;
        let text: Arc<str> = text(path, bytes)?.into();
        self.remember(path, Content::Text(text.clone()));
        Ok(text)
    }

    fn master_file(
        &mut self,
        path: &Path,
        allowed: Option<&[PathBuf]>,
        room: u64,
    ) -> Result<MasterText, Unreadable> {
        if let Some(allowed) = allowed {
            check_inside(path, allowed)?;
        }
        if let Some(Content::Text(text)) = self.files.get(path) {
            let escapes = self.escapes.get(path).cloned().unwrap_or_default();
            return Ok(MasterText {
                text: text.clone(),
                escapes,
            });
        }
        let bytes =
            // The files of one zone share an allowance: many small ones are no way around the
            // limit.
            read_up_to(path, room.min(MAX_FILE)).map_err(|problem| problem.explain(path))?;
        let Some(text) = MasterText::from_octets(bytes) else {
            let message = format!("{} is not text", path.display());
            let hint =
                "name a master file; only comments and strings may hold octets that are not UTF-8"
                    .to_owned();
            return Err(Unreadable {
                rule: "not-utf8",
                message,
                hint: Some(hint),
                position: None,
            });
        };
        if !text.escapes.is_empty() {
            self.escapes.insert(path.to_owned(), text.escapes.clone());
        }
        self.remember(path, Content::Text(text.text.clone()));
        Ok(text)
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        let mut files = list(directory).map_err(|error| unlistable(directory, &error))?;
        files.retain(|path| is_zone_file(path));
        // The order of a directory differs from host to host; diagnostics and ids must not.
        files.sort();
        self.listed.extend(files.iter().cloned());
        Ok(files)
    }

    fn database(&mut self, path: &Path) -> Result<(), Unreadable> {
        if !self.files.contains_key(path) {
            // Before the content: a change in between then shows as a change at the next look.
            self.stamps.add(path);
            let bytes = read(path).map_err(|problem| problem.explain(path))?;
            self.remember(path, Content::Binary(Arc::new(bytes)));
        }
        Ok(())
    }

    fn secret(&mut self, place: &SecretPlace) -> Result<Option<String>, Unreadable> {
        secret(place)
    }

    fn certificate(&mut self, places: &CertificatePlaces) -> Result<bool, Unreadable> {
        load_certificate(places).map(|read| read.is_some())
    }

    fn tokens(&mut self, place: &SecretPlace) -> Result<Option<(PathBuf, Arc<str>)>, Unreadable> {
        tokens(place)
    }

    fn program(&mut self, path: &Path) -> Result<(), Unreadable> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => refuse(
                path,
                "bad-program",
                "is not a file",
                "name a program or a script",
            ),
            Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => refuse(
                path,
                "bad-program",
                "cannot be executed",
                "chmod 755 makes it a program",
            ),
            Ok(_) => Ok(()),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                refuse(
                    path,
                    "missing-program",
                    "is not there",
                    "install the program of the check first",
                )
            }
            Err(error) => refuse(
                path,
                "bad-program",
                &format!("cannot be looked at: {error}"),
                "the user that runs the server must reach it",
            ),
        }
    }

    fn host_name(&mut self) -> String {
        super::node::host_name()
    }
}

/// The paths of everything in a directory.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        paths.push(directory.join(entry?.file_name()));
    }
    Ok(paths)
}

/// Checks that `path`, with every link followed, lies in one of the directories `allowed`.
fn check_inside(path: &Path, allowed: &[PathBuf]) -> Result<(), Unreadable> {
    // Links are followed first: a link in the zones directory may lead anywhere.
    let real = real(path);
    if allowed
        .iter()
        .any(|directory| real.starts_with(self::real(directory)))
    {
        return Ok(());
    }
    let zones = allowed.first().map_or(Path::new(""), |zones| zones);
    let here = self::real(Path::new(""));
    let real = real.strip_prefix(here).unwrap_or(&real).display();
    let message = format!(
        "{} leads to {real}, outside the zones directory {}",
        path.display(),
        zones.display()
    );
    let hint = "move it there, or name its directory in [server] include_from".to_owned();
    Err(Unreadable {
        rule: OUTSIDE,
        message,
        hint: Some(hint),
        position: None,
    })
}

/// The path without links, `.` and `..`; for a path that does not exist, that of the nearest
/// directory above it that does.
fn real(path: &Path) -> PathBuf {
    let real = |path: &Path| {
        fs::canonicalize(if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        })
        .ok()
    };
    path.ancestors()
        .find_map(real)
        .unwrap_or_else(|| path.to_owned())
}

fn unlistable(directory: &Path, error: &io::Error) -> Unreadable {
    let directory = directory.display();
    let (rule, message, hint) = match error.kind() {
        ErrorKind::NotFound => (
            "missing-zones-directory",
            format!("there is no directory {directory}"),
            "create it and put the zone files into it",
        ),
        ErrorKind::NotADirectory => (
            "missing-zones-directory",
            format!("{directory} is not a directory"),
            "name the directory of the zone files, not one of them",
        ),
        ErrorKind::PermissionDenied => (
            "unreadable-file",
            format!("the directory {directory} cannot be read: permission denied"),
            "the user that runs the server must be able to read and to enter it",
        ),
        _ => (
            "unreadable-file",
            format!("the directory {directory} cannot be read: {error}"),
            "check the kernel log for disk errors",
        ),
    };
    Unreadable {
        rule,
        message,
        hint: Some(hint.to_owned()),
        position: None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::diag::At;

    #[test]
    fn each_way_of_not_reading_has_its_words() {
        let explain = |kind: ErrorKind| Problem::Io(kind.into()).explain(Path::new("zones/a.zone"));
        assert_eq!(explain(ErrorKind::NotFound).rule, "missing-file");
        assert_eq!(
            explain(ErrorKind::PermissionDenied).message,
            "the file zones/a.zone cannot be read: permission denied"
        );
        assert_eq!(explain(ErrorKind::Other).rule, "unreadable-file");
        let unlistable = |kind: ErrorKind| unlistable(Path::new("zones"), &kind.into());
        assert_eq!(
            unlistable(ErrorKind::PermissionDenied).message,
            "the directory zones cannot be read: permission denied"
        );
    }

    #[test]
    fn a_database_replaced_right_after_it_was_read_shows_as_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("city.mmdb");
        fs::write(&path, "old").unwrap();
        let mut disk = Disk::default();
        disk.database(&path).unwrap();
        assert_eq!(disk.stamps, disk.stamps.look());
        fs::write(&path, "newer").unwrap();
        assert_ne!(disk.stamps, disk.stamps.look());
    }

    #[test]
    fn a_database_replaced_under_equal_time_and_length_shows_as_changed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (
            directory.path().join("city.mmdb"),
            directory.path().join("aside"),
        );
        let write = |path: &Path, text: &str| {
            fs::write(path, text).unwrap();
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
        };
        write(&path, "old");
        let mut disk = Disk::default();
        disk.database(&path).unwrap();
        write(&aside, "new");
        fs::rename(&aside, &path).unwrap();
        let replaced = disk.stamps.look();
        assert_ne!(disk.stamps, replaced, "another inode");
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(&path, "odd");
        assert_ne!(
            replaced,
            disk.stamps.look(),
            "the same inode, changed at another time"
        );
    }

    #[test]
    fn a_zone_file_removed_after_it_was_listed_is_said_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        fs::write(&path, "zone = 1").unwrap();
        let mut disk = Disk::default();
        assert_eq!(
            disk.zone_files(directory.path()).unwrap(),
            std::slice::from_ref(&path)
        );
        fs::remove_file(&path).unwrap();
        assert!(
            disk.text(&path)
                .unwrap_err()
                .message
                .ends_with("was removed while Meridian read the files")
        );
    }

    #[test]
    fn the_first_byte_that_is_no_text_is_found() {
        let problem = text(Path::new("a"), b"zone\n\xc3\xbc \xff\n".to_vec()).unwrap_err();
        assert_eq!(problem.position, Some(At::new("a", 2, 3, 0)));
    }
}
