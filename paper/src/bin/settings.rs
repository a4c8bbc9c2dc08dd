//! Heat maps of MIAdam's settings: `cargo run --release --bin settings`; `--quick` takes seconds.

use std::process::ExitCode;

use miadam_paper::settings;
use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main(settings::run)
}
