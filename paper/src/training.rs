//! One run: digits with wrong labels, a network, an optimizer and its learning rates.

use std::error::Error;
use std::time::Instant;

use clap::ValueEnum;
use miadam_support::mnist::data::{Data, Samples};
use miadam_support::mnist::network::{CLASSES, INPUTS, Score, Weights};
use miadam_support::mnist::on_cpu::Network;
use miadam_support::mnist::random::Random;
use serde::{Deserialize, Serialize};

use crate::optimizers::{Tensor, Units};
use crate::setting::Setting;

/// What a run learns from, and what its accuracy is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// All training digits; the test digits.
    Test,
    /// The training digits but for the last sixth; that sixth, its labels as wrong as the others. Settings are chosen by this.
    Validation,
}

/// Everything that decides on a run's numbers, but for the digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub setting: Setting,
    /// The part of the training labels that are wrong: each of these is another class, all other classes alike.
    pub noise: f64,
    /// Of the weights, the batches and the noise. Runs of one seed share all three.
    pub seed: u64,
    pub epochs: u32,
    /// Digits in a batch.
    pub batch: usize,
    /// Units in the hidden layer.
    pub hidden: usize,
    pub split: Split,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// After the last epoch.
    pub last: f64,
    /// After the best epoch. The choice is by the same digits, so that it flatters: the authors report this one.
    pub best: f64,
    /// The mean loss over the last epoch, in nats, each batch before its own step.
    pub train_loss: f64,
    /// The time of training, with testing.
    pub seconds: f64,
    /// The accuracy after each epoch.
    pub curve: Curve,
}

/// Numbers of one field of a table, apart by spaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Curve(pub Vec<f64>);

impl From<Curve> for String {
    fn from(Curve(values): Curve) -> Self {
        values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl TryFrom<String> for Curve {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A network that has been trained.
pub struct Trained {
    pub network: Network,
    pub outcome: Outcome,
}

impl Run {
    /// What the run learns from, with its wrong labels.
    pub fn train_samples(&self, data: &Data) -> Samples {
        self.samples(data).0
    }

    fn samples(&self, data: &Data) -> (Samples, Samples) {
        let mut train = data.train.clone();
        train.add_label_noise(self.noise, &mut Random::new(self.seed, 3));
        match self.split {
            Split::Test => (train, data.test.clone()),
            Split::Validation => {
                let kept = train.len() - train.len() / 6;
                let held_out =
                    Samples { images: train.images.split_off(kept * INPUTS), labels: train.labels.split_off(kept) };
                (train, held_out)
            }
        }
    }

    /// Trains on one thread of the current pool, and tells `progress` of each epoch.
    pub fn train(&self, data: &Data, progress: &dyn Fn()) -> Result<Trained, Box<dyn Error + Send + Sync>> {
        let start = Instant::now();
        let (train, test) = self.samples(data);
        let steps = train.len().div_ceil(self.batch) as u32 * self.epochs;
        let mut rates = self.setting.rates(steps).into_iter();
        let mut optimizer = self.setting.optimizer(steps);
        let mut network = Network::new(Weights::random(self.hidden, &mut Random::new(self.seed, 2)));
        optimizer.prepare(&mut tensors(&mut network));
        let mut order: Vec<u32> = (0..train.len() as u32).collect();
        let mut random = Random::new(self.seed, 1);
        let (mut curve, mut train_loss) = (Vec::new(), 0.0);
        for _ in 0..self.epochs {
            random.shuffle(&mut order);
            let mut total = Score::default();
            for (batch, rate) in order.chunks(self.batch).zip(&mut rates) {
                total.add(network.forward(&train, batch));
                network.backward();
                optimizer.step(rate, &mut tensors(&mut network))?;
            }
            train_loss = total.loss / train.len() as f64;
            optimizer.swap_averages(&mut tensors(&mut network))?;
            curve.push(accuracy(&mut network, &test));
            optimizer.swap_averages(&mut tensors(&mut network))?;
            progress();
        }
        // What is tested is what is handed on.
        optimizer.swap_averages(&mut tensors(&mut network))?;
        let last = curve.last().copied().unwrap_or_default();
        let best = curve.iter().copied().fold(0.0, f64::max);
        let seconds = (start.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        Ok(Trained { network, outcome: Outcome { last, best, train_loss, seconds, curve: Curve(curve) } })
    }
}

/// The network's parameters with their gradients.
pub fn tensors(network: &mut Network) -> [Tensor<'_>; 4] {
    let hidden = network.weights.hidden();
    // W1 has a column, W2 a row for each unit.
    let units = [Units::Columns(hidden), Units::None, Units::Rows(CLASSES), Units::None];
    let Network { weights, grads, .. } = network;
    let mut parts = Weights::NAMES.into_iter().zip(weights.tensors_mut()).zip(grads.tensors_mut()).zip(units);
    std::array::from_fn(|_| {
        let (((name, values), grads), units) = parts.next().expect("four of each");
        Tensor { name, values, grads, units }
    })
}

/// The fraction of samples that are classified as labelled.
pub fn accuracy(network: &mut Network, samples: &Samples) -> f64 {
    let all: Vec<u32> = (0..samples.len() as u32).collect();
    let correct: f64 = all.chunks(256).map(|batch| network.forward(samples, batch).accuracy).sum();
    correct / samples.len() as f64
}
