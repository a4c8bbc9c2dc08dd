//! What a run goes on from: the optimizer's checkpoint with the parameters in it and, as user data, the little that it does not
//! know. Every report makes one, in memory for a lost device and, under --checkpoint, in a file for another process.

use std::fs;
use std::path::Path;

use miadam::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::device::Result;

/// The name of the user data.
const ENTRY: &str = "engine";

/// What the bits of a run depend on beside its optimizer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub seed: u64,
    pub freeze_after: u32,
    pub batch_size: usize,
}

pub fn insert(checkpoint: &mut Checkpoint, settings: &Settings) -> Result<()> {
    checkpoint.user_data_mut().insert(ENTRY.to_owned(), serde_json::to_string(settings)?);
    Ok(())
}

/// What the flags say a run begins with: a checkpoint, or nothing.
pub fn open(args: &Args) -> Result<(Settings, Option<Checkpoint>)> {
    let &Args { seed, freeze_after, batch_size, .. } = args;
    let settings = Settings { seed, freeze_after, batch_size };
    match &args.checkpoint {
        Some(path) if args.resume => {
            let (settings, checkpoint) = read(path)?;
            Ok((settings, Some(checkpoint)))
        }
        // A run that begins overwrites no other.
        Some(path) if fs::metadata(path).is_ok() => {
            Err(failed(path, "it exists", "add --resume to go on from it, or name a new file"))
        }
        _ => Ok((settings, None)),
    }
}

fn read(path: &Path) -> Result<(Settings, Checkpoint)> {
    let checkpoint = Checkpoint::open(path)?;
    let entry = checkpoint.user_data().get(ENTRY).and_then(|json| serde_json::from_str(json).ok());
    let remedy = "name a file that a run of engine has saved";
    Ok((entry.ok_or_else(|| failed(path, "it holds no run", remedy))?, checkpoint))
}

fn failed(path: &Path, reason: &str, remedy: &str) -> Box<dyn std::error::Error> {
    format!("--checkpoint {}: {reason}; {remedy}", path.display()).into()
}
