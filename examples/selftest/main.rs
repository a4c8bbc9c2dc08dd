//! Does the optimizer compute on this GPU what it computes on the CPU, and how fast? Prints one block of text, made to be pasted into
//! a report.
//!
//! `cargo run --release --example selftest -- [--adapter NAME]`

mod checks;
mod comparison;
mod machine;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use miadam_support::adapter::AdapterFlags;
use miadam_support::cases;
use miadam_support::command_line::{self, number, one_line, say, wrapped};
use miadam_support::gpu::Gpu;
use miadam_support::throughput;

/// Checks every option on a GPU against the CPU, measures a few steps, and prints what to report
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    adapter: AdapterFlags,
    /// Measured rounds of each step, of which the median counts; 0 measures none
    #[arg(long, default_value_t = 15, value_parser = number(0..=1_000_000_u32))]
    rounds: u32,
}

/// The steps that tell a GPU's speed: one large tensor, many small ones in a pool, and in buffers of their own.
const MEASURED: [&str; 3] = ["1 x 4M", "1000 x 4096 pool", "1000 x 4096 separate"];

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let adapter = flags.adapter.choose()?;
    say(&format!("miadam {} selftest\n", env!("CARGO_PKG_VERSION")))?;
    say(&machine::describe(&adapter)?)?;
    // As an engine has it that asks for nothing.
    let gpu = Gpu::open(&adapter, wgpu::Limits::default())?;
    let failed = check(&gpu)?;
    if flags.rounds > 0 {
        measure(&Gpu::open(&adapter, adapter.limits())?, flags.rounds)?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} checks failed; please report the text above").into()),
    }
}

/// Prints a line for each check. Gives the number of those that failed.
fn check(gpu: &Gpu) -> Result<usize, Box<dyn Error>> {
    say(&format!("{:<40}{:>18}  of what is allowed", "check, against the CPU", "largest difference"))?;
    let checks = checks::all();
    let mut failed = 0;
    for check in &checks {
        // The settings are chosen for the arithmetic, and some of them are no good for a training.
        let found = match command_line::without_warnings(|| check.run(gpu)) {
            Ok(0.0) => "none".to_owned(),
            Ok(furthest) => {
                failed += usize::from(furthest > 1.0);
                format!("{:.0} %{}", 100.0 * furthest, if furthest > 1.0 { "  FAILED" } else { "" })
            }
            Err(error) => {
                failed += 1;
                say(&wrapped(&one_line(&error.to_string())))?;
                "FAILED".to_owned()
            }
        };
        say(&format!("{:<40}{found:>18}", check.name))?;
    }
    say(&format!("{} of {} checks passed\n", checks.len() - failed, checks.len()))?;
    Ok(failed)
}

fn measure(gpu: &Gpu, rounds: u32) -> Result<(), Box<dyn Error>> {
    say("step                     order        ms    GB/s  over a copy's time")?;
    for case in cases::all().iter().filter(|case| MEASURED.contains(&case.name) && case.order < 2) {
        match throughput::measure(gpu, case, rounds) {
            Ok(row) => {
                say(&format!(
                    "{:<24}{:>6}{:>10.3}{:>8.1}{:>6.2}",
                    row.case, row.order, row.ms, row.gbps, row.limit_ratio
                ))?;
            }
            Err(reason) => say(&wrapped(&format!("left out {case}: {reason}")))?,
        }
    }
    Ok(())
}
