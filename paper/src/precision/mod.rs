//! State in fewer bits: how far it drifts from state in `f32`, and what it costs in accuracy.

mod accuracy;
mod drift;
mod dynamic;
mod single;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use miadam::StatePrecision;
use miadam_support::command_line::{number, say};
use miadam_support::mnist::data::Data;

/// Compare state in bf16 and in 8 bits with state in f32.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the tables and pictures; trainings that are in its table are not done again
    #[arg(long, value_name = "DIR", default_value = "results/precision")]
    out: PathBuf,
    /// Trainings at a time [default: one for each core]
    #[arg(long, value_parser = number(1..=1024_usize))]
    threads: Option<usize>,
    /// Seconds instead of an hour: short runs, which show that all works and nothing else
    #[arg(long)]
    quick: bool,
}

/// The precisions that are compared with `f32`.
const PACKED: [StatePrecision; 2] = [StatePrecision::Bf16, StatePrecision::Q8];

/// The orders n.
const ORDERS: [u32; 4] = [0, 1, 2, 3];

/// Measures single updates and the drift, then trains what is left to train, and writes tables and pictures.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let data = args.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
    let threads = args.threads.unwrap_or_else(rayon::current_num_threads);
    fs::create_dir_all(&args.out)
        .map_err(|error| format!("{}: {error}; choose a folder to write to", args.out.display()))?;
    if args.quick {
        say("This is a smoke run: its figures mean nothing.")?;
    }
    let steps = if args.quick { 100 } else { 10_000 };
    single::run(&args.out, steps)?;
    drift::run(&args.out, threads, steps)?;
    accuracy::run(&args.out, &data, threads, args.quick)
}

fn write(out: &Path, name: &str, text: String) -> Result<(), Box<dyn Error>> {
    let path = out.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}; choose a folder to write to", path.display()).into())
}
