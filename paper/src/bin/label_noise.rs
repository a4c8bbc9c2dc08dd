//! Table 4 of the paper on complete MNIST: `cargo run --release --bin label_noise -- --data DIR`; `--quick` takes minutes.

use std::process::ExitCode;

use miadam_paper::label_noise;
use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main(label_noise::run)
}
