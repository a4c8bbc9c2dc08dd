//! One program for both devices: settings, logging and checkpoints are written once, for any `Optimizer<D>`.
//!
//! `cargo run --release --example fallback`; `WGPU_BACKEND=gl` is a way to see it fall back.

use std::process::ExitCode;

use clap::Parser;
use miadam::wgpu::{self, BufferUsages};
use miadam::{
    Binding, Checkpoint, GradOptions, Hyperparams, MiAdam, OnDevice, Optimizer, Param, ParamGroup, Report, cpu,
};
use miadam_support::{adapter, command_line};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const LEN: usize = 1024;

fn group() -> ParamGroup {
    ParamGroup::new(Hyperparams::default(), [Param::new("w", LEN)])
}

/// Training on any device. `step` takes a step, and `read` gives the numbers and the checkpoint.
fn train<D: OnDevice>(
    mut optimizer: Optimizer<D>,
    mut step: impl FnMut(&mut Optimizer<D>) -> Result<()>,
    read: impl Fn(&Optimizer<D>) -> Result<(Report, Checkpoint)>,
) -> Result<()> {
    optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() })?;
    let file = std::env::temp_dir().join("miadam-fallback.safetensors");
    if file.exists() {
        optimizer.load(&Checkpoint::open(&file)?)?;
    }
    for _ in 0..100 {
        step(&mut optimizer)?;
    }
    let (report, checkpoint) = read(&optimizer)?;
    let norm = report.grad_norm.unwrap_or_default();
    command_line::say(&format!("step {}: gradient norm {norm}, lr {}", report.step, report.groups[0].lr))?;
    Ok(checkpoint.save(&file)?)
}

fn on_gpu(adapter: &wgpu::Adapter) -> Result<()> {
    let (device, queue) = adapter::open(adapter, wgpu::Limits::default())?;
    let pool = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("w and its gradient"),
        size: 8 * LEN as u64,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    // A host's kernels would compute the gradient of each step.
    queue.write_buffer(&pool, 4 * LEN as u64, &0.01_f32.to_ne_bytes().repeat(LEN));
    let optimizer = MiAdam::new(&device, &queue, [group()], [Binding::new("w", &pool, (&pool, 4 * LEN as u64))])?;
    let step = |optimizer: &mut MiAdam| {
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        Ok(())
    };
    let read = |optimizer: &MiAdam| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let (report, checkpoint) =
            (optimizer.read_report(&mut encoder)?, optimizer.read_checkpoint(&mut encoder, false)?);
        queue.submit([encoder.finish()]);
        Ok((report.wait()?, checkpoint.wait()?))
    };
    train(optimizer, step, read)
}

fn on_cpu() -> Result<()> {
    let (mut w, mut gradient) = (vec![0.0_f32; LEN], vec![0.01_f32; LEN]);
    let step = |optimizer: &mut cpu::MiAdam| Ok(optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?);
    train(cpu::MiAdam::new([group()])?, step, |optimizer| Ok((optimizer.read_report(), optimizer.read_checkpoint())))
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    adapter: adapter::AdapterFlags,
}

fn main() -> ExitCode {
    command_line::main(|flags: &Flags| match flags.adapter.choose() {
        Ok(adapter) => on_gpu(&adapter),
        Err(error) if error.is_missing() => on_cpu(),
        Err(error) => Err(error.into()),
    })
}
