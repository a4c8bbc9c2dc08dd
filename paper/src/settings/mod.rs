//! Which settings work: MIAdam of orders 1 to 3 by κ, learning rate, step scale and switch, on clean and on wrong labels.

mod grid;
mod report;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use miadam_support::command_line::{number, say};
use miadam_support::mnist::data::Data;

use crate::lab::Lab;
use crate::training::{Run, Split};

use grid::Grid;

/// Train a network on digits with MIAdam at every setting of a grid.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the tables and pictures; runs that are in its table are not done again
    #[arg(long, value_name = "DIR", default_value = "results/settings")]
    out: PathBuf,
    /// Passes over the training digits
    #[arg(long, default_value_t = 12, value_parser = number(1..=1000_u32))]
    epochs: u32,
    /// Runs of each setting, each with weights, batches and wrong labels of its own
    #[arg(long, default_value_t = 2, value_parser = number(1..=100_u64))]
    seeds: u64,
    /// Runs at a time [default: one for each core]
    #[arg(long, value_parser = number(1..=1024_usize))]
    threads: Option<usize>,
    /// Seconds instead of an hour: a corner of the grid and short runs, which show that all works and nothing else
    #[arg(long)]
    quick: bool,
}

/// Wrong labels, in percent.
const NOISE: [u32; 2] = [0, 40];

/// Does all runs that are left to do, then writes the table and the pictures.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let data = args.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
    let (grid, epochs, hidden) = match args.quick {
        true => (Grid::corner(), 1, 16),
        false => (Grid::whole(), args.epochs, 256),
    };
    let run = |setting, noise: u32, seed| {
        let noise = f64::from(noise) / 100.0;
        Run { setting, noise, seed, epochs, batch: 128, hidden, split: Split::Test }
    };
    let mut lab = Lab::open(&args.out, &data)?;
    if args.quick {
        say("This is a smoke run: its figures mean nothing.")?;
    }
    say(&format!("{} training digits, {} test digits, {epochs} epochs", data.train.len(), data.test.len()))?;
    let mut runs = Vec::new();
    for noise in NOISE {
        for setting in grid.settings() {
            runs.extend((0..args.seeds).map(|seed| run(setting, noise, seed)));
        }
    }
    lab.run("settings", &runs, &data, args.threads.unwrap_or_else(rayon::current_num_threads))?;
    let accuracy = |setting, noise| {
        let outcomes: Option<Vec<f64>> =
            (0..args.seeds).map(|seed| lab.outcome(&run(setting, noise, seed)).map(|done| 100.0 * done.last)).collect();
        outcomes.map(|outcomes| outcomes.iter().sum::<f64>() / outcomes.len() as f64)
    };
    report::write(&args.out, &grid, &accuracy)
}
