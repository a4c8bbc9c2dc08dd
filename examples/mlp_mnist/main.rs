//! A 784-256-10 network on handwritten digits, trained with MIAdam on the GPU or on the CPU.
//!
//! `cargo run --release --example mlp_mnist` needs no flag, no network and no GPU; `-- --help` shows the flags.
#![forbid(unsafe_code)]

mod args;
#[path = "../shared/command_line.rs"]
mod command_line;
mod cpu;
mod data;
mod gpu;
mod metrics;
mod network;
mod options;
mod random;
mod recipe;
#[path = "../shared/wait.rs"]
mod wait;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use env_logger::Env;
use indicatif::{ProgressBar, ProgressStyle};

use args::{Args, DeviceKind};
use cpu::CpuTrainer;
use data::Data;
use gpu::{Gpu, GpuTrainer};
use metrics::{Epoch, Metrics, StepNumbers};
use network::{Trainer, Weights};
use random::Random;

fn main() -> ExitCode {
    // Drivers' and libraries' own messages only on request.
    env_logger::init_from_env(Env::default().default_filter_or("off,miadam=warn,mlp_mnist=warn"));
    command_line::main(run)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    args.validate()?;
    let mut data = args.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
    let metrics = args.metrics.as_deref().map(Metrics::create).transpose()?;
    data.train.add_label_noise(args.label_noise, &mut Random::new(args.seed, 0));
    let samples = data.train.len();
    let recipe = args.recipe(samples)?;
    let weights = Weights::random(args.hidden, &mut Random::new(args.seed, 2));

    let (gpu, fallback) = choose_device(args)?;
    let device = gpu.as_ref().map_or_else(|| "CPU".to_owned(), |gpu| gpu.name.clone());
    say(&format!("device: {device}{fallback}"))?;
    let mut trainer: Box<dyn Trainer> = match gpu {
        Some(gpu) => Box::new(GpuTrainer::new(gpu, &data, &weights, recipe)?),
        None => Box::new(CpuTrainer::new(data, weights, recipe)?),
    };
    let accuracy = train(args, &mut *trainer, samples, &device, metrics)?;
    say(&format!("test accuracy: {:.2} %", 100.0 * accuracy))
}

/// All epochs, each reported when it is done. Returns the last test accuracy.
fn train(
    args: &Args,
    trainer: &mut dyn Trainer,
    samples: usize,
    device: &str,
    mut metrics: Option<Metrics>,
) -> Result<f64, Box<dyn Error>> {
    let mut order: Vec<u32> = (0..samples as u32).collect();
    let mut random = Random::new(args.seed, 1);
    let bar = progress_bar(u64::from(args.epochs) * samples as u64);
    let mut accuracy = 0.0;
    for epoch in 1..=args.epochs {
        random.shuffle(&mut order);
        let start = Instant::now();
        let train = trainer.train(&order, &mut |len| bar.inc(len as u64))?;
        let seconds = start.elapsed().as_secs_f64();
        let test = trainer.test()?;
        accuracy = test.accuracy;
        let report = Epoch {
            epoch,
            train_loss: train.loss,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            seconds,
            device,
            step: StepNumbers::new(&trainer.report()?, &args.options.grad_options()),
        };
        bar.suspend(|| say(&report.to_string()))?;
        if let Some(metrics) = &mut metrics {
            metrics.write(&report)?;
        }
    }
    bar.finish_and_clear();
    Ok(accuracy)
}

/// The GPU, or none and, if it is not the user who chose the CPU, why.
fn choose_device(args: &Args) -> Result<(Option<Gpu>, String), Box<dyn Error>> {
    let gpu = match (args.device, &args.adapter) {
        (DeviceKind::Cpu, _) => None,
        (_, Some(name)) => Some(gpu::open_named(name)?),
        (DeviceKind::Gpu, None) => Some(gpu::open_any()?),
        (DeviceKind::Auto, None) => match gpu::open_hardware() {
            Ok(Some(gpu)) => Some(gpu),
            Ok(None) => return Ok((None, " (there is no hardware GPU)".to_owned())),
            Err(error) => return Ok((None, format!(" ({error})"))),
        },
    };
    Ok((gpu, String::new()))
}

/// On stderr, and only if that is a terminal.
fn progress_bar(samples: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {eta} left").expect("a valid template");
    ProgressBar::new(samples).with_style(style)
}

/// A line on stdout; unlike `println`, a closed pipe is an error and not a panic.
fn say(line: &str) -> Result<(), Box<dyn Error>> {
    writeln!(io::stdout(), "{line}").map_err(|error| format!("stdout: {error}; keep it open").into())
}

#[cfg(test)]
mod tests;
