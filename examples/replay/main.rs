//! Replays recorded gradients, so that a run of another optimizer can be compared with this crate's.
//!
//! `cargo run --release --example replay -- --case A.safetensors --out B.safetensors --device cpu|gpu`
//!
//! The README beside this file has the format of both files, and the Python lines that record a case.

#[path = "../shared/adapter.rs"]
mod adapter;
mod case;
#[path = "../shared/command_line.rs"]
mod command_line;
mod device;
mod output;
#[cfg(test)]
mod tests;
#[path = "../shared/values.rs"]
mod values;

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use case::Case;
use clap::{Parser, ValueEnum};
use device::{Cpu, Device, Gpu, check, replay_step};
use output::Output;

/// Replay recorded gradients through MIAdam.
#[derive(Parser)]
struct Args {
    /// The safetensors file to replay: `param/NAME`, `grad/T/NAME`, metadata `groups`.
    #[arg(long)]
    case: PathBuf,
    /// The safetensors file to write: parameters and optimizer state after the last step.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_enum)]
    device: Kind,
    /// A part of the GPU's name, where there are several.
    #[arg(long)]
    adapter: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Cpu,
    Gpu,
}

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let case = read(&args.case)?;
    if args.out.canonicalize().is_ok_and(|out| args.case.canonicalize().is_ok_and(|case| case == out)) {
        return Err(format!("`{}` is the case itself; give --out another file", args.out.display()).into());
    }
    check(&case).map_err(|error| format!("`{}`: {error}", args.case.display()))?;
    let output = Output::create(&args.out)?;
    let mut device = open(args, &case)?;
    for (step, recorded) in (1..).zip(&case.steps) {
        replay_step(&mut *device, recorded).map_err(|error| format!("step {step}: {error}"))?;
    }
    output.write(&case, &device.params()?, &device.state()?, &device.report()?)?;
    say(&format!("{} steps, {} parameters: `{}`", case.steps.len(), case.tensors().count(), args.out.display()));
    Ok(())
}

fn read(path: &Path) -> Result<Case, String> {
    let shown = path.display();
    let bytes =
        std::fs::read(path).map_err(|error| format!("cannot read `{shown}`: {error}; give --case a readable file"))?;
    Case::from_bytes(&bytes).map_err(|error| format!("`{shown}`: {error}"))
}

fn open(args: &Args, case: &Case) -> Result<Box<dyn Device>, Box<dyn Error>> {
    match args.device {
        Kind::Cpu => {
            say("device: cpu");
            Ok(Box::new(Cpu::new(case)?))
        }
        Kind::Gpu => {
            let adapter = adapter::choose(args.adapter.as_deref())?;
            let (device, queue) = adapter::open(&adapter, adapter.limits())?;
            say(&format!("device: gpu, {}", adapter::description(&adapter.get_info())));
            Ok(Box::new(Gpu::new(device, queue, case)?))
        }
    }
}

/// A line on stdout; a reader that has gone away is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
