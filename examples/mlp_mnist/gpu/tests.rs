//! The shaders against the CPU path.

use miadam::{Dtype, Hyperparams};

use super::*;
use crate::cpu::{CpuTrainer, Network};
use crate::random::Random;
use crate::tests::{data, gpu};

fn trainer(gpu: Gpu, data: &Data, weights: &Weights, hyperparams: Hyperparams, batch_size: usize) -> GpuTrainer {
    GpuTrainer::new(gpu, data, weights, Recipe::new(hyperparams, batch_size)).unwrap()
}

/// With this learning rate, weights stay and gradients can be compared.
fn frozen() -> Hyperparams {
    Hyperparams { lr: 0.0, ..Hyperparams::default() }
}

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

/// `found` is in `dtype`, `expected` is not rounded.
fn assert_near(found: &Weights, expected: &Weights, dtype: Dtype) {
    // Half the distance between neighbours, as a part of the value and, for subnormal numbers, at the least.
    let (rounding, least) = match dtype {
        Dtype::F32 => (0.0, 0.0),
        Dtype::F16 => (2.0f32.powi(-11), 2.0f32.powi(-25)),
        Dtype::Bf16 => (2.0f32.powi(-8), 0.0),
    };
    for ((found, expected), name) in found.tensors().into_iter().zip(expected.tensors()).zip(Weights::NAMES) {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            // Sums of up to 784 terms in another order.
            let bound = 1e-5 * largest + rounding * expected.abs() + least;
            assert!((found - expected).abs() <= bound, "{name}[{i}] in {dtype}: {found}, not {expected}");
        }
    }
}

#[test]
fn gradients_equal_those_of_the_cpu() {
    let shapes = [(1, 1), (5, 13), (37, 50), (64, 128), (100, 3)];
    for ((hidden, batch_size), dtype) in shapes.into_iter().flat_map(|shape| DTYPES.map(|dtype| (shape, dtype))) {
        let Some(gpu) = gpu() else { return };
        let data = data(batch_size);
        let mut weights = Weights::random(hidden, &mut Random::new(7, 2));
        for tensor in weights.tensors_mut() {
            let rounded = Values::new(dtype, tensor).single();
            tensor.copy_from_slice(&rounded);
        }
        let recipe = Recipe { dtype, ..Recipe::new(frozen(), batch_size) };
        let mut trainer = GpuTrainer::new(gpu, &data, &weights, recipe).unwrap();
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
    let Some(gpu) = gpu() else { return };
    let data = data(40);
    let weights = Weights::random(12, &mut Random::new(7, 2));
    let mut trainer = trainer(gpu, &data, &weights, frozen(), 33);
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
    assert_near(&trainer.unpack(&trainer.buffers.grads), &network.grads, Dtype::F32);
}

#[test]
fn test_scores_equal_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let data = data(1);
    let weights = Weights::random(20, &mut Random::new(7, 2));
    let found = trainer(gpu, &data, &weights, frozen(), 1).test().unwrap();
    let expected = Network::new(weights).forward(&data.test, &(0..300).collect::<Vec<_>>());
    assert!((found.loss - expected.loss / 300.0).abs() < 1e-5, "{found:?}, not {expected:?} / 300");
    assert_eq!(found.accuracy, expected.accuracy / 300.0);
}

#[test]
fn training_repeats_to_the_bit() {
    let run = |gpu| {
        let data = data(500);
        let weights = Weights::random(20, &mut Random::new(7, 2));
        let mut trainer = trainer(gpu, &data, &weights, Hyperparams::default(), 64);
        let order: Vec<u32> = (0..500).collect();
        let scores = [trainer.epoch(&order), trainer.epoch(&order)];
        (scores, trainer.weights())
    };
    let (Some(first), Some(second)) = (gpu(), gpu()) else { return };
    assert_eq!(run(first), run(second));
}

#[test]
fn training_follows_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let data = data(500);
    let weights = Weights::random(20, &mut Random::new(7, 2));
    // 8 batches per epoch, the integrals in use in the first.
    let hyperparams = Hyperparams { switch_step: 9, ..Hyperparams::default() };
    let mut on_cpu = CpuTrainer::new(data.clone(), weights.clone(), Recipe::new(hyperparams.clone(), 64)).unwrap();
    let mut on_gpu = trainer(gpu, &data, &weights, hyperparams, 64);
    let order: Vec<u32> = (0..500).collect();
    for _ in 0..3 {
        let expected = on_cpu.epoch(&order);
        let found = on_gpu.epoch(&order);
        // Where a gradient is near 0, rounding decides the sign of Adam's step: far less than what a wrong step shows.
        assert!((found.loss - expected.loss).abs() < 1e-3 * expected.loss, "{found:?}, not {expected:?}");
    }
}
