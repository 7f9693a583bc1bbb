//! The files as they are on the disk, each read once, whole, and only up to a limit.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stamps::Stamps;
use super::{Content, InputFile, is_zone_file};
use crate::config::{OUTSIDE, Source, Unreadable};
use crate::diag::{At, position};
use crate::model::SecretPlace;
use crate::zone::MasterText;

/// TOML is parsed into a tree several times its size; data of this size belongs into `records_file`.
const MAX_TOML: u64 = 64 << 20;
/// Master files and MMDBs.
const MAX_FILE: u64 = 1 << 30;
/// The value of a header: web servers take no longer ones.
const MAX_SECRET: usize = 8 << 10;

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

/// Refuses a file of the configuration, for the reason `what` that completes "PATH …".
fn refuse<T>(path: &Path, rule: &'static str, what: &str, hint: &str) -> Result<T, Unreadable> {
    Err(Unreadable {
        rule,
        message: format!("{} {what}", path.display()),
        hint: Some(hint.to_owned()),
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

/// Reads a secret for the value of a header, without the line end that editors and `echo` put
/// behind it. `None` where it is a credential and systemd has given this process none. Messages
/// about a bad secret never show any of it.
pub(super) fn secret(place: &SecretPlace) -> Result<Option<String>, Unreadable> {
    let path = match place {
        SecretPlace::File(path) => path.clone(),
        SecretPlace::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => Path::new(&directory).join(name),
            None => return Ok(None),
        },
    };
    let bytes = read(&path).map_err(|problem| match (&problem, place) {
        (Problem::Io(error), SecretPlace::Credential(name)) if error.kind() == ErrorKind::NotFound => Unreadable {
            rule: "missing-file",
            message: format!("systemd gave this service no credential {name}"),
            hint: Some(format!("add LoadCredential={name}:/etc/meridian/{name} with `systemctl edit meridian`, and restart the service")),
            position: None,
        },
        _ => problem.explain(&path),
    })?;
    // Editors end the file with a line end, which no header may have.
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    check_secret(&path, line).map(Some)
}

/// The secret in `line`, where it can be the value of a header. Messages never show any of it.
fn check_secret(path: &Path, line: &[u8]) -> Result<String, Unreadable> {
    const RULE: &str = "bad-secret";
    if line.is_empty() {
        let hint = "write the secret into the file, on one line";
        return refuse(path, RULE, "is empty", hint);
    }
    if line.len() > MAX_SECRET {
        let what = format!("has {} octets, more than {MAX_SECRET}", line.len());
        return refuse(path, RULE, &what, "check that it is the right file");
    }
    if let Some(at) = line.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        let what = format!("has more than one line: octet {} is a line end", at + 1);
        let hint = "write the secret on one line, as a header needs it";
        return refuse(path, RULE, &what, hint);
    }
    match String::from_utf8(line.to_vec()) {
        Ok(text)
            if text
                .bytes()
                .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic()) =>
        {
            Ok(text)
        }
        _ => {
            let at = line
                .iter()
                .position(|b| !matches!(b, b' ' | b'\t' | b'!'..=b'~'))
                .unwrap_or_default();
            let hint =
                "a header holds printable ASCII characters: encode others, for example as Base64";
            let what = format!(
                "cannot be the value of a header: octet {} is not printable ASCII",
                at + 1
            );
            refuse(path, RULE, &what, hint)
        }
    }
}

/// A reason why a file was not read.
#[derive(Debug)]
pub(super) enum Problem {
    Io(io::Error),
    NotAFile(&'static str),
    TooLarge(u64),
    BadPath,
}

/// Reads a whole regular file; a pipe or a device could block or never end.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    read_up_to(
        path,
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            MAX_TOML
        } else {
            MAX_FILE
        },
    )
}

/// Reads a regular file likewise, of at most `limit` octets.
fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    if path.to_str().is_none() {
        return Err(Problem::BadPath);
    }
    // Looked at before it is opened: opening a pipe waits for a writer.
    let kind = fs::metadata(path).map_err(Problem::Io)?.file_type();
    if !kind.is_file() {
        return Err(Problem::NotAFile(if kind.is_dir() {
            "a directory"
        } else {
            "a pipe or a device"
        }));
    }
    let file = File::open(path).map_err(Problem::Io)?;
    let size = file.metadata().map_err(Problem::Io)?.len();
    if size > limit {
        return Err(Problem::TooLarge(limit));
    }
    // At most `limit`, which is 1 GiB.
    let mut bytes = Vec::with_capacity(size as usize);
    // One byte more shows a file that grew past the limit meanwhile.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Problem::Io)?;
    if bytes.len() as u64 > limit {
        Err(Problem::TooLarge(limit))
    } else {
        Ok(bytes)
    }
}

impl Problem {
    pub(super) fn explain(self, path: &Path) -> Unreadable {
        let path = path.display();
        let (rule, message, hint) = match self {
            Problem::Io(error) if error.kind() == ErrorKind::NotFound => (
                "missing-file",
                format!("there is no file {path}"),
                "relative paths start at the directory of the file that names them",
            ),
            Problem::Io(error) if error.kind() == ErrorKind::PermissionDenied => (
                "unreadable-file",
                format!("the file {path} cannot be read: permission denied"),
                "the user that runs the server must be able to read it and to enter its directory",
            ),
            Problem::Io(error) => (
                "unreadable-file",
                format!("the file {path} cannot be read: {error}"),
                "check the kernel log for disk errors",
            ),
            Problem::NotAFile(what) => (
                "unreadable-file",
                format!("{path} is {what}, not a file"),
                "name a regular file",
            ),
            Problem::TooLarge(limit) if limit == MAX_TOML => (
                "file-too-large",
                format!("{path} is larger than {} MiB", limit >> 20),
                "keep large data in a master file: records_file = \"…\"",
            ),
            Problem::TooLarge(limit) => (
                "file-too-large",
                format!("{path} is larger than {} MiB", limit >> 20),
                "check that it is the right file; split a large zone with $INCLUDE",
            ),
            Problem::BadPath => (
                "unreadable-file",
                format!("the name of {path} is not valid UTF-8"),
                "rename the file: letters, digits, dots and hyphens are safe",
            ),
        };
        Unreadable {
            rule,
            message,
            hint: Some(hint.to_owned()),
            position: None,
        }
    }
}

/// The bytes as text, or where they stop being UTF-8.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let (before, bad) = (&error.as_bytes()[..good], error.as_bytes()[good]);
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        let line = position(before.iter().filter(|b| **b == b'\n').count() + 1);
        let before = String::from_utf8_lossy(&before[line_start..]);
        let column = position(before.chars().count() + 1);
        Unreadable {
            rule: "not-utf8",
            message: format!("the byte 0x{bad:02X} is not UTF-8 text"),
            hint: Some(
                "save the file as UTF-8: iconv -f latin1 -t utf-8 converts most old files"
                    .to_owned(),
            ),
            position: Some(At::new(path.display().to_string(), line, column, 0)),
        }
    })
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
    use super::*;

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
