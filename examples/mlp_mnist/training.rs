//! A run from its flags to its last epoch.

use std::error::Error;
use std::io::{self, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use miadam_support::command_line::wrapped;
use miadam_support::gpu::GpuError;
use miadam_support::mnist::data::Data;
use miadam_support::mnist::network::{CLASSES, INPUTS, Weights};
use miadam_support::mnist::random::Random;

use crate::args::Args;
use crate::cpu::CpuTrainer;
use crate::curves::Curves;
use crate::gpu::GpuTrainer;
use crate::metrics::{Epoch, Metrics, StepNumbers};
use crate::recipe::Recipe;
use crate::run_file::{Flags, RunFile, Saved, difference};
use crate::trainer::{Passed, Trainer};

/// Trains as the flags say, and tells `out`. Under --checkpoint, `is_stopped` is asked after every step or few.
pub fn run(args: &Args, out: &mut dyn Write, is_stopped: &dyn Fn() -> bool) -> Result<(), Box<dyn Error>> {
    let trained = Training::new(args, out).and_then(|training| training.run(out, is_stopped));
    trained.map_err(|error| match error.downcast::<GpuError>() {
        Ok(error) => format!("{error}; lower --hidden or --batch-size, or use --device cpu").into(),
        Err(error) => error,
    })
}

/// How far a run has come.
#[derive(Default)]
struct Position {
    /// Epochs done.
    epochs: u32,
    /// How far the epoch under way has come.
    passed: Passed,
    /// The time spent on it.
    seconds: f64,
}

struct Training {
    args: Args,
    /// What the run is saved with.
    flags: Flags,
    trainer: Box<dyn Trainer>,
    recipe: Recipe,
    samples: usize,
    device: String,
    file: Option<RunFile>,
    metrics: Option<Metrics>,
    curves: Curves,
    position: Position,
}

impl Training {
    /// A run before its first epoch, or where it was saved.
    fn new(args: &Args, out: &mut dyn Write) -> Result<Self, Box<dyn Error>> {
        let (file, saved) = args.saving.open()?;
        let args = match (&file, &saved) {
            (Some(file), Some(saved)) => args.resumed(&saved.flags).map_err(|reason| file.refuse(&reason))?,
            _ => args.clone(),
        };
        args.validate()?;
        let mut data = args.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
        let flags = args.flags(&data);
        if let Some(difference) = saved.as_ref().and_then(|saved| difference(&saved.flags, &flags)) {
            return Err(difference.into());
        }
        data.train.add_label_noise(args.label_noise, &mut Random::new(args.seed, 0));
        let samples = data.train.len();
        let recipe = args.recipe(samples)?;
        args.warn_of_schedule(&recipe.hyperparams);
        let weights = Weights::random(args.hidden, &mut Random::new(args.seed, 2));
        let metrics = args.metrics.as_deref().map(|path| Metrics::open(path, saved.is_some())).transpose()?;

        let (gpu, fallback) = args.device.open(&args.adapter)?;
        let device = gpu.as_ref().map_or_else(|| "CPU".to_owned(), |gpu| gpu.name.clone());
        say(out, &format!("device: {device}{fallback}"))?;
        say(out, &task(&args, samples, data.test.len()))?;
        let trainer: Box<dyn Trainer> = match gpu {
            Some(gpu) => Box::new(GpuTrainer::new(gpu, &data, &weights, recipe.clone())?),
            None => Box::new(CpuTrainer::new(data, weights, recipe.clone())?),
        };
        let position = Position::default();
        let mut training =
            Self { args, flags, trainer, recipe, samples, device, file, metrics, curves: Curves::default(), position };
        if let Some(saved) = saved {
            training.resume(saved, out)?;
        }
        // Last, so that a run that may not start leaves the metrics of another as they are.
        if let Some(metrics) = &mut training.metrics {
            metrics.begin(training.position.epochs)?;
        }
        Ok(training)
    }

    /// Goes on from where the run was saved: the optimizer's steps tell where that is.
    fn resume(&mut self, saved: Saved, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut groups = saved.checkpoint.groups();
        if !groups.all(|(hyperparams, _)| *hyperparams == self.recipe.hyperparams) {
            return Err(file.refuse("its hyperparameters do not follow from its flags"));
        }
        self.trainer.load(&saved.checkpoint).map_err(|error| file.refuse(&error.to_string()))?;
        let report = self.trainer.report()?;
        let (recorded, steps) = (u64::from(report.step) + u64::from(report.skipped), self.recipe.steps(self.samples));
        let (epochs, left) = (recorded / steps as u64, (recorded % steps as u64) as usize);
        let needed = epochs + u64::from(left > 0);
        if needed > u64::from(self.args.epochs) {
            let epochs = self.args.epochs;
            return Err(
                format!("--epochs {epochs}: the saved run is in epoch {needed}; choose {needed} or more").into()
            );
        }
        let passed = Passed { batches: left * self.recipe.accumulate, totals: saved.totals };
        self.position = Position { epochs: epochs as u32, passed, seconds: saved.seconds };
        Ok(say(out, &format!("resumed {}", self.whereabouts()))?)
    }

    /// Runs all epochs that are left, and reports each when it is done.
    fn run(mut self, out: &mut dyn Write, is_stopped: &dyn Fn() -> bool) -> Result<(), Box<dyn Error>> {
        // Each epoch's order is made from the one before.
        let mut order: Vec<u32> = (0..self.samples as u32).collect();
        let mut random = Random::new(self.args.seed, 1);
        for _ in 0..self.position.epochs {
            random.shuffle(&mut order);
        }
        let bar = self.progress_bar();
        let (mut accuracy, mut told) = (None, String::new());
        while self.position.epochs < self.args.epochs {
            random.shuffle(&mut order);
            let Position { passed, seconds, .. } = &mut self.position;
            let start = Instant::now();
            self.trainer.train(&order, passed, &mut |samples| {
                bar.inc(samples as u64);
                self.file.is_none() || !is_stopped()
            })?;
            *seconds += start.elapsed().as_secs_f64();
            let is_whole = passed.batches == self.recipe.batches(self.samples);
            let report = if is_whole { Some(self.end_epoch()?) } else { None };
            // This comes before the run is saved, since a resumed run removes a line too many, and cannot add one.
            if let (Some(metrics), Some(report)) = (&mut self.metrics, &report) {
                metrics.write(report)?;
            }
            let epochs = self.position.epochs;
            let stops = !is_whole || self.file.is_some() && is_stopped() && epochs < self.args.epochs;
            if stops || is_whole && self.args.saving.is_due(epochs, self.args.epochs) {
                self.save()?;
            }
            // Ctrl-C may have ended the reader of stdout, too: by now that does no harm.
            if let Some(report) = &report {
                self.curves.add(report);
                accuracy = Some(report.test_accuracy);
                // What has not changed since the last epoch is not told again.
                let step = format!("  {}", report.step);
                let is_news = step != told;
                bar.suspend(|| {
                    say(out, &report.to_string())?;
                    if is_news { say(out, &step) } else { Ok(()) }
                })?;
                told = step;
            }
            if stops {
                bar.finish_and_clear();
                let whereabouts = self.whereabouts();
                say(out, &format!("stopped and saved {whereabouts}; go on with the same flags and --resume"))?;
                return Ok(());
            }
        }
        bar.finish_and_clear();
        if let Some(file) = &self.args.plot {
            self.curves.draw(file)?;
        }
        let accuracy = accuracy.map_or_else(|| Ok(self.trainer.test()?.accuracy), Ok::<_, Box<dyn Error>>)?;
        Ok(say(out, &format!("test accuracy: {:.2} %", 100.0 * accuracy))?)
    }

    /// Tests, and puts the run before the next epoch.
    fn end_epoch(&mut self) -> Result<Epoch, Box<dyn Error>> {
        let Position { epochs, passed, seconds } = std::mem::take(&mut self.position);
        self.position.epochs = epochs + 1;
        let (train, test) = (passed.score(self.samples), self.trainer.test()?);
        Ok(Epoch {
            epoch: self.position.epochs,
            train_loss: train.loss,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            seconds,
            device: self.device.clone(),
            step: StepNumbers::new(&self.trainer.report()?, &self.recipe.grad_options),
        })
    }

    fn save(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(file) = &self.file else { return Ok(()) };
        let Position { passed, seconds, .. } = &self.position;
        let checkpoint = self.trainer.checkpoint()?;
        let (flags, totals) = (self.flags.clone(), passed.totals.clone());
        file.write(Saved { checkpoint, flags, totals, seconds: *seconds })
    }

    /// Where the run is, and its file.
    fn whereabouts(&self) -> String {
        let Position { epochs, passed, .. } = &self.position;
        let path = self.file.as_ref().map(|file| file.path().to_string()).unwrap_or_default();
        match passed.batches {
            0 => format!("after epoch {epochs}: {path}"),
            done => {
                let batches = self.recipe.batches(self.samples);
                format!("in epoch {}, after {done} of {batches} batches: {path}", epochs + 1)
            }
        }
    }

    /// A bar on stderr, which shows only if that is a terminal.
    fn progress_bar(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {eta} left").expect("a valid template");
        let (all, Position { epochs, passed, .. }) = (self.samples as u64, &self.position);
        let done = u64::from(*epochs) * all + (passed.batches * self.recipe.batch_size) as u64;
        ProgressBar::new(u64::from(self.args.epochs) * all).with_style(style).with_position(done)
    }
}

/// What is trained on what.
fn task(args: &Args, train: usize, test: usize) -> String {
    let Args { hidden, order, label_noise, .. } = args;
    let optimizer = if *order == 0 { "Adam".to_owned() } else { format!("MIAdam{order}") };
    let noise =
        if *label_noise > 0.0 { format!(", {:.0} % of them wrong", 100.0 * label_noise) } else { String::new() };
    let digits = if args.data.is_some() { "MNIST" } else { "the digits compiled in" };
    format!(
        "task: {INPUTS}-{hidden}-{CLASSES} network, {optimizer}; {digits}: {train} labels to train on{noise}, {test} to test on"
    )
}

/// A line for people, in lines that fit their terminal.
fn say(out: &mut dyn Write, line: &str) -> io::Result<()> {
    writeln!(out, "{}", wrapped(line))
}
