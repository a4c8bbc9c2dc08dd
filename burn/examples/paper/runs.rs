//! All runs of a table, one after the other.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use miadam_support::command_line::{say, wrapped};
use serde::{Deserialize, Serialize};

use crate::device;
use crate::paper::args::{Flags, Recipe};
use crate::paper::checkpoint::{Checkpoint, Progress};
use crate::paper::results::{Name, Results, replace};
use crate::paper::table;
use crate::paper::task::Task;
use crate::paper::train::Run;

const RUNS: &str = "runs.csv";
const SETTINGS: &str = "settings.json";

/// The runs in a folder.
pub struct Runs {
    pub flags: Flags,
    out: PathBuf,
    results: Results,
    checkpoint: Checkpoint,
    pub device: Device,
}

/// What must not change between two parts of a run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    recipe: Recipe,
    smoke: bool,
    /// What else the command's numbers depend on.
    task: String,
}

impl Runs {
    /// Opens the output folder and the device, and says what is to come. `task` is what the numbers depend on, beside the flags
    /// that all commands share.
    pub fn open(flags: Flags, task: String) -> Result<Self, Box<dyn Error>> {
        if flags.smoke {
            say("This is a smoke run: made-up samples, a step or two. Its numbers mean nothing.")?;
        }
        let out = match (&flags.out, flags.smoke) {
            (Some(out), _) => out.clone(),
            // Nobody wants to keep it.
            (None, true) => std::env::temp_dir().join(format!("miadam-smoke-{}", std::process::id())),
            (None, false) => return Err("--out is needed: name a folder for the runs".into()),
        };
        let settings = Settings { recipe: flags.recipe.clone(), smoke: flags.smoke, task };
        let results = if flags.resume { resume(&out, &settings)? } else { begin(&out, &settings)? };
        let (device, name) = device::open(flags.device)?;
        say(&wrapped(&format!("device: {name}; runs in {}", out.display())))?;
        Ok(Self { flags, checkpoint: Checkpoint::new(&out), out, results, device })
    }

    /// Every optimizer and every seed on one task. What is done already is not done again.
    pub fn each<T: Task>(&mut self, task: &T) -> Result<(), Box<dyn Error>> {
        let flags = self.flags.clone();
        for optimizer in flags.optimizer {
            for seed in (0..flags.repeats).map(|repeat| flags.seed.wrapping_add(repeat)) {
                let [data, model] = task.names().map(str::to_owned);
                self.run(task, &Name { data, model, optimizer, seed })?;
            }
        }
        Ok(())
    }

    fn run<T: Task>(&mut self, task: &T, name: &Name) -> Result<(), Box<dyn Error>> {
        let epochs = self.flags.recipe.epochs;
        if self.results.rows(name).len() >= epochs {
            return Ok(());
        }
        let title = format!("{}, {}, {}, seed {}", name.data, name.model, name.optimizer.name(), name.seed);
        let mut run = Run::new(task, &self.flags.recipe, name.optimizer, name.seed, &self.device)?;
        let saved = self.checkpoint.progress()?.filter(|saved| saved.name == *name);
        let mut rows = match saved {
            Some(saved) => {
                self.checkpoint.load(&mut run)?;
                say(&wrapped(&format!("{title}: goes on after epoch {}", saved.rows.len())))?;
                saved.rows
            }
            None => Vec::new(),
        };
        while rows.len() < epochs {
            let (next, row) = run.epoch(rows.len() + 1)?;
            run = next;
            say(&wrapped(&format!(
                "{title}: epoch {}: training loss {:.4}, test accuracy {:.2} %, {:.1} s",
                row.epoch, row.train_loss, row.test_accuracy, row.seconds
            )))?;
            rows.push(row);
            let progress = Progress { name: name.clone(), rows };
            self.checkpoint.save(&mut run, &progress).map_err(|error| {
                format!("--out {}: {error}; choose a folder with room that you may write to", self.out.display())
            })?;
            rows = progress.rows;
            *self.results.rows(name) = rows.clone();
            self.results.save()?;
        }
        self.checkpoint.clear()
    }

    /// Writes table and pictures.
    pub fn finish(&self) -> Result<(), Box<dyn Error>> {
        table::write(&self.results, &self.out)?;
        if self.flags.smoke && self.flags.out.is_none() {
            fs::remove_dir_all(&self.out)?;
        }
        Ok(())
    }
}

fn begin(out: &Path, settings: &Settings) -> Result<Results, Box<dyn Error>> {
    let file = out.join(RUNS);
    if file.exists() {
        return Err(
            format!("--out {}: there are runs in it; add --resume, or choose another folder", out.display()).into()
        );
    }
    fs::create_dir_all(out)
        .map_err(|error| format!("--out {}: {error}; choose a folder that you may write to", out.display()))?;
    replace(&out.join(SETTINGS), &serde_json::to_vec_pretty(settings)?)?;
    Ok(Results::create(file)?)
}

fn resume(out: &Path, settings: &Settings) -> Result<Results, Box<dyn Error>> {
    let results = Results::open(out.join(RUNS))?;
    let file = out.join(SETTINGS);
    let saved = fs::read(&file).map_err(Into::into).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    let saved: Result<Settings, Box<dyn Error>> = saved;
    let saved = saved.map_err(|error| format!("{}: {error}; begin in another folder", file.display()))?;
    if saved != *settings {
        return Err(format!(
            "--resume: the runs in {} have other settings, which {} has; give the same flags, or choose another folder",
            out.display(),
            file.display()
        )
        .into());
    }
    Ok(results)
}
