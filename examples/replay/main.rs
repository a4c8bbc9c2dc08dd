//! Replays recorded gradients, so that a run of another optimizer can be compared with this crate's.
//!
//! `cargo run --release --example replay -- --case A.safetensors --out B.safetensors --device cpu|gpu`
//!
//! The README beside this file has the format of both files, and the Python lines that record a case.

mod output;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use miadam_support::adapter::AdapterFlags;
use miadam_support::command_line;
use miadam_support::gpu::Gpu;
use miadam_support::replay::{Case, Device, OnCpu, OnGpu, check, replay_step};
use output::Output;

/// Replay recorded gradients through MIAdam.
#[derive(Parser)]
struct Args {
    /// The safetensors file to replay: `param/NAME`, `grad/T/NAME`, metadata `groups`
    #[arg(long)]
    case: PathBuf,
    /// The safetensors file to write: parameters and optimizer state after the last step
    #[arg(long)]
    out: PathBuf,
    /// Where to replay
    #[arg(long, value_enum)]
    device: Kind,
    #[command(flatten)]
    adapter: AdapterFlags,
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
    say(args, &format!("{} steps, {} parameters: `{}`", case.steps.len(), case.tensors().count(), args.out.display()));
    Ok(())
}

fn read(path: &Path) -> Result<Case, String> {
    let shown = path.display();
    let bytes =
        fs::read(path).map_err(|error| format!("cannot read `{shown}`: {error}; give --case a readable file"))?;
    Case::from_bytes(&bytes).map_err(|error| format!("`{shown}`: {error}"))
}

fn open<'a>(args: &Args, case: &'a Case) -> Result<Box<dyn Device + 'a>, Box<dyn Error>> {
    match args.device {
        Kind::Cpu => {
            say(args, "device: cpu");
            Ok(Box::new(OnCpu::new(case)?))
        }
        Kind::Gpu => {
            let adapter = args.adapter.choose()?;
            let gpu = Gpu::open(&adapter, adapter.limits())?;
            say(args, &format!("device: gpu, {}", gpu.name));
            Ok(Box::new(OnGpu::new(gpu, case)?))
        }
    }
}

/// The results are in a file, so a reader of stdout that has gone away is no reason to stop. If they go to what is no file,
/// that may be stdout itself, where they stand alone.
fn say(args: &Args, line: &str) {
    let line = command_line::wrapped(line);
    let _ = match fs::metadata(&args.out) {
        Ok(out) if !out.is_file() => writeln!(io::stderr(), "{line}"),
        _ => command_line::say(&line),
    };
}
