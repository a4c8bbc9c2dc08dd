//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Writes `contents` so that `path` holds either what it held before or all of them, whenever the power fails: to a file
/// beside it, which then takes its name.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let temporary = temporary(path);
    let failed = |error: io::Error| {
        // The old file is as it was, and nothing is left behind.
        let _ = fs::remove_file(&temporary);
        Error::CheckpointFile { operation: "write", path: path.to_owned(), reason: error.to_string() }
    };
    let write = || {
        // Beforehand, since nothing must fail once the file has its name.
        let folder = open_folder(path)?;
        let mut file = File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // Makes the name durable. A file system that cannot do that has done all it can.
        let _ = folder.map(|folder| folder.sync_all());
        Ok(())
    };
    write().map_err(failed)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::CheckpointFile {
        operation: "read",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Always the same name, so that what a killed process leaves is overwritten by the next.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// The folder, to be synced. Windows has no handle of a folder for that, and does not need it.
#[cfg(unix)]
fn open_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).map(Some)
}

#[cfg(not(unix))]
fn open_folder(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}
