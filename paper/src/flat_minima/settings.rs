//! What is run: the flags, and the two sizes of the study.

use std::path::PathBuf;

use clap::Parser;
use miadam_support::adapter::AdapterFlags;
use miadam_support::device_kind::DeviceKind;

use super::{convergence, escape};

/// Re-runs the paper's Figure 2 and its 2,500 starts: where Adam, MIAdam and controls end on two landscapes, how they escape
/// from a sharp minimum, and whether they settle.
#[derive(Debug, Parser)]
pub struct Flags {
    /// A run of seconds, as CI wants it
    #[arg(long)]
    pub quick: bool,
    /// The folder for tables and pictures
    #[arg(long, value_name = "DIR", default_value = "results/flat_minima")]
    pub out: PathBuf,
    /// Where the 2,500 starts are trained
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceKind,
    #[command(flatten)]
    pub adapter: AdapterFlags,
}

/// How much is run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub lrs: Vec<f64>,
    /// Starts along each side of the grid.
    pub side: usize,
    pub steps: u32,
    /// ζ, the first step that is plain Adam: half of the steps are before it.
    pub switch_step: u32,
    pub escape: escape::Plan,
    pub convergence: convergence::Plan,
}

const SEED: u64 = 16;

impl Settings {
    /// The paper's rates and 2,500 starts. It does not say how many steps it runs, or when it switches.
    pub fn full() -> Self {
        Self {
            lrs: vec![0.05, 0.1, 0.15],
            side: 50,
            steps: 1000,
            switch_step: 501,
            escape: escape::Plan {
                lrs: vec![0.05, 0.1],
                exponents: vec![2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
                walkers: 1000,
                most_steps: 20_000,
                seed: SEED,
            },
            convergence: convergence::Plan { lr: 0.05, steps: 4000, regret_steps: 20_000, walkers: 100, seed: SEED },
        }
    }

    /// The same in seconds.
    pub fn quick() -> Self {
        Self {
            lrs: vec![0.1],
            side: 10,
            steps: 200,
            switch_step: 101,
            escape: escape::Plan {
                lrs: vec![0.1],
                exponents: vec![2.0, 3.0, 4.0],
                walkers: 100,
                most_steps: 1000,
                seed: SEED,
            },
            convergence: convergence::Plan { lr: 0.05, steps: 400, regret_steps: 1000, walkers: 20, seed: SEED },
        }
    }
}
