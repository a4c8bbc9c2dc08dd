//! The file of a run: the optimizer's checkpoint with the parameters and, as one more entry of its metadata, what the
//! trainer has to know besides. One file, so that no kill comes between two.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use miadam::Checkpoint;
use miadam_support::mnist::network::Score;
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

/// The metadata entry of the trainer, beside the optimizer's own.
const ENTRY: &str = "mlp_mnist";
const VERSION: u32 = 1;

/// Flags by name, with their values as text; those that were not given and have no default are not there.
pub type Flags = BTreeMap<String, String>;

/// What the optimizer does not know. It knows how far the run has come, by its steps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: u32,
    flags: Flags,
    /// The time spent on the epoch under way.
    seconds: f64,
    /// The sums of losses and correct answers in the epoch under way, as bits: they need not be finite.
    totals: Vec<[u64; 2]>,
}

/// What a run goes on from.
#[derive(Debug)]
pub struct Saved {
    pub checkpoint: Checkpoint,
    /// The sums of the epoch under way, as [`Passed`](crate::trainer::Passed) has them.
    pub totals: Vec<Score>,
    /// The time spent on the epoch under way.
    pub seconds: f64,
}

#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
    flags: Flags,
}

impl RunFile {
    pub fn new(path: &Path, flags: Flags) -> Self {
        Self { path: path.to_owned(), flags }
    }

    pub fn path(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// An error about the file.
    pub fn error(&self, reason: &str, remedy: &str) -> Box<dyn Error> {
        format!("--checkpoint {}: {reason}; {remedy}", self.path()).into()
    }

    /// A run that begins overwrites no other.
    pub fn check_vacant(&self) -> Result<(), Box<dyn Error>> {
        match fs::metadata(&self.path) {
            Ok(file) if file.is_dir() || file.len() > 0 => {
                Err(self.error("it exists", "add --resume to go on from it, or name a new file"))
            }
            _ => Ok(()),
        }
    }

    /// Checked at once, since otherwise the run would find out after its first epoch.
    pub fn check_writable(&self) -> Result<(), Box<dyn Error>> {
        let temporary = self.temporary();
        let probe = File::create(&temporary).and_then(|_| fs::remove_file(&temporary));
        probe.map_err(|error| self.error(&error.to_string(), "name a file in a folder that can be written"))
    }

    /// What the file holds, if a run with the same flags has saved it.
    pub fn read(&self) -> Result<Saved, Box<dyn Error>> {
        let bytes = fs::read(&self.path).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "drop --resume to begin a run",
                _ => "name a file that can be read",
            };
            self.error(&error.to_string(), remedy)
        })?;
        let refuse = |reason: &str| self.error(reason, "name a file that a run of mlp_mnist has saved");
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| refuse(&error.to_string()))?;
        let json = header.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
        let json = json.ok_or_else(|| refuse("it holds no run"))?;
        let entry: Entry = serde_json::from_str(json).map_err(|error| refuse(&format!("`{ENTRY}`: {error}")))?;
        if entry.version != VERSION {
            let reason = format!("it has version {} and not {VERSION}", entry.version);
            return Err(self.error(&reason, "resume it with the version of mlp_mnist that saved it"));
        }
        if let Some(difference) = difference(&entry.flags, &self.flags) {
            return Err(difference.into());
        }
        let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|error| refuse(&error.to_string()))?;
        let totals = entry.totals.into_iter().map(|bits| {
            let [loss, accuracy] = bits.map(f64::from_bits);
            Score { loss, accuracy }
        });
        Ok(Saved { checkpoint, totals: totals.collect(), seconds: entry.seconds })
    }

    /// Killed at any moment, the file is the old or the new one.
    pub fn write(&self, saved: &Saved) -> Result<(), Box<dyn Error>> {
        let bits = |total: &Score| [total.loss.to_bits(), total.accuracy.to_bits()];
        let totals = saved.totals.iter().map(bits).collect();
        let entry = Entry { version: VERSION, flags: self.flags.clone(), seconds: saved.seconds, totals };
        let bytes = saved.checkpoint.to_bytes()?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let mut entries = header.metadata().clone().unwrap_or_default();
        entries.insert(ENTRY.to_owned(), serde_json::to_string(&entry)?);
        let bytes = serialize(SafeTensors::deserialize(&bytes)?.tensors(), Some(entries))?;
        self.replace(&bytes).map_err(|error| {
            // Nothing is left behind.
            let _ = fs::remove_file(self.temporary());
            self.error(&error.to_string(), "make room, or make its folder writable")
        })
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.temporary();
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)
    }

    /// The name is always the same, so that the next process overwrites what a killed one leaves.
    fn temporary(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        self.path.with_file_name(name)
    }
}

/// The first flag in which the two differ, and what to do about it.
fn difference(saved: &Flags, now: &Flags) -> Option<String> {
    let names: BTreeSet<_> = saved.keys().chain(now.keys()).collect();
    let name = names.into_iter().find(|&name| saved.get(name) != now.get(name))?;
    let value = |flags: &Flags| match flags.get(name).map(String::as_str) {
        None => "not given".to_owned(),
        Some("") => "given".to_owned(),
        Some(value) => value.to_owned(),
    };
    let (saved, now) = (value(saved), value(now));
    Some(format!("{name}: {saved} when the run was saved and {now} now; make it the same, or begin a new run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_the_flag() {
        let flags = |pairs: &[(&str, &str)]| -> Flags {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let saved = flags(&[("--lr", "0.1"), ("--skip-non-finite", "")]);
        assert_eq!(difference(&saved, &saved), None);
        for (now, text) in [
            (flags(&[("--lr", "0.2"), ("--skip-non-finite", "")]), "--lr: 0.1 when the run was saved and 0.2 now"),
            (flags(&[("--lr", "0.1")]), "--skip-non-finite: given when the run was saved and not given now"),
            (
                flags(&[("--clip-norm", "1"), ("--lr", "0.1"), ("--skip-non-finite", "")]),
                "--clip-norm: not given when the run was saved and 1 now",
            ),
        ] {
            let message = difference(&saved, &now).unwrap();
            assert!(message.starts_with(text) && message.contains("; make it the same"), "{message}");
        }
    }
}
