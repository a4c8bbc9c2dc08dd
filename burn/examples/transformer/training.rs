//! The training loop.

use std::error::Error;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::prelude::*;
use miadam_support::command_line::{say, wrapped};
use miadam_support::mnist::random::Random;

use crate::device;
use crate::transformer::args::Args;
use crate::transformer::metrics::{Line, Metrics};
use crate::transformer::model::Model;
use crate::transformer::text::Text;

/// Steps between two lines.
const EVERY: usize = 50;

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut metrics = args.metrics.as_deref().map(Metrics::create).transpose()?;
    let (device, name) = device::open(args.device)?;
    let optimizer = args.optimizer.name();
    say(&wrapped(&format!("device: {name}; optimizer: {optimizer}")))?;

    let text = Text::new();
    let training_device = device.clone().autodiff();
    training_device.seed(args.seed);
    let mut model = Model::new(text.chars, &training_device);
    let mut optim = args.optimizer.init(args.steps, &training_device)?;

    let (mut random, start) = (Random::new(args.seed, 1), Instant::now());
    let mut losses = 0.0;
    for step in 1..=args.steps {
        let loss = model.loss(text.batch(args.batch_size, &mut random, &training_device));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optim.step(args.optimizer.lr, model, grads)?;

        let (loss, seconds) = (loss.try_into_scalar::<f32>()?, start.elapsed().as_secs_f64());
        if let Some(metrics) = &mut metrics {
            metrics.write(&Line { step, loss, seconds, optimizer: optimizer.clone(), device: name.clone() })?;
        }
        losses += loss;
        if step.is_multiple_of(EVERY) {
            say(&format!("step {step}: training loss {:.3}, {seconds:.1} s", losses / EVERY as f32))?;
            losses = 0.0;
        }
    }
    Ok(say(&format!("held-out loss: {:.3} nats a character", held_out_loss(&model.valid(), &text, &device)?))?)
}

fn held_out_loss(model: &Model, text: &Text, device: &Device) -> Result<f32, Box<dyn Error>> {
    let losses: Vec<_> = text.held_out(16, device).map(|batch| model.loss(batch)).collect();
    Ok(Tensor::cat(losses, 0).mean().try_into_scalar()?)
}
