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
    /// Wrong labels, in percent [default: 0,20,40,60,80, or 0,40 under --quick]
    #[arg(long, value_delimiter = ',', value_parser = number(0..=100_u32))]
    noise: Vec<u32>,
    /// Passes over the training digits [default: 10, or 12 under --quick]
    #[arg(long, value_parser = number(1..=1000_u32))]
    epochs: Option<u32>,
    /// Units in the hidden layer
    #[arg(long, default_value_t = 256, value_parser = number(1..=8192_usize))]
    hidden: usize,
    /// Runs of each setting, each with weights, batches and wrong labels of its own [default: 5, or 3 under --quick]
    #[arg(long, value_parser = number(2..=100_u64))]
    seeds: Option<u64>,
    /// Settings that each optimizer may try, at each noise; 0 leaves the tuning out [default: 16, or 0 under --quick]
    #[arg(long, value_parser = number(0..=1000_usize))]
    trials: Option<usize>,
    /// Print the differences from this row instead of those from Adam, and write no files
    #[arg(long, value_name = "ROW")]
    against: Option<String>,
    /// Runs at a time [default: one for each core]
    #[arg(long, value_parser = number(1..=1024_usize))]
    threads: Option<usize>,
    /// Minutes instead of hours: other defaults, for the digits compiled in
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
    fn new(args: &Args) -> Self {
        let or = |full, quick| if args.quick { quick } else { full };
        let noise: &[u32] = if args.quick { &[0, 40] } else { &[0, 20, 40, 60, 80] };
        Self {
            noise: if args.noise.is_empty() { noise.to_vec() } else { args.noise.clone() },
            seeds: args.seeds.unwrap_or(or(5, 3)),
            trials: args.trials.unwrap_or(or(16, 0) as usize),
            epochs: args.epochs.unwrap_or(or(10, 12) as u32),
            hidden: args.hidden,
            threads: args.threads.unwrap_or_else(rayon::current_num_threads),
        }
    }

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
    let study = Study::new(args);
    let mut lab = Lab::open(&args.out, &data)?;
    say(&format!("{} training digits, {} test digits", data.train.len(), data.test.len()))?;

    let entrants = entrants::shared();
    for &noise in &study.noise {
        let runs: Vec<_> = entrants.iter().flat_map(|entrant| study.finals(entrant.setting, noise)).collect();
        lab.run(&format!("shared settings, {noise} % noise"), &runs, &data, study.threads)?;
    }
    if let Some(name) = &args.against {
        return report::print_against(&lab, &study, &entrants, name);
    }
    report::write(&lab, &study, "shared", &args.out, &|_| entrants.clone())?;
    if study.trials == 0 {
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
