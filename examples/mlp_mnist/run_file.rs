//! The file of a run: the optimizer's checkpoint with the parameters and, as user data in it, what the trainer has to know
//! besides. One file, so that no kill comes between two.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use miadam::{Checkpoint, NewFile};
use miadam_support::mnist::network::Score;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::args::EPOCHS;

/// The trainer's user data.
const ENTRY: &str = "mlp_mnist";
const VERSION: u32 = 1;

/// Flags by name, with their values as text. Those that were not given have their defaults, or are not there if they have
/// none.
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
    pub flags: Flags,
    /// The sums of the epoch under way, as [`Passed`](crate::trainer::Passed) has them.
    pub totals: Vec<Score>,
    /// The time spent on the epoch under way.
    pub seconds: f64,
}

#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
}

impl RunFile {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub fn path(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// An error about the file.
    pub fn error(&self, reason: &str, remedy: &str) -> Box<dyn Error> {
        format!("--checkpoint {}: {reason}; {remedy}", self.path()).into()
    }

    /// An error about what is in it.
    pub fn refuse(&self, reason: &str) -> Box<dyn Error> {
        self.error(reason, "name a file that a run of mlp_mnist has saved")
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
        let probe = NewFile::create(&self.path).map(drop);
        probe.map_err(|error| self.error(&error.to_string(), "name a file in a folder that can be written"))
    }

    /// What the file holds, if a run has saved it.
    pub fn read(&self) -> Result<Saved, Box<dyn Error>> {
        let refuse = |reason: &str| self.refuse(reason);
        if let Err(error) = fs::metadata(&self.path) {
            return Err(self.error(&error.to_string(), "name a file that is there, or drop --resume to begin a run"));
        }
        let mut checkpoint = Checkpoint::open(&self.path).map_err(|error| match error {
            miadam::Error::CheckpointFile { .. } => self.failed(error),
            error => refuse(&error.to_string()),
        })?;
        // The rest is the optimizer's, whoever has saved it.
        let json = checkpoint.user_data_mut().remove(ENTRY).or_else(|| self.older_entry());
        let json = json.ok_or_else(|| refuse("it holds no run"))?;
        let entry: Entry = serde_json::from_str(&json).map_err(|error| refuse(&format!("`{ENTRY}`: {error}")))?;
        if entry.version != VERSION {
            let reason = format!("it has version {} and not {VERSION}", entry.version);
            return Err(self.error(&reason, "resume it with the version of mlp_mnist that saved it"));
        }
        let totals = entry.totals.into_iter().map(|bits| {
            let [loss, accuracy] = bits.map(f64::from_bits);
            Score { loss, accuracy }
        });
        Ok(Saved { checkpoint, flags: entry.flags, totals: totals.collect(), seconds: entry.seconds })
    }

    /// Where the version before had its entry: in the metadata of the file, beside the optimizer's.
    fn older_entry(&self) -> Option<String> {
        let bytes = fs::read(&self.path).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        header.metadata().as_ref()?.get(ENTRY).cloned()
    }

    /// Killed at any moment, the file is the old or the new one.
    pub fn write(&self, saved: Saved) -> Result<(), Box<dyn Error>> {
        let bits = |total: &Score| [total.loss.to_bits(), total.accuracy.to_bits()];
        let totals = saved.totals.iter().map(bits).collect();
        let entry = Entry { version: VERSION, flags: saved.flags, seconds: saved.seconds, totals };
        let mut checkpoint = saved.checkpoint;
        checkpoint.user_data_mut().insert(ENTRY.to_owned(), serde_json::to_string(&entry)?);
        checkpoint.save(&self.path).map_err(|error| self.failed(error))
    }

    /// The optimizer's own error, by the flag's name.
    fn failed(&self, error: miadam::Error) -> Box<dyn Error> {
        let reason = match error {
            miadam::Error::CheckpointFile { reason, .. } => reason,
            error => error.to_string(),
        };
        format!("--checkpoint {}: {reason}", self.path()).into()
    }
}

/// The first flag in which the two differ though it may not, and what to do about it.
pub fn difference(saved: &Flags, now: &Flags) -> Option<String> {
    let names: BTreeSet<_> = saved.keys().chain(now.keys()).filter(|&name| name != EPOCHS).collect();
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
        let longer = flags(&[(EPOCHS, "9"), ("--lr", "0.1"), ("--skip-non-finite", "")]);
        assert_eq!((difference(&saved, &longer), difference(&longer, &saved)), (None, None));
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
