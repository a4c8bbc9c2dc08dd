//! How an engine embeds MIAdam, in full: a pool of buffers, a tape, a tiny transformer that learns to write like Shakespeare, and
//! everything that an optimizer in an engine has to get along with. One encoder a step, tensors that move, clipping by norm,
//! freezing, checkpoints, a device that is lost, and a CPU to fall back to.
//!
//! `cargo run --release --example engine` needs no flag, no network and no GPU. Read on with `trainer.rs` and `gpu/mod.rs`.
#![forbid(unsafe_code)]

mod args;
mod cpu;
mod device;
mod gpu;
mod model;
mod saved;
mod tape;
mod text;
mod trainer;

use std::io::{self, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use miadam::Checkpoint;
use miadam_support::command_line::{self, wrapped};

use args::Args;
use cpu::CpuDevice;
use device::{Device, Result};
use gpu::GpuDevice;
use saved::Settings;
use text::Text;
use trainer::Trainer;

fn main() -> ExitCode {
    command_line::main(|args| run(args, &mut io::stdout()))
}

/// A run, whatever device it is on at the moment.
struct Run<'a> {
    args: &'a Args,
    text: &'a Text,
    settings: Settings,
    /// Where the run goes on from, should the device be lost.
    last: Option<Checkpoint>,
    /// When to lose the device by hand.
    lose_after: Option<u32>,
}

fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    args.validate()?;
    let (settings, last) = saved::open(args)?;
    if let Some(steps) = last.as_ref().map(Checkpoint::step).filter(|steps| *steps >= args.steps) {
        return Err(format!("--steps {}: the saved run has taken {steps}; choose more", args.steps).into());
    }
    let text = Text::new();
    let (len, chars) = (text.len(), text.chars.len());
    say(out, &format!("text: {len} characters, {chars} of them different"))?;
    let mut run = Run { args, text: &text, settings, last, lose_after: args.lose_device };
    let mut lost_at = None;
    loop {
        // After a loss, this may be the same GPU, another one, or the CPU: a checkpoint fits them all.
        let (gpu, fallback) = args.device.open(&args.adapter)?;
        let name = gpu.as_ref().map_or("CPU", |gpu| &gpu.name);
        say(out, &format!("device: {name}{fallback}"))?;
        if gpu.is_none() && run.lose_after.is_some() {
            let reason = "--lose-device needs a GPU, and this run is on the CPU; drop the flag, or give --device gpu";
            return Err(reason.into());
        }
        let is_done = match gpu {
            Some(gpu) => run.train(GpuDevice::new(gpu)?, out)?,
            None => run.train(CpuDevice, out)?,
        };
        if is_done {
            return Ok(());
        }
        let step = run.step();
        if lost_at.replace(step) == Some(step) {
            return Err(format!("the device was lost twice on the way from step {step}; try --device cpu").into());
        }
        say(out, &format!("the device is lost; going on from step {step} on a new one"))?;
    }
}

impl Run<'_> {
    /// The step that the run goes on from.
    fn step(&self) -> u32 {
        self.last.as_ref().map_or(0, Checkpoint::step)
    }

    /// Trains to the end, or until the device is lost: then the answer is no.
    fn train<D: Device>(&mut self, device: D, out: &mut dyn Write) -> Result<bool> {
        let mut trainer = Trainer::new(device, self.text, self.args, &self.settings, self.last.as_ref())?;
        match self.train_to_end(&mut trainer, out) {
            Ok(()) => Ok(true),
            // Whatever failed, failed for this reason.
            Err(_) if trainer.is_lost() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn train_to_end<D: Device>(&mut self, trainer: &mut Trainer<'_, D>, out: &mut dyn Write) -> Result<()> {
        let bar = progress_bar(self.args.steps, trainer.steps());
        while trainer.steps() < self.args.steps {
            if self.lose_after == Some(trainer.steps()) {
                self.lose_after = None;
                trainer.lose_device();
            }
            trainer.step()?;
            bar.inc(1);
            if trainer.steps().is_multiple_of(self.args.every) || trainer.steps() == self.args.steps {
                let line = self.report(trainer)?;
                bar.suspend(|| say(out, &line))?;
            }
        }
        bar.finish_and_clear();
        let (loss, entropy) = (trainer.held_out_loss()?, self.text.unigram_entropy());
        say(out, &format!("held-out loss: {loss:.3} nats a character; by frequencies alone: {entropy:.3}"))?;
        if self.args.sample > 0 {
            say(out, "a sample:")?;
        }
        for line in trainer.sample(self.args.sample)?.lines() {
            say(out, line)?;
        }
        Ok(())
    }

    /// A line on the steps since the last report, and a checkpoint after them.
    fn report<D: Device>(&mut self, trainer: &mut Trainer<'_, D>) -> Result<String> {
        let (loss, report) = trainer.report(trainer.steps() - self.step())?;
        let checkpoint = trainer.checkpoint()?;
        if let Some(path) = &self.args.checkpoint {
            checkpoint.save(path)?;
        }
        self.last = Some(checkpoint);
        let (step, norm, lr) = (report.step, report.grad_norm.unwrap_or_default(), report.groups[0].lr);
        Ok(format!("step {step}: loss {loss:.3}, gradient norm {norm:.3}, lr {lr:.1e}"))
    }
}

/// A line for people, in lines that fit their terminal.
fn say(out: &mut dyn Write, line: &str) -> io::Result<()> {
    writeln!(out, "{}", wrapped(line))
}

/// A bar on stderr, which shows only if that is a terminal.
fn progress_bar(steps: u32, done: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {eta} left").expect("a valid template");
    ProgressBar::new(steps.into()).with_style(style).with_position(done.into())
}

#[cfg(test)]
mod tests;
