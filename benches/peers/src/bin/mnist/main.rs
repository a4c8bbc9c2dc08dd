//! The network of the example `mlp_mnist`, trained by burn on wgpu with fusion, to compare the seconds of an epoch.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin mnist -- [--data DIR]`

mod samples;
mod training;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use miadam_peers::device;
use miadam_support::adapter;
use miadam_support::command_line::{self, say};
use miadam_support::mnist::data::Data;
use miadam_support::mnist::random::Random;
use samples::DeviceSamples;
use training::Training;

#[derive(Parser)]
#[command(about = "Trains the network of mlp_mnist with burn")]
struct Flags {
    /// Folder of the four MNIST IDX files, plain or gzipped [default: 10,000 digits compiled in]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training digits; in the first, burn compiles and tunes its kernels
    #[arg(long, default_value_t = 4)]
    epochs: u32,
    /// Digits in a batch
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=8192))]
    batch_size: u32,
    /// Seed of the batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let data = flags.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
    let batch_size = flags.batch_size as usize;
    let adapter = device::adapter()?.get_info();
    say(&format!("device: {}", adapter::description(&adapter)))?;

    let device = device::of_kind(adapter.device_type);
    let train = DeviceSamples::new(&data.train, batch_size, &device);
    let test = DeviceSamples::new(&data.test, batch_size, &device);
    let mut training = Training::new(&device);
    device.sync()?;
    let mut random = Random::new(flags.seed, 1);
    for epoch in 1..=flags.epochs {
        let order = train.shuffled(&mut random);
        let start = Instant::now();
        let loss = training.epoch(&train, &order)?;
        let seconds = start.elapsed().as_secs_f64();
        let accuracy = 100.0 * training.accuracy(&test)?;
        say(&format!("epoch {epoch}: train loss {loss:.4}, test accuracy {accuracy:.2} %, {seconds:.3} s"))?;
    }
    Ok(())
}
