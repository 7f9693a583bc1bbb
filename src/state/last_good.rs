//! Copies of the files of the last good dataset, so that broken files at a start take nothing down.
//!
//! ```text
//! STATE/last-good/manifest.json     which file, under which path, has which content
//! STATE/last-good/files/SHA-256     the contents, one file each (`sha256sum` verifies them)
//! ```
//! Contents are written first, the manifest takes the place of the old one in one rename, and what
//! no manifest names is removed last: whenever power fails, one complete set is there. A content
//! that is there already is not written again.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};

use super::document::{Unusable, parse, text};
use super::files::{make_directory, sync_directory, write_atomically};

/// The layout of the directory; a higher one is of a later version.
const FORMAT: u32 = 1;
/// The directory of the copies in the state directory.
pub(super) const LAST_GOOD: &str = "last-good";
/// The directory of the contents in it.
pub(super) const FILES: &str = "files";
const MANIFEST: &str = "manifest.json";

/// The files of the last good dataset.
#[derive(Debug)]
pub struct LastGood {
    /// The path of `meridian.toml`, as it was named then.
    pub config: PathBuf,
    /// Every file: its original path and its content.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The version of Meridian that wrote it.
    meridian: String,
    /// `meridian.toml`, as it was named then.
    config: PathBuf,
    files: Vec<ManifestFile>,
}

#[derive(Serialize, Deserialize)]
struct ManifestFile {
    /// The original.
    path: PathBuf,
    /// SHA-256 of the content in hexadecimal: its name in `files/`.
    sha256: String,
    bytes: u64,
}

/// A reason why there are no last good files to serve.
#[derive(Debug)]
pub enum LastGoodError {
    /// None were ever kept in this state directory.
    None,
    /// The manifest cannot be used.
    Manifest {
        /// Its path.
        path: PathBuf,
        /// The reason.
        why: Box<Unusable>,
    },
    /// A copy cannot be read.
    Gone {
        /// The path of the original.
        original: PathBuf,
        /// The path of the copy.
        copy: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A copy does not have its checksum.
    Damaged {
        /// The path of the original.
        original: PathBuf,
        /// The path of the copy.
        copy: PathBuf,
    },
}

impl fmt::Display for LastGoodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let LastGoodError::None = self {
            return f.write_str("no last good files are kept");
        }
        f.write_str("the last good files cannot be used: ")?;
        match self {
            LastGoodError::None => Ok(()),
            LastGoodError::Manifest { path, why } => write!(f, "{} {why}", path.display()),
            LastGoodError::Gone {
                original,
                copy,
                error,
            } => {
                let (original, copy) = (original.display(), copy.display());
                write!(f, "the copy of {original} is gone ({copy}: {error})")
            }
            LastGoodError::Damaged { original, copy } => {
                let (original, copy) = (original.display(), copy.display());
                write!(f, "the copy of {original} is damaged ({copy})")
            }
        }
    }
}

impl std::error::Error for LastGoodError {}

/// Keeps copies of `files`, read as the configuration `config`, in `state` in place of what was kept
/// before. An error leaves the old ones whole.
pub fn save_last_good<'f>(
    state: &Path,
    config: &Path,
    files: impl IntoIterator<Item = (&'f Path, &'f [u8])>,
) -> io::Result<()> {
    let directory = state.join(LAST_GOOD);
    let contents = directory.join(FILES);
    make_directory(&contents)?;
    let mut manifest = Manifest {
        format: FORMAT,
        meridian: env!("CARGO_PKG_VERSION").to_owned(),
        config: config.to_owned(),
        files: Vec::new(),
    };
    for (path, bytes) in files {
        manifest.files.push(keep(&contents, path, bytes)?);
    }
    // The contents reach the disk before the manifest that names them does.
    sync_directory(&contents)?;
    write_manifest(&directory, &manifest)?;
    remove_others(&contents, &manifest)
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> io::Result<()> {
    write_atomically(directory, MANIFEST, &text(manifest))
}

/// Keeps copies of location databases in `state` in place of what was kept of the files of the same
/// paths; the others stay.
///
/// # Errors
/// Also where nothing is kept yet, or what is kept is no good: then there is nothing to put them beside.
pub fn save_databases<'f>(
    state: &Path,
    databases: impl IntoIterator<Item = (&'f Path, &'f [u8])>,
) -> io::Result<()> {
    let directory = state.join(LAST_GOOD);
    let contents = directory.join(FILES);
    let mut manifest =
        read_manifest(&fs::read(directory.join(MANIFEST))?).map_err(io::Error::other)?;
    for (path, bytes) in databases {
        let file = keep(&contents, path, bytes)?;
        // One row for each path, or a load would have two contents for it.
        manifest.files.retain(|kept| kept.path != file.path);
        manifest.files.push(file);
    }
    sync_directory(&contents)?;
    write_manifest(&directory, &manifest)?;
    remove_others(&contents, &manifest)
}

