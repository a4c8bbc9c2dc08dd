//! The flags.

use std::path::PathBuf;

use clap::Parser;
use miadam::{Error, GradOptions, Hyperparams, Schedule, WeightDecay};
use miadam_support::adapter::AdapterFlags;
use miadam_support::command_line::number;
use miadam_support::device_kind::DeviceKind;

use crate::device::Result;

/// Steps until the learning rate is in full use.
const WARMUP: u32 = 20;

/// Train a tiny transformer on a text with MIAdam, in an engine that is small enough to read.
#[derive(Debug, Clone, Parser)]
#[command(version, after_help = "With RUST_LOG=info, stderr tells of every new buffer of the pools.")]
pub struct Args {
    /// The device to train on: `auto` is a hardware GPU if there is one, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceKind::Auto)]
    pub device: DeviceKind,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    /// Steps in all
    #[arg(long, default_value_t = 400, value_parser = number(1..=1_000_000_u32))]
    pub steps: u32,
    /// Sequences in a batch
    // With more of them, a kernel would need more workgroups than a device must have in one dimension.
    #[arg(long, default_value_t = 8, value_parser = number(1..=128_usize))]
    pub batch_size: usize,
    /// Learning rate α
    #[arg(long, default_value_t = 3e-3, value_parser = number(0.0..=1.0))]
    pub lr: f64,
    /// Number of integrals n; 0 is Adam
    #[arg(long, default_value_t = 1, value_parser = number(0..=8_u32))]
    pub order: u32,
    /// The step from which on training is plain Adam
    #[arg(long, value_name = "STEP", default_value_t = 300, value_parser = number(1..=u32::MAX))]
    pub switch_step: u32,
    /// The bound of the gradients' global norm
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = number(0.0..=f64::INFINITY))]
    pub clip_norm: f64,
    /// Steps after which the embeddings are frozen
    #[arg(long, value_name = "STEPS", default_value_t = 300, value_parser = number(0..=u32::MAX))]
    pub freeze_after: u32,
    /// Steps between two reports; each also makes the checkpoint that a run goes on from
    #[arg(long, value_name = "STEPS", default_value_t = 100, value_parser = number(1..=u32::MAX))]
    pub every: u32,
    /// Characters to write at the end
    #[arg(long, value_name = "CHARACTERS", default_value_t = 300, value_parser = number(0..=100_000_usize))]
    pub sample: usize,
    /// Seed of the parameters, the batches and the sample
    #[arg(long, default_value_t = 0, value_parser = number(0..=u64::MAX))]
    pub seed: u64,
    /// Save every checkpoint to this file, which must be new unless --resume is given
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Go on from the file of --checkpoint, with the bits of a run that was never stopped. Seed, batch size, freezing and the
    /// optimizer's settings are those of the saved run, whatever the flags say
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
    /// Lose the GPU after so many steps, to see the run recover
    #[arg(long, value_name = "STEPS", value_parser = number(0..=u32::MAX))]
    pub lose_device: Option<u32>,
}

impl Args {
    /// Refuses what is wrong whatever the device.
    pub fn validate(&self) -> Result<()> {
        if self.adapter.adapter.is_some() && self.device == DeviceKind::Cpu {
            return Err("--adapter names a GPU, but --device is cpu; drop one of the two".into());
        }
        let settings = self.matrices().validate(0);
        Ok(settings.map_err(|error: Error| format!("--lr or --order: {error}"))?)
    }

    /// How matrices are trained.
    pub fn matrices(&self) -> Hyperparams {
        let &Self { lr, order, switch_step, .. } = self;
        let schedule = Schedule::LinearWarmup { steps: WARMUP, start_factor: 0.02 };
        let weight_decay = WeightDecay::Decoupled(0.1);
        Hyperparams { lr, order, switch_step, schedule, weight_decay, ..Hyperparams::default() }
    }

    /// How the gains of norms are trained: without decay, which would pull them to 0.
    pub fn gains(&self) -> Hyperparams {
        Hyperparams { weight_decay: WeightDecay::None, ..self.matrices() }
    }

    pub fn grad_options(&self) -> GradOptions {
        GradOptions { clip_norm: Some(self.clip_norm), ..GradOptions::default() }
    }
}
