//! The convolutional network of the Burn Book's guide on handwritten digits, with burn's Adam or with MIAdam.
//!
//! `cargo run --release --example mnist` needs no flag, no network and no GPU; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod device;
mod optimizer;

mod mnist {
    pub mod args;
    pub mod data;
    pub mod model;
    pub mod training;
}

use std::process::ExitCode;

use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main(mnist::training::run)
}
