//! The folder that results are written to.

use std::fs;
use std::path::{Path, PathBuf};

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("--out {}: {reason}; choose a folder that can be written", path.display())]
pub struct FolderError {
    path: PathBuf,
    reason: String,
}

/// A folder that exists and can be written.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, and finds out before the work whether it can be written.
    ///
    /// # Errors
    /// If it cannot.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        let probe = path.join(".probe");
        let tried =
            fs::create_dir_all(path).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe));
        tried.map_err(|error| FolderError { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self(path.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, name: &str, contents: &str) -> Result<(), FolderError> {
        let path = self.0.join(name);
        fs::write(&path, contents).map_err(|error| FolderError { path, reason: error.to_string() })
    }
}
