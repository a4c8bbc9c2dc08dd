//! The file of a run: the optimizer's checkpoint with the parameters and, as one more entry of its metadata, what the
//! trainer has to know besides. One file, so that no kill comes between two.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use miadam::Checkpoint;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::network::Score;
use crate::saving::{Flags, difference};
use crate::tensor_file::rewrite;

/// The metadata entry of the trainer, beside the optimizer's own.
const ENTRY: &str = "mlp_mnist";
const OPTIMIZER: &str = "miadam";
const VERSION: u32 = 1;

/// What the optimizer does not know. How far the run has come it does know: by its steps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trainer {
    version: u32,
    flags: Flags,
    /// Spent on the epoch under way.
    seconds: f64,
    /// The sums of losses and correct answers in the epoch under way, as bits: they need not be finite.
    totals: Vec<[u64; 2]>,
}

/// What a run goes on from.
#[derive(Debug)]
pub struct Saved {
    pub checkpoint: Checkpoint,
    /// As in [`Passed`](crate::network::Passed).
    pub totals: Vec<Score>,
    /// Spent on the epoch under way.
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

    /// Otherwise the run would find out after its first epoch.
    pub fn check_writable(&self) -> Result<(), Box<dyn Error>> {
        let temporary = self.temporary();
        let probe = File::create(&temporary).and_then(|_| fs::remove_file(&temporary));
        probe.map_err(|error| self.error(&error.to_string(), "name a file in a folder that can be written"))
    }

    /// What the file holds, if it is of a run with the same flags.
    pub fn read(&self) -> Result<Saved, Box<dyn Error>> {
        let bytes = fs::read(&self.path).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "drop --resume to begin a run",
                _ => "name a file that can be read",
            };
            self.error(&error.to_string(), remedy)
        })?;
        let refuse = |reason: &str| self.error(reason, "name a file that a run of mlp_mnist has saved");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| refuse(&error.to_string()))?;
        let mut entries = metadata.metadata().clone().unwrap_or_default();
        let Some(json) = entries.remove(ENTRY) else { return Err(refuse("it holds no run")) };
        let trainer: Trainer = serde_json::from_str(&json).map_err(|error| refuse(&format!("`{ENTRY}`: {error}")))?;
        if trainer.version != VERSION {
            let reason = format!("it has version {} and not {VERSION}", trainer.version);
            return Err(self.error(&reason, "resume it with the version of mlp_mnist that saved it"));
        }
        if let Some(difference) = difference(&trainer.flags, &self.flags) {
            return Err(difference.into());
        }
        let checkpoint = rewrite(&bytes, entries, |_, _, values| values.to_vec())
            .and_then(|bytes| Ok(Checkpoint::from_bytes(&bytes)?))
            .map_err(|error| refuse(&error.to_string()))?;
        let totals = trainer.totals.into_iter().map(|bits| {
            let [loss, accuracy] = bits.map(f64::from_bits);
            Score { loss, accuracy }
        });
        Ok(Saved { checkpoint, totals: totals.collect(), seconds: trainer.seconds })
    }

    /// Killed at any moment, the file is the old or the new one.
    pub fn write(&self, saved: &Saved) -> Result<(), Box<dyn Error>> {
        let bits = |total: &Score| [total.loss.to_bits(), total.accuracy.to_bits()];
        let trainer = Trainer {
            version: VERSION,
            flags: self.flags.clone(),
            seconds: saved.seconds,
            totals: saved.totals.iter().map(bits).collect(),
        };
        let bytes = saved.checkpoint.to_bytes()?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
        let own = metadata.metadata().as_ref().and_then(|entries| entries.get(OPTIMIZER)).cloned();
        let entries = HashMap::from([
            (OPTIMIZER.to_owned(), own.unwrap_or_default()),
            (ENTRY.to_owned(), serde_json::to_string(&trainer)?),
        ]);
        let bytes = rewrite(&bytes, entries, |_, _, values| values.to_vec())?;
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

    /// Always the same name, so that what a killed process leaves is overwritten by the next.
    fn temporary(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        self.path.with_file_name(name)
    }
}
