//! One run: an optimizer trains a network, epoch by epoch.

use std::error::Error;
use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::prelude::*;
use miadam_support::mnist::random::Random;

use crate::paper::args::Recipe;
use crate::paper::noise;
use crate::paper::optimizer::{Kind, Optimizer};
use crate::paper::results::Row;
use crate::paper::task::{Part, Task};

/// The stream of random numbers that the order of the samples is drawn from; each batch has one of its own above it.
const STREAM: u64 = 21;

/// Batches that are prepared ahead.
const AHEAD: usize = 2;

pub struct Run<'a, T: Task> {
    task: &'a T,
    recipe: &'a Recipe,
    seed: u64,
    device: &'a Device,
    /// The labels that it learns, some of them wrong.
    labels: Vec<usize>,
    pub model: T::Model,
    pub optimizer: Optimizer,
}

impl<'a, T: Task> Run<'a, T> {
    pub fn new(
        task: &'a T,
        recipe: &'a Recipe,
        kind: Kind,
        seed: u64,
        device: &'a Device,
    ) -> Result<Self, Box<dyn Error>> {
        let mut labels = task.labels(Part::Train).to_vec();
        noise::spoil(&mut labels, task.classes(), recipe.label_noise, recipe.noise_from, seed);
        let training = device.clone().autodiff();
        training.seed(seed);
        let model = task.model(&training)?.materialize();
        let optimizer = Optimizer::new(kind, recipe, labels.len().div_ceil(recipe.batch_size), device)?;
        Ok(Self { task, recipe, seed, device, labels, model, optimizer })
    }

    /// Trains for an epoch, counted from 1, and tests. All random numbers follow from the seed and the epoch.
    pub fn epoch(mut self, epoch: usize) -> Result<(Self, Row), Box<dyn Error>> {
        let start = Instant::now();
        let (task, seed, training) = (self.task, self.seed, self.device.clone().autodiff());
        // For dropout.
        training.seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(epoch as u64));
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        Random::new(seed, STREAM + epoch as u64).shuffle(&mut order);
        let lr = self.optimizer.lr_in(epoch)?;
        let batches: Vec<&[usize]> = order.chunks(self.recipe.batch_size).collect();
        let prepare = |number: usize| {
            let stream = STREAM + ((epoch as u64) << 32) + ((number as u64 + 1) << 8);
            task.inputs(Part::Train, batches[number], Some(&mut Random::new(seed, stream)))
        };

        let (mut losses, mut model) = (Vec::new(), Some(self.model));
        let mut bar = Bar::new(batches.len());
        ahead(batches.len(), prepare, |number, inputs| {
            let Some(own) = model.take() else { return Ok(()) };
            let targets = batches[number].iter().map(|sample| self.labels[*sample]).collect::<Vec<_>>();
            let scores = task.scores(&own, inputs, &training);
            let loss = CrossEntropyLossConfig::new().init(&training).forward(scores, classes(&targets, &training));
            losses.push(loss.clone().inner());
            let grads = GradientsParams::from_grads(loss.backward(), &own);
            model = Some(self.optimizer.step(lr, own, grads)?);
            bar.step();
            Ok(())
        })?;
        self.model = model.ok_or("the last step gave no network back")?;
        let train_loss = Tensor::cat(losses, 0).mean().try_into_scalar::<f32>()?;
        let test_accuracy = self.accuracy()?;
        bar.clear();
        Ok((self, Row { epoch, train_loss, test_accuracy, seconds: start.elapsed().as_secs_f64() }))
    }

    /// Test samples that the network knows, in percent.
    fn accuracy(&self) -> Result<f64, Box<dyn Error>> {
        let (task, device, model) = (self.task, self.device, self.model.valid());
        let labels = task.labels(Part::Test);
        let samples: Vec<usize> = (0..labels.len()).collect();
        let batches: Vec<&[usize]> = samples.chunks(self.recipe.batch_size).collect();
        let mut right = Vec::new();
        let prepare = |number: usize| task.inputs(Part::Test, batches[number], None);
        ahead(batches.len(), prepare, |number, inputs| {
            let targets = batches[number].iter().map(|sample| labels[*sample]).collect::<Vec<_>>();
            let guesses = task.scores(&model, inputs, device).argmax(1).squeeze_dim(1);
            right.push(guesses.equal(classes(&targets, device)).int().sum());
            Ok(())
        })?;
        let right = Tensor::cat(right, 0).sum().try_into_scalar::<i64>()?;
        Ok(100.0 * right as f64 / labels.len() as f64)
    }
}

fn classes(labels: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = labels.iter().map(|label| *label as i32).collect();
    let len = labels.len();
    Tensor::from_data(TensorData::new(labels, [len]), device)
}

/// Prepares batches on another thread while the device works on those before.
fn ahead<I: Send>(
    batches: usize,
    prepare: impl Fn(usize) -> Result<I, String> + Sync,
    mut each: impl FnMut(usize, I) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let prepare = &prepare;
        scope.spawn(move || {
            // Nobody takes any more after an error.
            let _ = (0..batches).try_for_each(|number| sender.send(prepare(number)));
        });
        for (number, inputs) in receiver.into_iter().enumerate() {
            each(number, inputs?)?;
        }
        Ok(())
    })
}

/// How far an epoch is, for somebody who looks on.
struct Bar {
    all: usize,
    done: usize,
    shown: Option<Instant>,
}

impl Bar {
    fn new(all: usize) -> Self {
        Self { all, done: 0, shown: stderr().is_terminal().then(Instant::now) }
    }

    fn step(&mut self) {
        self.done += 1;
        if let Some(shown) = &mut self.shown
            && shown.elapsed() > Duration::from_millis(500)
        {
            *shown = Instant::now();
            let width = 40 * self.done / self.all;
            let _ = write!(stderr(), "\r[{:40}] batch {} of {}", "#".repeat(width), self.done, self.all);
        }
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r{:80}\r", "");
        }
    }
}
