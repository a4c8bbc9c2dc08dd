//! The training loop of the guide, from burn's example `custom-training-loop`.

use std::error::Error;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::prelude::*;
use miadam_support::command_line::{say, wrapped};
use miadam_support::mnist::data::Data;

use crate::device;
use crate::mnist::args::Args;
use crate::mnist::data::{MnistBatch, MnistBatcher, dataset};
use crate::mnist::model::{Model, ModelConfig};

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let data = args.data.as_deref().map_or_else(Data::built_in, Data::from_folder)?;
    let (device, name) = device::open(args.device)?;
    say(&wrapped(&format!("device: {name}; optimizer: {}", args.optimizer.name())))?;

    let steps = args.epochs * data.train.len().div_ceil(args.batch_size);
    let training_device = device.clone().autodiff();
    training_device.seed(args.seed);
    let mut model = ModelConfig::new(10, 1024).init(&training_device);
    let mut optim = args.optimizer.init(steps, &training_device)?;

    let loader = || DataLoaderBuilder::new(MnistBatcher::default()).batch_size(args.batch_size);
    let train = loader().shuffle(args.seed).set_device(training_device).build(dataset(&data.train));
    let test = loader().set_device(device).build(dataset(&data.test));

    let mut left = args.steps.unwrap_or(steps);
    for epoch in 1..=args.epochs {
        let mut losses = Vec::new();
        for batch in train.iter().take(left) {
            let batch = batch?;
            let output = model.forward(batch.images);
            let loss = CrossEntropyLossConfig::new().init(&output.device()).forward(output, batch.targets);
            losses.push(loss.clone().detach());
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = optim.step(args.optimizer.lr, model, grads)?;
        }
        left -= losses.len();
        let loss = Tensor::cat(losses, 0).mean().try_into_scalar::<f32>()?;
        say(&format!("epoch {epoch}: training loss {loss:.4}"))?;
        if left == 0 {
            break;
        }
    }
    let accuracy = accuracy(&model.valid(), &*test)?;
    Ok(say(&format!("test accuracy: {:.2} %", 100.0 * accuracy))?)
}

/// The fraction of digits that the model knows.
fn accuracy(model: &Model, digits: &dyn DataLoader<MnistBatch>) -> Result<f64, Box<dyn Error>> {
    let (mut right, mut all) = (0, 0);
    for batch in digits.iter() {
        let MnistBatch { images, targets } = batch?;
        all += targets.dims()[0];
        let guesses = model.forward(images).argmax(1).squeeze_dim(1);
        right += guesses.equal(targets).int().sum().try_into_scalar::<i64>()?;
    }
    Ok(right as f64 / all as f64)
}
