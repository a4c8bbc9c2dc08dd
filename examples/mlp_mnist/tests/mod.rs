//! What training does on the CPU and on the GPU.

mod flags;
mod half;
mod options;

use miadam::wgpu::Limits;
use miadam::{Hyperparams, Report};
use miadam_support::gpu::Gpu;
use miadam_support::mnist::data::{Data, Samples};
use miadam_support::mnist::network::{INPUTS, Weights};
use miadam_support::mnist::random::Random;

use crate::cpu::CpuTrainer;
use crate::gpu::GpuTrainer;
use crate::recipe::Recipe;
use crate::trainer::Trainer;

pub fn gpu() -> Option<Gpu> {
    Gpu::for_test(Limits::default())
}

/// So many of the built-in digits, and the first 300 of them to test on: more than a batch, and no multiple of 8.
pub fn data(samples: usize) -> Data {
    let all = Data::built_in().unwrap().train;
    let first = |count| Samples { images: all.images[..count * INPUTS].to_vec(), labels: all.labels[..count].to_vec() };
    Data { train: first(samples), test: first(300) }
}

/// Where to train.
#[derive(Debug, Clone, Copy)]
enum On {
    Cpu,
    Gpu,
}

/// The devices that there are.
fn devices() -> Vec<On> {
    let mut devices = vec![On::Cpu];
    devices.extend(gpu().map(|_| On::Gpu));
    devices
}

/// What a training leaves behind.
struct Outcome {
    weights: Weights,
    report: Report,
}

fn weights() -> Weights {
    Weights::random(24, &mut Random::new(7, 2))
}

fn trainer(on: On, samples: usize, weights: Weights, recipe: Recipe) -> Box<dyn Trainer> {
    let data = data(samples);
    match on {
        On::Cpu => Box::new(CpuTrainer::new(data, weights, recipe).unwrap()),
        On::Gpu => Box::new(GpuTrainer::new(gpu().unwrap(), &data, &weights, recipe).unwrap()),
    }
}

/// So many epochs over so many samples in their own order.
fn train_from(weights: Weights, on: On, samples: usize, recipe: Recipe, epochs: usize) -> Outcome {
    let mut trainer = trainer(on, samples, weights, recipe);
    let order: Vec<u32> = (0..samples as u32).collect();
    for _ in 0..epochs {
        trainer.epoch(&order);
    }
    Outcome { report: trainer.report().unwrap(), weights: trainer.weights() }
}

fn train(on: On, samples: usize, recipe: Recipe) -> Outcome {
    train_from(weights(), on, samples, recipe, 1)
}

/// A step all but proportional to the gradient. Adam's own is its sign, in effect, and where a gradient is near 0,
/// rounding decides that.
fn smooth() -> Hyperparams {
    Hyperparams { lr: 0.3, eps: 1.0, ..Hyperparams::default() }
}

/// The furthest that an element of each tensor has moved from its first value.
fn moves(start: &Weights, weights: &Weights) -> [f32; 4] {
    std::array::from_fn(|tensor| {
        let pairs = weights.tensors()[tensor].iter().zip(start.tensors()[tensor]);
        pairs.fold(0.0, |most, (weight, start)| (weight - start).abs().max(most))
    })
}

/// The two may differ by a hundred-thousandth of the way that the tensor went, and in the last bits of the weights
/// themselves.
fn assert_near(found: &Weights, expected: &Weights, start: &Weights, what: &str) {
    let moves = moves(start, expected);
    for (tensor, (found, expected)) in found.tensors().into_iter().zip(expected.tensors()).enumerate() {
        assert!(moves[tensor] > 1e-4, "{what}: {} hardly moved", Weights::NAMES[tensor]);
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let bound = 1e-5 * moves[tensor] + 4.0 * f32::EPSILON * expected.abs();
            let name = Weights::NAMES[tensor];
            assert!((found - expected).abs() <= bound, "{what}: {name}[{i}] is {found}, not {expected}");
        }
    }
}
