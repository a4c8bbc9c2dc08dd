//! Table 4 on complete MNIST: accuracy under wrong labels, for every optimizer, at shared and at tuned settings.

mod entrants;
mod report;
mod tuning;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use miadam_support::command_line::{number, say};
use miadam_support::mnist::data::Data;

use crate::lab::Lab;
use crate::setting::Setting;
use crate::training::{Run, Split};

/// Train a network on digits with wrong labels, with every optimizer of the paper.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the tables and pictures; runs that are in its table are not done again
    #[arg(long, value_name = "DIR", default_value = "results/label_noise")]
    out: PathBuf,
    /// Wrong labels, in percent
    #[arg(long, value_delimiter = ',', default_values_t = [0_u32, 20, 40, 60, 80], value_parser = number(0..=100_u32))]
    noise: Vec<u32>,
    /// Passes over the training digits
    #[arg(long, default_value_t = 10, value_parser = number(1..=1000_u32))]
    epochs: u32,
    /// Runs of each setting, each with weights, batches and wrong labels of its own
    #[arg(long, default_value_t = 5, value_parser = number(2..=100_u64))]
    seeds: u64,
    /// Settings that each optimizer may try, at each noise
    #[arg(long, default_value_t = 16, value_parser = number(1..=1000_usize))]
    trials: usize,
    /// Leave the tuning out
    #[arg(long)]
    shared_only: bool,
    /// Runs at a time [default: one for each core]
    #[arg(long, value_parser = number(1..=1024_usize))]
    threads: Option<usize>,
    /// Minutes instead of hours: 8,000 digits, two seeds, 0 and 40 % noise, few epochs and trials
    #[arg(long)]
    quick: bool,
}

/// What every run of a study has in common.
struct Study {
    noise: Vec<u32>,
    seeds: u64,
    trials: usize,
    epochs: u32,
    hidden: usize,
    threads: usize,
}

impl Study {
    fn run(&self, setting: Setting, noise: u32, seed: u64, split: Split) -> Run {
        let Self { epochs, hidden, .. } = *self;
        Run { setting, noise: f64::from(noise) / 100.0, seed, epochs, batch: 128, hidden, split }
    }

    /// The runs that end on the test digits, one for each seed.
    fn finals(&self, setting: Setting, noise: u32) -> impl Iterator<Item = Run> {
        (0..self.seeds).map(move |seed| self.run(setting, noise, seed, Split::Test))
    }
}

/// Does all runs that are left to do, then writes the tables and the pictures.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let data = args.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
    let threads = args.threads.unwrap_or_else(rayon::current_num_threads);
    let mut study = Study {
        noise: args.noise.clone(),
        seeds: args.seeds,
        trials: args.trials,
        epochs: args.epochs,
        hidden: 256,
        threads,
    };
    if args.quick {
        study = Study { noise: vec![0, 40], seeds: 2, trials: 2, epochs: 3, ..study };
    }
    let mut lab = Lab::open(&args.out)?;
    say(&format!("{} training digits, {} test digits", data.train.len(), data.test.len()))?;

    let entrants = entrants::shared();
    for &noise in &study.noise {
        let runs: Vec<_> = entrants.iter().flat_map(|entrant| study.finals(entrant.setting, noise)).collect();
        lab.run(&format!("shared settings, {noise} % noise"), &runs, &data, study.threads)?;
    }
    report::write(&lab, &study, "shared", &args.out, &|_| entrants.clone())?;
    if args.shared_only {
        return Ok(());
    }
    let mut tuned = Vec::new();
    for &noise in &study.noise {
        tuned.push((noise, tuning::tune(&mut lab, &study, noise, &data)?));
    }
    let chosen =
        |noise| tuned.iter().find(|(at, _)| *at == noise).map(|(_, entrants)| entrants.clone()).unwrap_or_default();
    report::write(&lab, &study, "tuned", &args.out, &chosen)
}
