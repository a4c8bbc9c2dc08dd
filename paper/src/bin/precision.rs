//! State in fewer bits: `cargo run --release --bin precision -- --data DIR`; `--quick` takes seconds.

use std::process::ExitCode;

use miadam_paper::precision;
use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main(precision::run)
}
