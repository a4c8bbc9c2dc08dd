//! A small transformer that learns a text by its characters, with burn's Adam or with MIAdam, and plots of its loss.
//!
//! `cargo run --release --example transformer` needs no flag, no network and no GPU; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod device;
mod optimizer;

mod transformer {
    pub mod args;
    pub mod metrics;
    pub mod model;
    pub mod plot;
    pub mod text;
    pub mod training;
}

use std::error::Error;
use std::process::ExitCode;

use miadam_support::command_line;
use transformer::args::Args;
use transformer::training;

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match &args.plot {
        Some(file) => transformer::plot::draw(file, &args.files),
        None => training::run(args),
    }
}
