//! The flags.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use miadam::{Hyperparams, StepScale, WeightDecay};
use miadam_support::adapter::AdapterFlags;
use miadam_support::command_line::{number, objection, parse_over};
use miadam_support::device_kind::DeviceKind;
use miadam_support::mnist::data::Data;

use crate::options::{Options, ScheduleKind, Type};
use crate::recipe::Recipe;
use crate::run_file::Flags;
use crate::saving::Saving;

/// Train a small network on handwritten digits with MIAdam.
#[derive(Debug, Clone, Parser)]
#[command(version, after_help = "With RUST_LOG=info, stderr tells when training goes on as plain Adam.")]
pub struct Args {
    /// The device to train on: `auto` is a hardware GPU if there is one, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceKind::Auto)]
    pub device: DeviceKind,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Passes over the training digits
    // The upper bounds of these keep buffers and step counts inside what any device can hold.
    #[arg(long, default_value_t = 12, value_parser = number(1..=100_000_u32))]
    pub epochs: u32,
    /// Digits in a batch
    #[arg(long, default_value_t = 128, value_parser = number(1..=8192_usize))]
    pub batch_size: usize,
    /// Units in the hidden layer
    #[arg(long, default_value_t = 256, value_parser = number(1..=8192_usize))]
    pub hidden: usize,
    /// Learning rate α
    #[arg(long, default_value_t = 1e-3, value_parser = number(0.0..=1e3))]
    pub lr: f64,
    /// Number of integrals n; 0 is Adam
    #[arg(long, default_value_t = 1, value_parser = number(0..=64_u32))]
    pub order: u32,
    /// Discount κ of the integrals, from 0 to 1
    #[arg(long, default_value_t = 0.5, value_parser = number(0.0..=1.0))]
    pub kappa: f64,
    /// Epochs after which training goes on as plain Adam [default: four fifths of the epochs]
    #[arg(long, value_name = "EPOCHS", value_parser = number(0..=u32::MAX))]
    pub switch_epoch: Option<u32>,
    /// How the learning rate scales the step while the integrals are in use
    #[arg(long, value_enum, default_value_t = Scale::Paper)]
    pub step_scale: Scale,
    /// Decay rate β1 of the first moment
    #[arg(long, default_value_t = BETA1, value_parser = number(0.0..=0.9999))]
    pub beta1: f64,
    /// Decay rate β2 of the second moment
    #[arg(long, default_value_t = BETA2, value_parser = number(0.0..=0.999_999))]
    pub beta2: f64,
    /// λ of coupled weight decay (L2), as in the paper
    #[arg(long, value_name = "LAMBDA", default_value_t = 0.0, value_parser = number(0.0..=1e3))]
    pub weight_decay: f64,
    /// Fraction of the training labels to replace by a random other class
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = number(0.0..=1.0))]
    pub label_noise: f64,
    /// Seed of the initial weights, the batches and the label noise
    #[arg(long, default_value_t = 0, value_parser = number(0..=u64::MAX))]
    pub seed: u64,
    /// Write one JSON object per epoch to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Draw loss and accuracy over the epochs of this run into this SVG file; a resumed run begins where it goes on
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    // Last, for their headings are those of all flags below.
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub saving: Saving,
    /// The command line itself, which a resumed run reads again.
    #[arg(skip = env::args_os().collect::<Vec<_>>())]
    pub words: Vec<OsString>,
    /// The epochs that the schedule was made for, where that is not --epochs.
    #[arg(skip)]
    schedule_epochs: Option<u32>,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;

/// The one flag of a saved run that may change.
pub const EPOCHS: &str = "--epochs";

/// Between the name of a saved schedule and the epochs that it was made for.
const OVER: &str = " over --epochs ";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// αⁿ: the paper's Algorithm 1
    Paper,
    /// αⁿ⁺¹: the authors' released code
    Reference,
    /// α·(1-κ)ⁿ: Adam's step size for any order, once the integrals have settled
    UnitGain,
    /// α over the integrals' gain so far: Adam's step size from the first step on
    #[value(alias = "exact_gain")]
    ExactGain,
}

impl Args {
    /// Refuses what is wrong whatever the data and the device.
    pub fn validate(&self) -> Result<(), Box<dyn Error>> {
        if self.adapter.adapter.is_some() && self.device == DeviceKind::Cpu {
            return Err("--adapter names a GPU, but --device is cpu; drop one of the two".into());
        }
        if self.metrics.is_some() && self.metrics == self.saving.checkpoint {
            return Err("--metrics and --checkpoint name the same file; give each its own".into());
        }
        if self.plot.is_some() && (self.plot == self.metrics || self.plot == self.saving.checkpoint) {
            return Err("--plot names the file of --metrics or --checkpoint; give each its own".into());
        }
        if let Some(folder) = self.plot.as_deref().and_then(Path::parent)
            && !folder.as_os_str().is_empty()
            && !folder.is_dir()
        {
            // Found now, not after the training.
            return Err(format!("--plot: there is no folder {}; name one that is there", folder.display()).into());
        }
        self.options.validate()
    }

