//! Figure 3 of the paper: how flat is the loss where each optimizer ends? See `--help`.

use std::process::ExitCode;

use miadam_paper::sharpness::plan::Flags;
use miadam_paper::sharpness::study;
use miadam_support::command_line;

fn main() -> ExitCode {
    command_line::main::<Flags>(study::run)
}
