//! The flags.

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use miadam::{Hyperparams, StepScale};
use miadam_support::adapter::AdapterFlags;
use miadam_support::mnist::data::Data;

use crate::options::{Options, ScheduleKind, Type, check};
use crate::recipe::Recipe;
use crate::run_file::Flags;
use crate::saving::Saving;

/// Train a small network on handwritten digits with MIAdam.
#[derive(Debug, Parser)]
#[command(version, after_help = "With RUST_LOG=info, stderr tells when training goes on as plain Adam.")]
pub struct Args {
    /// Where to train: `auto` is a hardware GPU if there is one, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceKind::Auto)]
    pub device: DeviceKind,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Passes over the training digits
    #[arg(long, default_value_t = 12)]
    pub epochs: u32,
    /// Digits in a batch
    #[arg(long, default_value_t = 128)]
    pub batch_size: usize,
    /// Units in the hidden layer
    #[arg(long, default_value_t = 256)]
    pub hidden: usize,
    /// Learning rate α
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,
    /// Number of integrals n; 0 is Adam
    #[arg(long, default_value_t = 1)]
    pub order: u32,
    /// Discount κ of the integrals, from 0 to 1
    #[arg(long, default_value_t = 0.5)]
    pub kappa: f64,
    /// Epochs after which training goes on as plain Adam [default: four fifths of the epochs]
    #[arg(long, value_name = "EPOCHS")]
    pub switch_epoch: Option<u32>,
    /// How the learning rate scales the step while the integrals are in use
    #[arg(long, value_enum, default_value_t = Scale::Paper)]
    pub step_scale: Scale,
    /// Fraction of the training labels to replace by a random other class
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub label_noise: f64,
    /// Seed of the initial weights, the batches and the label noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write one JSON object per epoch to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    // Last, for their headings are those of all flags below.
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub saving: Saving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    Auto,
    Gpu,
    Cpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// αⁿ: the paper's Algorithm 1
    Paper,
    /// αⁿ⁺¹: the authors' released code
    Reference,
    /// α·(1-κ)ⁿ: Adam's step size for any order
    UnitGain,
}

impl Args {
    /// Refuses what is wrong whatever the data and the device.
    pub fn validate(&self) -> Result<(), Box<dyn Error>> {
        let ranges = [
            // The upper bounds keep buffers and step counts inside what any device can hold.
            ("--epochs", f64::from(self.epochs), 1.0, 100_000.0),
            ("--batch-size", self.batch_size as f64, 1.0, 8192.0),
            ("--hidden", self.hidden as f64, 1.0, 8192.0),
            ("--lr", self.lr, 0.0, 1e3),
            ("--order", f64::from(self.order), 0.0, 64.0),
            ("--kappa", self.kappa, 0.0, 1.0),
            ("--label-noise", self.label_noise, 0.0, 1.0),
        ];
        for (flag, value, low, high) in ranges {
            check(flag, Some(value), low, high, &format!("a value from {low} to {high}"))?;
        }
        if self.adapter.adapter.is_some() && self.device == DeviceKind::Cpu {
            return Err("--adapter names a GPU, but --device is cpu; drop one of the two".into());
        }
        self.saving.validate()?;
        self.options.validate()
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

    /// The flags that decide on a run's metrics.
    pub fn flags(&self, data: &Data) -> Flags {
        let Self { options, .. } = self;
        let given = |flag: bool| flag.then(String::new);
        let number = |value: Option<f64>| value.map(|value| value.to_string());
        let digits = format!("{} and {} digits of sum {:08x}", data.train.len(), data.test.len(), data.sum());
        let mut schedule = name(&options.schedule);
        if options.schedule != ScheduleKind::Constant {
            // The learning rates follow from the length of the run.
            schedule += &format!(" over --epochs {}", self.epochs);
        }
        let flags = [
            ("--data", Some(digits)),
            ("--batch-size", Some(self.batch_size.to_string())),
            ("--hidden", Some(self.hidden.to_string())),
            ("--lr", Some(self.lr.to_string())),
            ("--order", Some(self.order.to_string())),
            ("--kappa", Some(self.kappa.to_string())),
            ("--switch-epoch", Some(self.switch_epoch().to_string())),
            ("--step-scale", Some(name(&self.step_scale))),
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
        ];
        flags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    fn switch_epoch(&self) -> u32 {
        self.switch_epoch.unwrap_or((self.epochs * 4 / 5).max(1))
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
        };
        let schedule = self.options.schedule(u64::from(self.epochs) * steps_per_epoch as u64)?;
        let half_params = self.options.half_params(self.seed);
        let &Self { lr, order, kappa, .. } = self;
        let hyperparams =
            Hyperparams { lr, schedule, order, kappa, switch_step, step_scale, half_params, ..Hyperparams::default() };
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
