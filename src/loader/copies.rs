//! Copies of files that were good once, in place of those on the disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Content, InputFile, Outcome, is_zone_file, load_from};
use crate::config::{Source, Unreadable};
use crate::model::SecretPlace;

/// Loads `config` and everything it leads to out of `files`, each by its original path; diagnostics
/// name them by it.
pub fn load_copies(config: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> Outcome {
    let mut copies = Copies::default();
    for (path, bytes) in files {
        copies.order.push(path.clone());
        copies.files.insert(path, Arc::new(bytes));
    }
    load_from(&mut copies, config, |copies| copies.inputs())
}

/// The files, by their original paths.
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
        let mut inputs = Vec::with_capacity(self.order.len());
        for path in &self.order {
            let content = match self.texts.get(path) {
                Some(text) => Content::Text(text.clone()),
                None => Content::Binary(self.files[path].clone()),
            };
            inputs.push(InputFile {
                path: path.clone(),
                content,
            });
        }
        inputs
    }
}

impl Source for Copies {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        if let Some(text) = self.texts.get(path) {
            return Ok(text.clone());
        }
        // Only what the configuration takes as text is decoded: a database stays as it is.
        let text = super::reading::text(path, self.bytes(path)?.to_vec())?;
        let text: Arc<str> = text.into();
        self.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory) && is_zone_file(path);
        let mut files: Vec<PathBuf> = self.order.iter().filter(inside).cloned().collect();
        // As the disk lists them, so that ids come out alike.
        files.sort();
        Ok(files)
    }

    fn database(&mut self, path: &Path) -> Result<(), Unreadable> {
        self.bytes(path).map(|_| ())
    }

    fn host_name(&mut self) -> String {
        super::node::host_name()
    }

    /// Reads a secret from its own place, since no copy of it is made. One that cannot be read is no
    /// reason to serve nothing.
    fn secret(&mut self, place: &SecretPlace) -> Result<Option<String>, Unreadable> {
        Ok(super::secret::secret(place).unwrap_or_default())
    }

    /// Reads the token file from its own place likewise: whoever was withdrawn from it is not let in
    /// again by a copy.
    fn tokens(&mut self, place: &SecretPlace) -> Result<Option<(PathBuf, Arc<str>)>, Unreadable> {
        Ok(super::secret::tokens(place).unwrap_or_default())
    }
}
