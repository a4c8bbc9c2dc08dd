//! Checkpoints as bytes and as files.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, ErrorKind, Read};
use std::path::Path;

use super::contents::Checkpoint;
use super::entries::{PART, malformed};
use super::reading::read;
use super::writing::Outgoing;
use crate::error::Error;
use crate::file::NewFile;

impl Checkpoint {
    /// The contents of a file.
    ///
    /// # Errors
    /// If [`from_bytes`](Self::from_bytes) would refuse them, such as for a header of more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let outgoing = Outgoing::new(self)?;
        let mut bytes = Vec::with_capacity(outgoing.len());
        outgoing.write(&mut bytes).map_err(malformed)?;
        Ok(bytes)
    }

    /// Reads the contents of a file, and trusts nothing in them.
    ///
    /// # Errors
    /// If they are no checkpoint of version 1 or 2, or an entry is missing, unknown, out of range or of the wrong shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        read(&mut Cursor::new(bytes), bytes.len() as u64, malformed).map_err(with_remedy)
    }

    /// Writes a file: whole or not at all, and durably. Killed at any moment, the file at `path` is the old or the new one.
    /// The state is not copied in memory.
    ///
    /// The file is written beside `path` first, with a name of its own. Two writers at once do no harm: the last one wins. A
    /// link is followed, and a file that is replaced keeps its mode. What is no regular file, such as a FIFO, is written
    /// straight into. What a killed process leaves, `.miadam-*.tmp`, another `save` in the same folder removes an hour later,
    /// on Unix.
    ///
    /// # Errors
    /// If the file cannot be written, or [`open`](Self::open) would refuse it. What was there before is still there then, and
    /// nothing else. Always in a browser, which has no files: [`to_bytes`](Self::to_bytes) takes its place.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let outgoing = Outgoing::new(self)?;
        let write = || {
            let mut out = BufWriter::with_capacity(PART, NewFile::create(path)?);
            outgoing.write(&mut out)?;
            out.into_inner().map_err(|error| error.into_error())?.finish()
        };
        write().map_err(|error: io::Error| {
            let remedy = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => "make room",
                _ => "name a file in a folder that exists and can be written",
            };
            failed("write", path, &error, remedy)
        })
    }

    /// Reads a file. It is read tensor by tensor, so that this takes no more memory than what it returns. What is no regular
    /// file, such as a FIFO, is read whole first.
    ///
    /// # Errors
    /// If it cannot be read, and as for [`from_bytes`](Self::from_bytes).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |error: io::Error| {
            let remedy = match error.kind() {
                ErrorKind::OutOfMemory => "free memory",
                _ => "name a file that can be read",
            };
            failed("read", path, &error, remedy)
        };
        let mut file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        // Files of the system itself may have a length that nobody knows before.
        if !found.is_file() || found.len() == 0 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(failed)?;
            return Self::from_bytes(&bytes);
        }
        read(&mut file, found.len(), failed).map_err(with_remedy)
    }
}

fn failed(operation: &'static str, path: &Path, error: &io::Error, remedy: &str) -> Error {
    Error::CheckpointFile { operation, path: path.to_owned(), reason: format!("{error}; {remedy}") }
}

/// What to do about an entry that no checkpoint has like this.
fn with_remedy(error: Error) -> Error {
    match error {
        Error::CheckpointEntry { entry, reason } => {
            Error::CheckpointEntry { entry, reason: format!("{reason}; use a file written by `Checkpoint::save`") }
        }
        other => other,
    }
}
