//! What has been done, one JSON object a line, in a file that a later call goes on from.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::measure::Flatness;
use super::plan::Measured;
use crate::training::{Outcome, Run};

/// What decides on a record: the run, what it is measured on, and the check sum of the digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub run: Run,
    pub measured: Measured,
    pub digits: u32,
    pub with_density: bool,
}

/// A network, trained and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    pub outcome: Outcome,
    pub flatness: Flatness,
}

/// The file, and what was in it.
pub struct Journal {
    done: Vec<Record>,
    file: Mutex<File>,
    path: PathBuf,
}

impl Journal {
    /// The journal of a folder, which is made if it is not there. A last line that was cut short is dropped.
    pub fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let refuse =
            |error: std::io::Error| format!("--out {}: {error}; choose a folder to write to", folder.display());
        fs::create_dir_all(folder).map_err(refuse)?;
        let path = folder.join("journal.jsonl");
        let mut text = if path.exists() { fs::read_to_string(&path).map_err(refuse)? } else { String::new() };
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let read =
            |line| serde_json::from_str(line).map_err(|error| format!("{}: {error}; remove the file", path.display()));
        let done = text.lines().map(read).collect::<Result<_, _>>()?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).map_err(refuse)?;
        file.write_all(text.as_bytes()).map_err(refuse)?;
        Ok(Self { done, file: Mutex::new(file), path })
    }

    pub fn find(&self, key: &Key) -> Option<&Record> {
        self.done.iter().find(|record| record.key == *key)
    }

    /// Keeps a record for a later call.
    pub fn write(&self, record: &Record) -> Result<(), String> {
        let line = serde_json::to_string(record).map_err(|error| error.to_string())? + "\n";
        let mut file = self.file.lock().map_err(|_| "another thread failed")?;
        file.write_all(line.as_bytes()).map_err(|error| format!("{}: {error}; make room for it", self.path.display()))
    }
}