/// Reads the last good files kept in `state`, each held to its checksum.
pub fn load_last_good(state: &Path) -> Result<LastGood, LastGoodError> {
    let directory = state.join(LAST_GOOD);
    let path = directory.join(MANIFEST);
    let manifest = match fs::read(&path) {
        Ok(text) => read_manifest(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(LastGoodError::None),
        Err(error) => Err(Unusable::Unreadable(error.to_string())),
    };
    let manifest = manifest.map_err(|why| LastGoodError::Manifest {
        path,
        why: Box::new(why),
    })?;
    let mut files = Vec::with_capacity(manifest.files.len());
    for file in manifest.files {
        let bytes = read_copy(&directory, &file)?;
        files.push((file.path, bytes));
    }
    Ok(LastGood {
        config: manifest.config,
        files,
    })
}

fn read_copy(directory: &Path, file: &ManifestFile) -> Result<Vec<u8>, LastGoodError> {
    let (original, copy) = (file.path.clone(), directory.join(FILES).join(&file.sha256));
    match fs::read(&copy) {
        // A disk that decays is noticed here and not by clients.
        Ok(bytes) if sha256(&bytes) == file.sha256 => Ok(bytes),
        Ok(_) => Err(LastGoodError::Damaged { original, copy }),
        Err(error) => Err(LastGoodError::Gone {
            original,
            copy,
            error,
        }),
    }
}

fn read_manifest(text: &[u8]) -> Result<Manifest, Unusable> {
    let manifest: Manifest = parse(text, FORMAT)?;
    for file in &manifest.files {
        // The names lead to files: nothing but a checksum may stand there.
        if file.sha256.len() != 64 || !file.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            let path = file.path.display();
            return Err(Unusable::Damaged(format!("the checksum of {path} is none")));
        }
    }
    Ok(manifest)
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Writes a content unless it is there, whole, already; its row of the manifest.
fn keep(contents: &Path, path: &Path, bytes: &[u8]) -> io::Result<ManifestFile> {
    let sha256 = sha256(bytes);
    match fs::read(contents.join(&sha256)) {
        // Compared as a whole: a copy that decayed is written again.
        Ok(kept) if kept == bytes => {}
        _ => write_atomically(contents, &sha256, bytes)?,
    }
    Ok(ManifestFile {
        path: path.to_owned(),
        sha256,
        bytes: bytes.len() as u64,
    })
}

/// Removes contents that the manifest does not name, and temporary files of a save cut short.
fn remove_others(contents: &Path, manifest: &Manifest) -> io::Result<()> {
    let named: HashSet<&str> = manifest
        .files
        .iter()
        .map(|file| file.sha256.as_str())
        .collect();
    for entry in fs::read_dir(contents)? {
        let entry = entry?;
        if !entry
            .file_name()
            .to_str()
            .is_some_and(|name| named.contains(name))
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::{Loaded, Outcome, load, load_copies};

    const MAIN: &str =
        "[server]\nnode = \"n\"\nstate = \"state\"\n[regions.a]\n[geo]\ncity = \"city.mmdb\"\n";
    const ZONE: &str = "zone = \"z.example\"\nrecords_file = \"z.zone\"\n";
    const RECORDS: &str = "@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\n$INCLUDE more.zone\n";

    fn files(directory: &Path) {
        fs::create_dir_all(directory.join("zones")).unwrap();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write("meridian.toml", MAIN);
        write("city.mmdb", "not text: \u{0}");
        write("zones/z.toml", ZONE);
        write("zones/z.zone", RECORDS);
        write("zones/more.zone", "ns1 60 A 192.0.2.53\n");
    }

    fn rules(outcome: &Outcome) -> Vec<&'static str> {
        outcome.diagnostics.iter().map(|d| d.rule).collect()
    }

    fn good(directory: &Path) -> Loaded {
        let outcome = load(&directory.join("meridian.toml"));
        assert_eq!(
            rules(&outcome),
            Vec::<&str>::new(),
            "{:?}",
            outcome.diagnostics
        );
        outcome.loaded.unwrap()
    }

    fn save(state: &Path, loaded: &Loaded) -> io::Result<()> {
        save_last_good(state, loaded.inputs.config(), loaded.inputs.files())
    }

    fn copies(state: &Path) -> Result<Outcome, LastGoodError> {
        load_last_good(state).map(|kept| load_copies(&kept.config, kept.files))
    }

    #[test]
    fn a_secret_is_copied_nowhere_and_its_loss_stops_no_start_from_last_good_files() {
        use crate::model::{HeaderText, Secret};
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::TempDir::new().unwrap();
        let (root, state) = (directory.path(), directory.path().join("state"));
        files(root);
        let check = "[checks.web]\ntype = \"http\"\nheaders = { Authorization = { file = \"token\", prefix = \"Bearer \" } }\n";
        fs::write(root.join("meridian.toml"), [MAIN, check].concat()).unwrap();
        let value = |outcome: &Outcome| {
            let secrets = outcome.loaded.as_ref().unwrap().config.checks[0]
                .kind
                .secrets()
                .cloned();
            secrets
                .map(|secret: Secret| secret.value)
                .collect::<Vec<_>>()
        };
        fs::write(root.join("token"), "s3cret-one\r\n").unwrap();
        let first = load(&root.join("meridian.toml"));
        assert_eq!(value(&first), [Some("s3cret-one".to_owned())]);
        let shown = format!(
            "{:?} {:?}",
            first.loaded.as_ref().unwrap().config.checks,
            first.sources
        );
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(
            matches!(first.loaded.as_ref().unwrap().config.checks[0].kind, crate::model::CheckKind::Http(ref http)
            if matches!(http.headers[0].1, HeaderText::Secret(_)))
        );

        save(&state, first.loaded.as_ref().unwrap()).unwrap();
        let mut count = 0;
        for entry in fs::read_dir(state.join("last-good/files")).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
            assert!(
                !String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("s3cret"),
                "{}",
                path.display()
            );
            count += 1;
        }
        assert_eq!(count, 5);

        fs::write(root.join("token"), "s3cret-two").unwrap();
        assert_eq!(
            value(&load(&root.join("meridian.toml"))),
            [Some("s3cret-two".to_owned())],
            "read again"
        );
        fs::write(root.join("token"), "two\nlines").unwrap();
        let bad = load(&root.join("meridian.toml"));
        assert!(bad.loaded.is_none());
        let said = crate::diag::render_text(&bad.diagnostics, &bad.sources, false);
        assert!(
            said.contains("more than one line") && !said.contains("two\nlines"),
            "{said}"
        );
        fs::remove_file(root.join("token")).unwrap();
        let kept = copies(&state).unwrap();
        assert_eq!(value(&kept), [None]);
        assert!(
            kept.diagnostics.iter().any(|d| d.rule == "secret-not-read")
                && !kept.diagnostics.has_errors()
        );
    }

    #[test]
    fn last_good_files_stand_in_for_broken_ones() {
        let directory = tempfile::tempdir().unwrap();
        let (root, state) = (directory.path(), directory.path().join("state"));
        files(root);
        assert!(matches!(copies(&state), Err(LastGoodError::None)));
        let loaded = good(root);
        assert_eq!(loaded.inputs.files().count(), 5);
        save(&state, &loaded).unwrap();

        fs::write(root.join("meridian.toml"), "[server\nstate = 1").unwrap();
        fs::remove_dir_all(root.join("zones")).unwrap();
        fs::remove_file(root.join("city.mmdb")).unwrap();
        assert!(load(&root.join("meridian.toml")).loaded.is_none());
        let kept = copies(&state).unwrap();
        assert_eq!(rules(&kept), Vec::<&str>::new(), "{:?}", kept.diagnostics);
        assert_eq!(
            kept.city.as_ref().unwrap().bytes.as_slice(),
            b"not text: \0"
        );
        let kept = kept.loaded.unwrap();
        assert_eq!(kept.config.zones.len(), 1);
        assert_eq!(
            kept.config.zones[0].records.len(),
            loaded.config.zones[0].records.len()
        );
        assert_eq!(
            *kept.config.zones[0].at.file,
            *root.join("zones/z.toml").display().to_string()
        );
    }

    #[test]
    fn a_save_replaces_the_last_one_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (root, state) = (directory.path(), directory.path().join("state"));
        files(root);
        save(&state, &good(root)).unwrap();
        fs::write(root.join("zones/more.zone"), "ns1 60 A 192.0.2.54\n").unwrap();
        fs::write(state.join("last-good/files/.new-cut-short"), "half").unwrap();
        save(&state, &good(root)).unwrap();
        assert_eq!(
            fs::read_dir(state.join("last-good/files")).unwrap().count(),
            5
        );
        let kept = copies(&state).unwrap();
        assert!(
            kept.sources
                .values()
                .any(|text| text.contains("192.0.2.54"))
        );
        // Saving what was loaded from the copies changes nothing.
        save(&state, &kept.loaded.unwrap()).unwrap();
        assert!(copies(&state).unwrap().loaded.is_some());
    }

    #[test]
    fn damaged_copies_are_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let (root, state) = (directory.path(), directory.path().join("state"));
        files(root);
        let manifest = state.join("last-good/manifest.json");
        let refusal = || match copies(&state) {
            Err(LastGoodError::None) => panic!("they were kept"),
            Err(why) => why.to_string(),
            other => panic!("{other:?}"),
        };
        let inputs = good(root);
        save(&state, &inputs).unwrap();
        let text = fs::read_to_string(&manifest).unwrap();
        for (bad, expected) in [
            (text[..text.len() / 2].to_owned(), "is damaged"),
            (String::new(), "is damaged"),
            ("{}".to_owned(), "is damaged"),
            (
                text.replacen("\"format\": 1", "\"format\": 9", 1),
                "has format 9",
            ),
            (
                text.replacen("\"sha256\": \"", "\"sha256\": \"../", 1),
                "the checksum of",
            ),
        ] {
            fs::write(&manifest, bad).unwrap();
            assert!(refusal().contains(expected), "{}", refusal());
        }
        fs::write(&manifest, &text).unwrap();
        for copy in fs::read_dir(state.join("last-good/files")).unwrap() {
            fs::write(copy.unwrap().path(), "other").unwrap();
        }
        assert!(refusal().contains("is damaged"));
        // The next save mends the copies.
        save(&state, &inputs).unwrap();
        assert!(copies(&state).unwrap().loaded.is_some());
        fs::remove_dir_all(state.join("last-good/files")).unwrap();
        assert!(refusal().contains("is gone"));
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        files(directory.path());
        let state = directory.path().join("state");
        fs::write(&state, "a file").unwrap();
        assert!(save(&state, &good(directory.path())).is_err());
    }
}
