//! A 784-256-10 network on handwritten digits, trained with MIAdam on the GPU or on the CPU.
//!
//! `cargo run --release --example mlp_mnist` needs no flag, no network and no GPU; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod args;
mod cpu;
mod curves;
mod gpu;
mod interrupt;
mod metrics;
mod options;
mod recipe;
mod run_file;
mod saving;
mod trainer;
mod training;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use miadam_support::command_line;

use args::Args;

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.saving.checkpoint.is_some() {
        interrupt::listen()?;
    }
    training::run(args, &mut io::stdout(), &interrupt::is_asked)
}

#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;
