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
    device: Device,
    /// Epochs that are still to be done now.
    left: usize,
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
        let left = flags.stop_after.unwrap_or(usize::MAX);
        Ok(Self { flags, checkpoint: Checkpoint::new(&out), out, results, device, left })
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
        if self.left == 0 || self.results.rows(name).len() >= epochs {
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
            if self.left == 0 {
                return Ok(());
            }
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
            self.left -= 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::results::Row;
    use crate::paper::task::{Part, seeded};
    use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
    use burn::prelude::*;
    use clap::Parser;
    use miadam_support::mnist::random::Random;

    /// Points of the plane in two classes, with all that a run has to save: running statistics, dropout, augmentation.
    struct Points {
        labels: Vec<usize>,
    }

    #[derive(Module, Debug)]
    struct Net {
        norm: BatchNorm,
        inner: Linear,
        dropout: Dropout,
        outer: Linear,
    }

    impl Task for Points {
        type Model = Net;
        type Inputs = Vec<f32>;

        fn names(&self) -> [&str; 2] {
            ["points", "net"]
        }

        fn classes(&self) -> usize {
            2
        }

        fn labels(&self, _: Part) -> &[usize] {
            &self.labels
        }

        fn model(&self, device: &Device) -> Result<Net, String> {
            let (inner, outer) = (LinearConfig::new(2, 8).init(device), LinearConfig::new(8, 2).init(device));
            let dropout = DropoutConfig::new(0.3).init();
            Ok(Net { norm: BatchNormConfig::new(2).init(device), inner, dropout, outer })
        }

        fn inputs(&self, _: Part, samples: &[usize], mut random: Option<&mut Random>) -> Result<Vec<f32>, String> {
            let mut point = |sample: usize| {
                let noise = random.as_mut().map_or(0.0, |random| random.symmetric(0.1));
                [self.labels[sample] as f32 + noise, (sample % 5) as f32]
            };
            Ok(samples.iter().flat_map(|sample| point(*sample)).collect())
        }

        fn scores(&self, model: &Net, inputs: Vec<f32>, device: &Device) -> Tensor<2> {
            let len = inputs.len() / 2;
            let points = model.norm.forward(Tensor::<2>::from_data(TensorData::new(inputs, [len, 2]), device));
            model.outer.forward(model.dropout.forward(model.inner.forward(points).tanh()))
        }
    }

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(out: &Path, more: &[&str]) -> Flags {
        let common = ["program", "--device=cpu", "--repeats=2", "--optimizer=adam,miadam1,swats", "--out"];
        let words = common.into_iter().chain(out.to_str()).chain(["--epochs=4", "--switch-epoch=2", "--batch-size=8"]);
        Command::parse_from(words.chain(more.iter().copied())).flags
    }

    fn points() -> Points {
        Points { labels: (0..30).map(|sample| sample % 2).collect() }
    }

    fn without_times(runs: &Runs) -> Vec<(Name, Vec<Row>)> {
        let mut all = runs.results.runs.clone();
        all.iter_mut().flat_map(|(_, rows)| rows).for_each(|row| row.seconds = 0.0);
        all
    }

    #[test]
    fn a_run_that_was_cut_off_goes_on_with_the_same_numbers() {
        let _seeded = seeded(&Device::flex());
        let [whole, cut] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut runs = Runs::open(flags(whole.path(), &[]), "points".to_owned()).unwrap();
        runs.each(&points()).unwrap();
        let whole = without_times(&runs);
        assert_eq!(whole.len(), 6);
        assert!(whole.iter().all(|(_, rows)| rows.len() == 4));
        assert_ne!(whole[0].1, whole[1].1, "the seed makes no difference");

        // The process ends after each epoch.
        let mut parts = Runs::open(flags(cut.path(), &["--stop-after=1"]), "points".to_owned()).unwrap();
        for _ in 0..6 * 4 {
            parts.each(&points()).unwrap();
            parts = Runs::open(flags(cut.path(), &["--resume", "--stop-after=1"]), "points".to_owned()).unwrap();
        }
        assert_eq!(without_times(&parts), whole);
        parts.finish().unwrap();
        assert!(cut.path().join("table.md").exists() && cut.path().join("points-net.svg").exists());
        assert!(!cut.path().join("checkpoint").exists());
    }

    #[test]
    fn other_settings_are_refused() {
        let out = tempfile::tempdir().unwrap();
        let refused =
            |more: &[&str]| Runs::open(flags(out.path(), more), "points".to_owned()).err().unwrap().to_string();
        assert!(refused(&["--resume"]).contains("leave out --resume"), "{}", refused(&["--resume"]));
        Runs::open(flags(out.path(), &[]), "points".to_owned()).unwrap();
        assert!(refused(&[]).contains("there are runs in it; add --resume"), "{}", refused(&[]));
        let other = refused(&["--resume", "--lr=0.1"]);
        assert!(other.contains("have other settings, which ") && other.contains("settings.json has"), "{other}");
    }
}
