//! The flags that the three commands share. Their defaults are the paper's for CIFAR; the other commands set their own.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use miadam_burn::miadam::StepScale;
use miadam_support::command_line::number;
use miadam_support::device_kind::DeviceKind;
use serde::{Deserialize, Serialize};

use crate::paper::optimizer::Kind;

// No doc comment: clap would put it in place of what the program says of itself.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    #[command(flatten)]
    pub recipe: Recipe,
    /// Optimizers, with commas between [default: those of the paper's table, and the controls for MIAdam]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub optimizer: Vec<Kind>,
    /// Runs of each optimizer, each with a seed of its own
    #[arg(long, default_value_t = 3, value_parser = number(1..=1000_u64))]
    pub repeats: u64,
    /// Seed of the first run: weights, wrong labels, batches, augmentation and dropout follow from it
    #[arg(long, default_value_t = 1, value_parser = number(0..=u64::MAX))]
    pub seed: u64,
    /// The device to train on: `auto` is a hardware GPU if there is one, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceKind::Auto)]
    pub device: DeviceKind,
    /// Folder for the table, the CSV file, the pictures and the checkpoint
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the runs in --out
    #[arg(long)]
    pub resume: bool,
    /// Stop after so many epochs of all runs together; --resume goes on later
    #[arg(long, value_name = "EPOCHS", value_parser = number(1..=1_000_000_usize))]
    pub stop_after: Option<usize>,
    /// Train on a few made-up samples for a step or two, to see that it works. The numbers mean nothing
    #[arg(long)]
    pub smoke: bool,
}

/// The settings of a run. Its numbers follow from these, the model, the data, the optimizer and the seed.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
pub struct Recipe {
    /// Passes over the training set
    #[arg(long, default_value_t = 150, value_parser = number(1..=100_000_usize))]
    pub epochs: usize,
    /// Samples in a batch
    #[arg(long, default_value_t = 128, value_parser = number(1..=65_536_usize))]
    pub batch_size: usize,
    /// Learning rate α
    #[arg(long, default_value_t = 1e-3, value_parser = number(0.0..=1e3))]
    pub lr: f64,
    /// Learning rate of Adai, whose steps are as long as those of SGD
    #[arg(long, default_value_t = 1.0, value_parser = number(0.0..=1e3))]
    pub adai_lr: f64,
    /// Epochs after which the learning rate drops
    #[arg(long, value_delimiter = ',', default_values_t = [50, 75], value_parser = number(1..=100_000_usize))]
    pub drop_after: Vec<usize>,
    /// Factor on the learning rate at each drop
    #[arg(long, default_value_t = 0.1, value_parser = number(0.0..=1.0))]
    pub drop_factor: f64,
    /// Discount κ of MIAdam's integrals
    #[arg(long, default_value_t = 0.98, value_parser = number(0.0..=1.0))]
    pub kappa: f64,
    /// α_t while MIAdam integrates: αⁿ, αⁿ⁺¹ as in the authors' code, or as long as Adam's
    #[arg(long, value_enum, default_value_t = Scale::Reference)]
    pub step_scale: Scale,
    /// Epochs in which MIAdam integrates; after them it is Adam
    #[arg(long, default_value_t = 19, value_parser = number(0..=100_000_usize))]
    pub switch_epoch: usize,
    /// Coupled decay (L2) of Adam and MIAdam, and of the control
    #[arg(long, default_value_t = 5e-5, value_parser = number(0.0..=1e3))]
    pub weight_decay: f64,
    /// Decoupled decay of AdamW
    #[arg(long, default_value_t = 1e-2, value_parser = number(0.0..=1e3))]
    pub decoupled_decay: f64,
    /// Fraction of the training labels that are drawn anew
    #[arg(long, default_value_t = 0.0, value_parser = number(0.0..=1.0))]
    pub label_noise: f64,
    /// The classes that they are drawn from: all, the true one included, as in the authors' code, or only wrong ones
    #[arg(long, value_enum, default_value_t = NoiseFrom::All)]
    pub noise_from: NoiseFrom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Scale {
    Paper,
    Reference,
    UnitGain,
    ExactGain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum NoiseFrom {
    All,
    Others,
}

impl Flags {
    /// With the optimizers of the paper's table, if none are named, and as small as a smoke run is to be.
    pub fn with_defaults(&self, table: &[Kind]) -> Self {
        let mut flags = self.clone();
        if flags.optimizer.is_empty() {
            // One on the device and one on the host, beside MIAdam.
            let few = [Kind::Adam, Kind::Nadam, Kind::Miadam1];
            flags.optimizer = if flags.smoke { few.to_vec() } else { table.to_vec() };
        }
        if flags.smoke {
            // An epoch before the switch and one after it.
            (flags.recipe.epochs, flags.recipe.switch_epoch) = (2, 1);
            (flags.recipe.batch_size, flags.repeats) = (2, 1);
        }
        flags
    }
}

impl Recipe {
    /// α in an epoch, counted from 1: it drops after the epochs of `drop_after`.
    pub fn lr_in(&self, epoch: usize, lr: f64) -> f64 {
        let drops = self.drop_after.iter().filter(|last| epoch > **last).count();
        lr * self.drop_factor.powi(drops as i32)
    }
}

impl Scale {
    pub fn rule(self) -> StepScale {
        match self {
            Self::Paper => StepScale::Paper,
            Self::Reference => StepScale::Reference,
            Self::UnitGain => StepScale::UnitGain,
            Self::ExactGain => StepScale::ExactGain,
        }
    }
}
