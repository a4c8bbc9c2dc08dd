//! The shaders against the CPU path.

use miadam::{Dtype, Hyperparams};
use miadam_support::mnist::random::Random;
use miadam_support::values::Values;

use super::*;
use crate::cpu::CpuTrainer;
use crate::tests::{data, gpu};
use miadam_support::mnist::on_cpu::Network;

/// A trainer, and the data and the weights of so many hidden units that it begins with, rounded to its type.
fn setup(hidden: usize, samples: usize, recipe: Recipe) -> Option<(GpuTrainer, Data, Weights)> {
    let (gpu, data) = (gpu()?, data(samples));
    let mut weights = Weights::random(hidden, &mut Random::new(7, 2));
    for tensor in weights.tensors_mut() {
        let rounded = Values::new(recipe.dtype, tensor).single();
        tensor.copy_from_slice(&rounded);
    }
    Some((GpuTrainer::new(gpu, &data, &weights, recipe).unwrap(), data, weights))
}

/// With this learning rate, weights stay and gradients can be compared.
fn frozen() -> Hyperparams {
    Hyperparams { lr: 0.0, ..Hyperparams::default() }
}

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

/// `found` is in `dtype`, `expected` is not rounded.
fn assert_near(found: &Weights, expected: &Weights, dtype: Dtype) {
    // Half the distance between neighbours: as a part of the value, and the least that it is, among subnormal numbers.
    let (rounding, least) = match dtype {
        Dtype::F32 => (0.0, 0.0),
        Dtype::F16 => (2.0f32.powi(-11), 2.0f32.powi(-25)),
        Dtype::Bf16 => (2.0f32.powi(-8), 0.0),
    };
    for ((found, expected), name) in found.tensors().into_iter().zip(expected.tensors()).zip(Weights::NAMES) {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            // The sums have up to 784 terms, in another order.
            let bound = 1e-5 * largest + rounding * expected.abs() + least;
            assert!((found - expected).abs() <= bound, "{name}[{i}] in {dtype}: {found}, not {expected}");
        }
    }
}

#[test]
fn gradients_equal_those_of_the_cpu() {
    let shapes = [(1, 1), (5, 13), (37, 50), (64, 128), (100, 3)];
    for ((hidden, batch_size), dtype) in shapes.into_iter().flat_map(|shape| DTYPES.map(|dtype| (shape, dtype))) {
        let recipe = Recipe { dtype, ..Recipe::new(frozen(), batch_size) };
        let Some((mut trainer, data, weights)) = setup(hidden, batch_size, recipe) else { return };
        let mut order: Vec<u32> = (0..batch_size as u32).collect();
        Random::new(7, 1).shuffle(&mut order);

        let found = trainer.epoch(&order);
        let mut network = Network::new(weights);
        let expected = network.forward(&data.train, &order);
        network.backward();

        let grads = trainer.pool(&trainer.buffers.grads);
        assert_near(&trainer.layout.unpack(&grads), &network.grads, dtype);
        assert_eq!(
            trainer.layout.pack(&trainer.layout.unpack(&grads)),
            grads,
            "hidden {hidden}, batch {batch_size}, {dtype}: padding has gradients"
        );
        let loss = expected.loss / batch_size as f64;
        assert!((found.loss - loss).abs() <= 1e-5 * loss, "{found:?}, not {loss}");
        assert_eq!(found.accuracy, expected.accuracy / batch_size as f64);
    }
}

#[test]
fn a_short_last_batch_is_averaged_over_its_own_size() {
    let Some((mut trainer, data, weights)) = setup(12, 40, Recipe::new(frozen(), 33)) else { return };
    let order: Vec<u32> = (0..40).rev().collect();
    let mut seen = 0;
    let mut count = |samples| {
        seen += samples;
        true
    };
    trainer.train(&order, &mut Passed::default(), &mut count).unwrap();
    assert_eq!(seen, 40);

    let mut network = Network::new(weights);
    network.forward(&data.train, &order[33..]);
    network.backward();
    assert_near(&trainer.layout.unpack(&trainer.pool(&trainer.buffers.grads)), &network.grads, Dtype::F32);
}

#[test]
fn test_scores_equal_those_of_the_cpu() {
    let Some((mut trainer, data, weights)) = setup(20, 1, Recipe::new(frozen(), 1)) else { return };
    let found = trainer.test().unwrap();
    let expected = Network::new(weights).forward(&data.test, &(0..300).collect::<Vec<_>>());
    assert!((found.loss - expected.loss / 300.0).abs() < 1e-5, "{found:?}, not {expected:?} / 300");
    assert_eq!(found.accuracy, expected.accuracy / 300.0);
}

#[test]
fn training_repeats_to_the_bit() {
    let run = || {
        let (mut trainer, ..) = setup(20, 500, Recipe::new(Hyperparams::default(), 64))?;
        let order: Vec<u32> = (0..500).collect();
        let scores = [trainer.epoch(&order), trainer.epoch(&order)];
        Some((scores, trainer.weights()))
    };
    assert_eq!(run(), run());
}

#[test]
fn training_follows_the_cpu() {
    // 8 batches per epoch, the integrals in use in the first.
    let hyperparams = Hyperparams { switch_step: 9, ..Hyperparams::default() };
    let recipe = Recipe::new(hyperparams, 64);
    let Some((mut on_gpu, data, weights)) = setup(20, 500, recipe.clone()) else { return };
    let mut on_cpu = CpuTrainer::new(data, weights, recipe).unwrap();
    let order: Vec<u32> = (0..500).collect();
    for _ in 0..3 {
        let expected = on_cpu.epoch(&order);
        let found = on_gpu.epoch(&order);
        // Where a gradient is near 0, rounding decides the sign of Adam's step: far less than what a wrong step shows.
        assert!((found.loss - expected.loss).abs() < 1e-3 * expected.loss, "{found:?}, not {expected:?}");
    }
}
