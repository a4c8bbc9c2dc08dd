//! The flags, and what is trained by which settings.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::{Parser, ValueEnum};
use miadam_support::command_line::number;
use miadam_support::mnist::random::Random;
use serde::{Deserialize, Serialize};

use super::measure::Effort;
use crate::setting::{Name, Scale, Setting};
use crate::training::{Run, Split};

/// Train a small network on digits by several optimizers, and measure how flat the loss is where each ends.
///
/// Flatness is the top eigenvalue, the trace and the spectral density of the Hessian of the mean training loss.
#[derive(Debug, Clone, Parser)]
#[command(name = "sharpness", version)]
pub struct Flags {
    /// A run of seconds, which shows that all works and nothing else
    #[arg(long)]
    pub quick: bool,
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder for tables and pictures; a run that was stopped goes on from what is there
    #[arg(long, value_name = "DIR", default_value = "results/sharpness")]
    pub out: PathBuf,
    /// Passes over the training digits
    #[arg(long, default_value_t = 12, value_parser = number(1..=100_000_u32))]
    pub epochs: u32,
    /// Seeds from 0 up: each has its own weights, batches and wrong labels
    #[arg(long, default_value_t = 3, value_parser = number(1..=1000_u64))]
    pub seeds: u64,
    /// Learning rate of all optimizers
    #[arg(long, default_value_t = 1e-3, value_parser = number(1e-9..=1e3))]
    pub lr: f64,
    /// The longer β1 of the second Adam. MIAdam1's gradients are as old on average at 0.95
    #[arg(long, default_value_t = 0.95, value_parser = number(0.0..=0.9999))]
    pub long_beta1: f64,
    /// The part of the labels that are wrong in the noisy half of the runs
    #[arg(long, value_name = "P", default_value_t = 0.4, value_parser = number(0.01..=1.0))]
    pub label_noise: f64,
    /// Training digits over which the loss is measured: the same ones for all networks
    #[arg(long, default_value_t = 2000, value_parser = number(1..=1_000_000_usize))]
    pub subset: usize,
    /// The labels of these digits
    #[arg(long, value_enum, default_value_t = Labels::Trained)]
    pub labels: Labels,
    /// Units in the hidden layer
    #[arg(long, default_value_t = 256, value_parser = number(1..=8192_usize))]
    pub hidden: usize,
    /// Networks at a time; each takes 130 MB at 256 units [default: the cores]
    #[arg(long, value_parser = number(1..=1024_usize))]
    pub threads: Option<usize>,
}

/// Which labels the measured loss has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// Those that were trained on, wrong ones included: the loss that the optimizer saw
    Trained,
    /// The right ones, which the optimizer never saw under noise
    Clean,
}

/// The authors' code integrates in epochs 1 to 19 of 150.
const AUTHORS_SWITCH: f64 = 19.0 / 150.0;

/// An optimizer by the name that tables give it.
#[derive(Debug, Clone)]
pub struct Contender {
    pub name: String,
    pub setting: Setting,
}

/// What a network is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub subset: usize,
    pub labels: Labels,
    pub effort: Effort,
}

impl Flags {
    /// In the order of the tables.
    pub fn contenders(&self) -> Vec<Contender> {
        let lr = self.lr;
        let contender = |name: &str, setting| Contender { name: name.to_owned(), setting };
        let long = Setting { beta1: self.long_beta1, ..Setting::new(Name::Adam, lr) };
        // The authors' code, L2 5e-5 and all, but for its schedule: all others go without.
        let authors = |order| Setting {
            switch: AUTHORS_SWITCH,
            decay: 5e-5,
            ..Setting::miadam(order, 0.98, Scale::Reference, lr)
        };
        let slow = Setting { switch: AUTHORS_SWITCH, decay: 5e-5, slow: 20.0, ..Setting::new(Name::Adam, lr) };
        let mut contenders = vec![
            contender("Adam", Setting::new(Name::Adam, lr)),
            Contender { name: format!("Adam, β1 {}", self.long_beta1), setting: long },
            // Controls: is it more than a lower rate? Is it more than the authors' slow start, which is lr/20 for MIAdam1?
            contender("Adam, lr/5", Setting::new(Name::Adam, lr / 5.0)),
            contender("Adam, slow start", slow),
        ];
        let ours = |order| contender(&format!("MIAdam{order}"), Setting::miadam(order, 0.9, Scale::UnitGain, lr));
        contenders.extend((1..=3).map(ours));
        contenders.push(contender("MIAdam1, authors'", authors(1)));
        contenders.push(contender("MIAdam3, authors'", authors(3)));
        contenders
    }

    /// 0, and the noisy half.
    pub fn noises(&self) -> [f64; 2] {
        [0.0, self.label_noise]
    }

    pub fn seeds(&self) -> u64 {
        if self.quick { 2 } else { self.seeds }
    }

    pub fn run(&self, contender: &Contender, noise: f64, seed: u64) -> Run {
        let (epochs, hidden) = if self.quick { (1, 16) } else { (self.epochs, self.hidden) };
        Run { setting: contender.setting, noise, seed, epochs, batch: 128, hidden, split: Split::Test }
    }

    pub fn measured(&self) -> Measured {
        let (subset, effort) = match self.quick {
            true => (200, Effort { trace_probes: 8, density_probes: 2, density_steps: 20 }),
            false => (self.subset, Effort { trace_probes: 64, density_probes: 4, density_steps: 80 }),
        };
        Measured { subset, labels: self.labels, effort }
    }

    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get))
    }
}

impl Measured {
    /// The digits' indices, whatever the run: the same images in all of them.
    pub fn chosen(&self, samples: usize) -> Vec<u32> {
        let mut indices: Vec<u32> = (0..samples as u32).collect();
        Random::new(0, 4).shuffle(&mut indices);
        indices.truncate(self.subset);
        indices
    }
}
