//! Copies of the files of the last good dataset, so that broken files at a start take nothing down.
//!
//! ```text
//! STATE/last-good/manifest.json     which file, under which path, has which content
//! STATE/last-good/files/SHA-256     the contents, one file each (`sha256sum` verifies them)
//! ```
//! Contents are written first, the manifest takes the place of the old one in one rename, and what
//! no manifest names is removed last: whenever power fails, one complete set is there. A content
//! that is there already is not written again.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::{Content, InputFile, Inputs, Outcome, is_zone_file, load_from};
use crate::config::{Source, Unreadable};
use crate::model::SecretPlace;

/// The layout of the directory; a higher one is of a later version.
const FORMAT: u32 = 1;

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
    /// Where the content came from.
    path: PathBuf,
    /// SHA-256 of the content in hexadecimal: its name in `files/`.
    sha256: String,
    bytes: u64,
}

/// Why there are no last good files to serve.
#[derive(Debug)]
pub enum LastGoodError {
    /// None were ever kept in this state directory.
    None,
    /// They cannot be used: a sentence says why.
    Unusable(String),
}

impl fmt::Display for LastGoodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LastGoodError::None => f.write_str("no last good files are kept"),
            LastGoodError::Unusable(why) => write!(f, "the last good files cannot be used: {why}"),
        }
    }
}

impl std::error::Error for LastGoodError {}

/// Keeps `inputs` in `state` in place of what was kept before. An error leaves the old ones whole.
pub fn save(state: &Path, inputs: &Inputs) -> io::Result<()> {
    let directory = state.join("last-good");
    let contents = directory.join("files");
    super::make_directory(&contents)?;
    let mut files = Vec::with_capacity(inputs.files.len());
    for file in &inputs.files {
        let bytes = file.content.bytes();
        let sha256 = sha256(bytes);
        keep(&contents, &sha256, bytes)?;
        files.push(ManifestFile {
            path: file.path.clone(),
            sha256,
            bytes: bytes.len() as u64,
        });
    }
    sync_directory(&contents)?;
    let meridian = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest {
        format: FORMAT,
        meridian,
        config: inputs.config.clone(),
        files,
    };
    write_manifest(&directory, &manifest)?;
    remove_others(&contents, &manifest)
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    write_atomically(directory, "manifest.json", &text)
}

/// Keeps `databases` in `state` in place of what was kept of the files of the same paths; the others stay.
///
/// # Errors
/// Also where nothing is kept yet, or what is kept is no good: then there is nothing to put them beside.
pub fn save_databases(state: &Path, databases: &Inputs) -> io::Result<()> {
    let directory = state.join("last-good");
    let contents = directory.join("files");
    let mut manifest =
        read_manifest(&fs::read(directory.join("manifest.json"))?).map_err(io::Error::other)?;
    for file in &databases.files {
        let bytes = file.content.bytes();
        let sha256 = sha256(bytes);
        keep(&contents, &sha256, bytes)?;
        manifest.files.retain(|kept| kept.path != file.path);
        manifest.files.push(ManifestFile {
            path: file.path.clone(),
            sha256,
            bytes: bytes.len() as u64,
        });
    }
    sync_directory(&contents)?;
    write_manifest(&directory, &manifest)?;
    remove_others(&contents, &manifest)
}

/// Loads the last good files kept in `state`; diagnostics name them by their original paths.
pub fn load_last_good(state: &Path) -> Result<Outcome, LastGoodError> {
    let directory = state.join("last-good");
    let unusable = |why: String| LastGoodError::Unusable(why);
    let path = directory.join("manifest.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(LastGoodError::None),
        Err(error) => return Err(unusable(format!("{}: {error}", path.display()))),
    };
    let manifest =
        read_manifest(&text).map_err(|why| unusable(format!("{} {why}", path.display())))?;
    let mut copies = Copies::default();
    for file in manifest.files {
        let path = directory.join("files").join(&file.sha256);
        let bytes = fs::read(&path).map_err(|error| {
            unusable(format!(
                "the copy of {} is gone ({}: {error})",
                file.path.display(),
                path.display()
            ))
        })?;
        if sha256(&bytes) != file.sha256 {
            return Err(unusable(format!(
                "the copy of {} is damaged ({})",
                file.path.display(),
                path.display()
            )));
        }
        copies.order.push(file.path.clone());
        copies.files.insert(file.path, Arc::new(bytes));
    }
    Ok(load_from(&mut copies, &manifest.config, |copies| {
        copies.inputs()
    }))
}

fn read_manifest(text: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
        meridian: String,
    }
    let damaged = |error: serde_json::Error| format!("is damaged: {error}");
    let version: Version = serde_json::from_slice(text).map_err(damaged)?;
    if version.format != FORMAT {
        let Version { format, meridian } = version;
        return Err(format!(
            "has format {format}, written by Meridian {meridian}; this version reads format {FORMAT}"
        ));
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(damaged)?;
    // The names lead to files: nothing but a checksum may stand there.
    match manifest
        .files
        .iter()
        .find(|f| f.sha256.len() != 64 || !f.sha256.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        Some(file) => Err(format!(
            "is damaged: the checksum of {} is none",
            file.path.display()
        )),
        None => Ok(manifest),
    }
}

/// The kept files, by their original paths.
#[derive(Default)]
struct Copies {
    files: HashMap<PathBuf, Arc<Vec<u8>>>,
    order: Vec<PathBuf>,
    texts: HashMap<PathBuf, Arc<str>>,
}

impl Copies {
    fn bytes(&self, path: &Path) -> Result<&Arc<Vec<u8>>, Unreadable> {
        self.files.get(path).ok_or_else(|| Unreadable {
            rule: "missing-file",
            message: format!("{} is not among the last good files", path.display()),
            hint: None,
            position: None,
        })
    }

    fn inputs(&self) -> Vec<InputFile> {
        let content = |path: &PathBuf| match self.texts.get(path) {
            Some(text) => Content::Text(text.clone()),
            None => Content::Binary(self.files[path].clone()),
        };
        self.order
            .iter()
            .map(|path| InputFile {
                path: path.clone(),
                content: content(path),
            })
            .collect()
    }
}

impl Source for Copies {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        if let Some(text) = self.texts.get(path) {
            return Ok(text.clone());
        }
        let text = super::disk::text(path, self.bytes(path)?.to_vec())?;
        let text: Arc<str> = text.into();
        self.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory) && is_zone_file(path);
        let mut files: Vec<PathBuf> = self.order.iter().filter(inside).cloned().collect();
        files.sort();
        Ok(files)
    }

    fn database(&mut self, path: &Path) -> Result<(), Unreadable> {
        self.bytes(path).map(|_| ())
    }

    fn host_name(&mut self) -> String {
        super::node::host_name()
    }

    /// No copy is made of secrets: they are where they were, or not to be had, which is no reason to serve nothing.
    fn secret(&mut self, place: &SecretPlace) -> Result<Option<String>, Unreadable> {
        Ok(super::disk::secret(place).unwrap_or_default())
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Writes a content unless it is there, whole, already.
fn keep(contents: &Path, sha256: &str, bytes: &[u8]) -> io::Result<()> {
    match fs::read(contents.join(sha256)) {
        Ok(kept) if kept == bytes => Ok(()),
        _ => write_atomically(contents, sha256, bytes),
    }
}

/// How the names of files begin that are being written: what a write cut short leaves behind.
pub const UNFINISHED: &str = ".new-";

/// Puts a file in place whole or not at all: written aside, synced, renamed, and the directory synced.
pub fn write_atomically(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name))
        .map_err(|error| error.error)?;
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
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