    /// The same flags in a run that goes on: what is not given is as in the saved run, defaults that followed from others
    /// included.
    pub fn resumed(&self, saved: &Flags) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut schedule_epochs = None;
        for (name, _) in self.own_flags() {
            let Some(value) = saved.get(name) else { continue };
            let value = match value.split_once(OVER).filter(|_| name == "--schedule") {
                Some((kind, epochs)) => {
                    schedule_epochs = Some(epochs.parse().map_err(|error| format!("{name} {value}: {error}"))?);
                    // Older runs say it only here.
                    if !saved.contains_key(EPOCHS) {
                        words.push(format!("{EPOCHS}={epochs}").into());
                    }
                    kind
                }
                None => value,
            };
            words.push(if value.is_empty() { name.into() } else { format!("{name}={value}").into() });
        }
        let args: Self = parse_over(words, &self.words).map_err(|error| objection(&error))?;
        Ok(Self { words: self.words.clone(), schedule_epochs, ..args })
    }

    /// Warns of a run that goes on longer than its schedule.
    pub fn warn_of_schedule(&self, hyperparams: &Hyperparams) {
        let epochs = self.schedule_epochs();
        if self.options.schedule.ends() && self.epochs > epochs {
            let (schedule, lr) = (name(&self.options.schedule), hyperparams.lr_at(u32::MAX));
            log::warn!(
                "--schedule {schedule} ends with epoch {epochs}; later epochs keep its last learning rate, {lr:e}"
            );
        }
    }

    /// How to train on so many samples.
    pub fn recipe(&self, samples: usize) -> Result<Recipe, Box<dyn Error>> {
        let batch_size = self.batch_size.min(samples);
        let accumulate = self.options.accumulate as usize;
        let (dtype, grad_options) = (self.options.dtype(), self.options.grad_options());
        let mut recipe = Recipe { dtype, accumulate, grad_options, ..Recipe::new(Hyperparams::default(), batch_size) };
        recipe.hyperparams = self.hyperparams(recipe.steps(samples))?;
        Ok(recipe)
    }

    /// What a run is saved with: the flags that decide on its metrics, and the digits.
    pub fn flags(&self, data: &Data) -> Flags {
        let digits = format!("{} and {} digits of sum {:08x}", data.train.len(), data.test.len(), data.sum());
        let flags = self.own_flags().into_iter().chain([("--data", Some(digits))]);
        flags.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// The flags that decide on a run's metrics, but for the digits, with all defaults resolved.
    fn own_flags(&self) -> [(&'static str, Option<String>); 21] {
        let Self { options, .. } = self;
        let given = |flag: bool| flag.then(String::new);
        let number = |value: Option<f64>| value.map(|value| value.to_string());
        let unlike = |value: f64, default: f64| number((value != default).then_some(value));
        let mut schedule = name(&options.schedule);
        if options.schedule != ScheduleKind::Constant {
            // The learning rates follow from the length of the run.
            schedule += &format!("{OVER}{}", self.schedule_epochs());
        }
        [
            (EPOCHS, Some(self.epochs.to_string())),
            ("--batch-size", Some(self.batch_size.to_string())),
            ("--hidden", Some(self.hidden.to_string())),
            ("--lr", Some(self.lr.to_string())),
            ("--order", Some(self.order.to_string())),
            ("--kappa", Some(self.kappa.to_string())),
            ("--switch-epoch", Some(self.switch_epoch().to_string())),
            ("--step-scale", Some(name(&self.step_scale))),
            // Older runs were saved without these, at their defaults.
            ("--beta1", unlike(self.beta1, BETA1)),
            ("--beta2", unlike(self.beta2, BETA2)),
            ("--weight-decay", unlike(self.weight_decay, 0.0)),
            ("--label-noise", Some(self.label_noise.to_string())),
            ("--seed", Some(self.seed.to_string())),
            ("--clip-norm", number(options.clip_norm)),
            ("--clip-value", number(options.clip_value)),
            ("--accumulate", Some(options.accumulate.to_string())),
            ("--loss-scale", number(options.loss_scale)),
            ("--skip-non-finite", given(options.skip_non_finite)),
            ("--schedule", Some(schedule)),
            ("--dtype", (options.dtype != Type::F32).then(|| name(&options.dtype))),
            ("--stochastic-rounding", given(options.stochastic_rounding)),
        ]
    }

    fn switch_epoch(&self) -> u32 {
        self.switch_epoch.unwrap_or((self.epochs * 4 / 5).max(1))
    }

    fn schedule_epochs(&self) -> u32 {
        self.schedule_epochs.unwrap_or(self.epochs)
    }

    /// The optimizer's settings for epochs of so many steps.
    fn hyperparams(&self, steps_per_epoch: usize) -> Result<Hyperparams, Box<dyn Error>> {
        let switch_epoch = self.switch_epoch();
        let switch_step = u64::from(switch_epoch) * steps_per_epoch as u64 + 1;
        let switch_step = u32::try_from(switch_step)
            .map_err(|_| format!("--switch-epoch {switch_epoch} is more than 2^32 steps away; choose a smaller one"))?;
        let step_scale = match self.step_scale {
            Scale::Paper => StepScale::Paper,
            Scale::Reference => StepScale::Reference,
            Scale::UnitGain => StepScale::UnitGain,
            Scale::ExactGain => StepScale::ExactGain,
        };
        let schedule = self.options.schedule(u64::from(self.schedule_epochs()) * steps_per_epoch as u64)?;
        let half_params = self.options.half_params(self.seed);
        let &Self { lr, order, kappa, beta1, beta2, .. } = self;
        let weight_decay =
            if self.weight_decay > 0.0 { WeightDecay::Coupled(self.weight_decay) } else { WeightDecay::None };
        let hyperparams = Hyperparams {
            lr,
            schedule,
            beta1,
            beta2,
            order,
            kappa,
            switch_step,
            step_scale,
            weight_decay,
            half_params,
            ..Hyperparams::default()
        };
        hyperparams
            .validate(0)
            .map_err(|error| format!("--lr, --order, --kappa, --step-scale or --schedule: {error}"))?;
        Ok(hyperparams)
    }
}

/// The value as it stands on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
