//! miadam beside burn, candle and torch: the same tensors, the same machine, one run.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- [--python PATH] [--json]`

mod burn;
mod candle;
mod contest;
mod miadam;
mod process;
mod report;
mod runner;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contest::{Contest, SHAPES};
use miadam_support::command_line;
use report::Report;

#[derive(Parser)]
#[command(about = "Compares optimizer steps with those of burn, candle and torch")]
struct Flags {
    /// One JSON object a line instead of the table
    #[arg(long)]
    json: bool,
    /// An interpreter that can import torch
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Only the shapes whose name contains this
    #[arg(long, default_value = "")]
    case: String,
    /// Measured rounds, of which the median counts
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads of every CPU optimizer; as many as there are cores by default
    #[arg(long)]
    threads: Option<usize>,
    /// Run burn's steps for another process of this program
    #[arg(long, hide = true)]
    serve_burn: bool,
}

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    if flags.serve_burn {
        serve::serve();
        return Ok(());
    }
    let shapes: Vec<_> = SHAPES.into_iter().filter(|shape| shape.contains(&flags.case)).collect();
    if shapes.is_empty() {
        return Err(format!("no shape matches --case {}; there are: {}", flags.case, SHAPES.join(", ")).into());
    }
    let threads = match flags.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism()?.get(),
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let report = Report::new(flags.json);
    let mut contest = Contest::new(&flags.python, threads);
    report.note(&contest.description())?;
    for shape in shapes {
        report.table(&contest.hold(shape, flags.rounds))?;
    }
    Ok(())
}
