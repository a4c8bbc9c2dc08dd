//! The flags.

use std::path::PathBuf;

use clap::Parser;
use miadam_support::command_line::number;
use miadam_support::device_kind::DeviceKind;

use crate::optimizer::OptimizerFlags;

/// Train the network of burn's guide on handwritten digits, with burn's Adam or with MIAdam.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(flatten)]
    pub optimizer: OptimizerFlags,
    /// The device to train on: `auto` is a hardware GPU if there is one, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceKind::Auto)]
    pub device: DeviceKind,
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Passes over the training digits
    #[arg(long, default_value_t = 3, value_parser = number(1..=1000_usize))]
    pub epochs: usize,
    /// Digits in a batch
    #[arg(long, default_value_t = 64, value_parser = number(1..=8192_usize))]
    pub batch_size: usize,
    /// Stop after so many steps [default: at the end of the last epoch]
    #[arg(long, value_parser = number(1..=1_000_000_usize))]
    pub steps: Option<usize>,
    /// Seed of the weights, the batches and the dropout
    #[arg(long, default_value_t = 42, value_parser = number(0..=u64::MAX))]
    pub seed: u64,
}
