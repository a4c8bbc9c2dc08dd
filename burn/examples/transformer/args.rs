//! The flags.

use std::path::PathBuf;

use clap::Parser;
use miadam_support::command_line::number;
use miadam_support::device_kind::DeviceKind;

use crate::optimizer::OptimizerFlags;

/// Train a small transformer on the characters of a text, with burn's Adam or with MIAdam.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(flatten)]
    pub optimizer: OptimizerFlags,
    /// The device to train on: `auto` is a hardware GPU if there is one, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceKind::Auto)]
    pub device: DeviceKind,
    /// Steps in all
    #[arg(long, default_value_t = 400, value_parser = number(1..=1_000_000_usize))]
    pub steps: usize,
    /// Pieces of the text in a batch, of 64 characters each
    #[arg(long, default_value_t = 16, value_parser = number(1..=1024_usize))]
    pub batch_size: usize,
    /// Seed of the weights and the batches
    #[arg(long, default_value_t = 42, value_parser = number(0..=u64::MAX))]
    pub seed: u64,
    /// Write one JSON object per step to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Draw the loss curves of metrics files into this SVG file, and train nothing
    #[arg(long, value_name = "FILE", requires = "files")]
    pub plot: Option<PathBuf>,
    /// The metrics files to draw
    #[arg(requires = "plot")]
    pub files: Vec<PathBuf>,
}
