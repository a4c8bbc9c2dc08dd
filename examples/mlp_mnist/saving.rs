//! The flags of checkpoints.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use miadam_support::command_line::number;

use crate::run_file::{RunFile, Saved};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Checkpoints")]
pub struct Saving {
    /// Save the run to this file, which must be new or empty unless --resume is given. Ctrl-C then ends the run after the
    /// step under way, saved and with exit code 0; a second Ctrl-C ends it at once, with 130
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Save after every N epochs; the last is saved anyway
    #[arg(long, value_name = "N", default_value_t = 1, requires = "checkpoint", value_parser = number(1..=u32::MAX))]
    pub save_every: u32,
    /// Go on from the file of --checkpoint, with the metrics of a run that was never stopped. Flags that are not given are as
    /// in the saved run, but for --data, which is given again. Those that are given must be the same, but for --device,
    /// --adapter, --metrics, --save-every and --epochs. With more epochs, --switch-epoch and --schedule stay as they were
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
}

impl Saving {
    /// The file of the run, if there is to be one, and what it holds, if the run goes on from there.
    pub fn open(&self) -> Result<(Option<RunFile>, Option<Saved>), Box<dyn Error>> {
        let Some(path) = &self.checkpoint else { return Ok((None, None)) };
        let file = RunFile::new(path);
        let saved = if self.resume { Some(file.read()?) } else { None };
        if saved.is_none() {
            file.check_vacant()?;
        }
        file.check_writable()?;
        Ok((Some(file), saved))
    }

    /// Whether to save after this epoch, counted from 1, of so many.
    pub fn is_due(&self, epoch: u32, epochs: u32) -> bool {
        epoch.is_multiple_of(self.save_every) || epoch == epochs
    }
}
