//! Table 2 of the paper: AlexNet, ResNet-18 and DenseNet-121 on ImageNet with Adam and MIAdam.
//!
//! `cargo run --release --example imagenet -- --smoke` shows that it works; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod device;

mod paper {
    pub mod args;
    pub mod checkpoint;
    pub mod host;
    pub mod imagenet;
    pub mod images {
        pub mod decode;
        pub mod folder;
        pub mod resample;
    }
    pub mod models {
        pub mod alexnet;
        pub mod densenet;
        pub mod layers;
        pub mod resnet;
    }
    pub mod noise;
    pub mod optimizer;
    pub mod results;
    pub mod runs;
    pub mod table;
    pub mod task;
    pub mod train;
}

use std::process::ExitCode;

use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main(paper::imagenet::run)
}
