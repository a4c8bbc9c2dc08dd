//! Table 1 of the paper: ResNet-18, ResNet-50, DenseNet-121 and PyramidNet-110 on CIFAR-10 and CIFAR-100 with all optimizers.
//!
//! `cargo run --release --example cifar -- --smoke` shows that it works; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod device;

mod paper {
    pub mod args;
    pub mod checkpoint;
    pub mod cifar;
    pub mod host;
    pub mod images {
        pub mod cifar;
        pub mod pixels;
    }
    pub mod models {
        pub mod densenet;
        pub mod layers;
        pub mod pyramidnet;
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
    command_line::main(paper::cifar::run)
}
