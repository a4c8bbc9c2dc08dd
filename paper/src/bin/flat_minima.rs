//! Figure 2 of the paper, its 2,500 starts and its theorems, re-run; see `results/flat_minima/README.md`.
//!
//! `cargo run --release --bin flat_minima -- --quick` is a run of seconds.

use std::process::ExitCode;

use miadam_paper::flat_minima::settings::Flags;
use miadam_paper::flat_minima::study;
use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main::<Flags>(study::run)
}
