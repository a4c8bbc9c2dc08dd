//! Table 3 of the paper: the texts of R8, R52 and MR with Adam and MIAdam.
//!
//! `cargo run --release --example text_classifier -- --smoke` shows that it works; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod device;

mod paper {
    pub mod args;
    pub mod checkpoint;
    pub mod host;
    pub mod models {
        pub mod encoder;
    }
    pub mod noise;
    pub mod optimizer;
    pub mod results;
    pub mod runs;
    pub mod table;
    pub mod task;
    pub mod text {
        pub mod tokenizer;
        pub mod tsv;
        pub mod weights;
    }
    pub mod text_classifier;
    pub mod train;
}

use std::process::ExitCode;

use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main(paper::text_classifier::run)
}
