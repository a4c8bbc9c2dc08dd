//! Training on the CPU twin, on one thread.

use miadam::{Checkpoint, ParamGroup, cpu};

use crate::Result;
use crate::digits::Digits;
use crate::mnist::network::{CLASSES, INPUTS, Score, Weights};
use crate::settings::Settings;

/// Elements of b2 as the GPU has it, so that either device can go on from the other's checkpoint. The last two stay 0.
pub const CLASSES_PADDED: usize = 12;

pub struct CpuTrainer {
    weights: Weights,
    grads: Weights,
    optimizer: cpu::MiAdam,
}

impl CpuTrainer {
    /// Adam and MIAdam.
    pub fn pair(settings: &Settings, weights: &Weights) -> Result<[Self; 2]> {
        let mut weights = weights.clone();
        weights.b2.resize(CLASSES_PADDED, 0.0);
        let [adam, miadam] = settings.groups(weights.tensors().map(<[f32]>::len));
        Ok([Self::new(adam, &weights)?, Self::new(miadam, &weights)?])
    }

    fn new(group: ParamGroup, weights: &Weights) -> Result<Self> {
        let mut grads = Weights::zeros(weights.hidden());
        grads.b2.resize(CLASSES_PADDED, 0.0);
        let optimizer = cpu::MiAdam::new([group]).map_err(|error| format!("{error}."))?;
        Ok(Self { weights: weights.clone(), grads, optimizer })
    }

    /// One step by a batch. Gives the sums of its loss and of its correct answers.
    pub fn step(&mut self, digits: &Digits, batch: &[u32]) -> Result<Score> {
        let score = self.backward(digits, batch);
        let params = self.weights.tensors_mut().into_iter().zip(self.grads.tensors_mut());
        let bindings = Weights::NAMES.into_iter().zip(params);
        let bindings = bindings.map(|(name, (param, grad))| cpu::Binding::new(name, param, grad));
        self.optimizer.step(bindings).map_err(|error| format!("{error}."))?;
        Ok(score)
    }

    fn backward(&mut self, digits: &Digits, batch: &[u32]) -> Score {
        let mut total = Score::default();
        self.grads.tensors_mut().into_iter().for_each(|tensor| tensor.fill(0.0));
        let hidden = self.weights.hidden();
        let mut dhidden = vec![0.0; hidden];
        for &sample in batch {
            let sample = sample as usize;
            let (pixels, label) = (&digits.images[INPUTS * sample..][..INPUTS], usize::from(digits.labels[sample]));
            let (active, mut dlogits) = self.probabilities(pixels);
            total.add(score(&dlogits, label));
            dlogits[label] -= 1.0;
            dlogits.iter_mut().for_each(|dlogit| *dlogit /= batch.len() as f32);

            dhidden.fill(0.0);
            for (class, &dlogit) in dlogits.iter().enumerate() {
                let row = class * hidden..(class + 1) * hidden;
                add_scaled(&mut dhidden, &self.weights.w2[row.clone()], dlogit);
                add_scaled(&mut self.grads.w2[row], &active, dlogit);
                self.grads.b2[class] += dlogit;
            }
            for (gradient, &value) in dhidden.iter_mut().zip(&active) {
                *gradient = if value > 0.0 { *gradient } else { 0.0 };
            }
            add_scaled(&mut self.grads.b1, &dhidden, 1.0);
            for (pixel, row) in
                pixels.iter().zip(self.grads.w1.chunks_exact_mut(hidden)).filter(|(pixel, _)| **pixel > 0)
            {
                add_scaled(row, &dhidden, f32::from(*pixel) / 255.0);
            }
        }
        total
    }

    /// The hidden units and the probabilities of the classes. Most pixels are 0, and cost nothing.
    fn probabilities(&self, pixels: &[u8]) -> (Vec<f32>, [f32; CLASSES]) {
        let Weights { w1, b1, w2, b2 } = &self.weights;
        let mut active = b1.clone();
        for (pixel, row) in pixels.iter().zip(w1.chunks_exact(b1.len())).filter(|(pixel, _)| **pixel > 0) {
            add_scaled(&mut active, row, f32::from(*pixel) / 255.0);
        }
        active.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut logits = [0.0; CLASSES];
        for ((logit, row), bias) in logits.iter_mut().zip(w2.chunks_exact(b1.len())).zip(b2) {
            *logit = bias + active.iter().zip(row).map(|(value, weight)| value * weight).sum::<f32>();
        }
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials = logits.map(|logit| (logit - largest).exp());
        let sum: f32 = exponentials.iter().sum();
        (active, exponentials.map(|exponential| exponential / sum))
    }

    /// The sums of loss and correct answers over the digits held out.
    pub fn test(&self, digits: &Digits) -> Score {
        let mut total = Score::default();
        for sample in digits.test() {
            let (_, probabilities) = self.probabilities(&digits.images[INPUTS * sample..][..INPUTS]);
            total.add(score(&probabilities, usize::from(digits.labels[sample])));
        }
        total
    }

    pub fn predict(&self, pixels: &[u8]) -> [f32; CLASSES] {
        self.probabilities(pixels).1
    }

    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let mut checkpoint = self.optimizer.read_checkpoint();
        for (name, tensor) in Weights::NAMES.into_iter().zip(self.weights.tensors()) {
            checkpoint.insert_param(name, tensor).map_err(|error| format!("{error}."))?;
        }
        Ok(checkpoint)
    }

    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.optimizer.load(checkpoint).map_err(|error| format!("{error}."))?;
        for (name, tensor) in Weights::NAMES.into_iter().zip(self.weights.tensors_mut()) {
            checkpoint.copy_param(name, tensor).map_err(|error| format!("{error}."))?;
        }
        Ok(())
    }
}

fn add_scaled(sums: &mut [f32], terms: &[f32], factor: f32) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += factor * term;
    }
}

fn score(probabilities: &[f32; CLASSES], label: usize) -> Score {
    let largest = probabilities.iter().copied().fold(0.0, f32::max);
    let probability = probabilities[label];
    // A probability below the range of f32 still has a finite loss.
    let loss = -f64::from(probability.max(f32::MIN_POSITIVE)).ln();
    Score { loss, accuracy: f64::from(u8::from(probability == largest)) }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::digits::tests::simple;
    use crate::mnist::random::Random;

    fn trainer() -> (CpuTrainer, Digits, Settings) {
        let settings = Settings::parse(&crate::settings::preset("paper", 100).unwrap()).unwrap();
        let digits = Digits::new(&simple(1000), 0.0, 1).unwrap();
        let [_, miadam] = CpuTrainer::pair(&settings, &Weights::random(16, &mut Random::new(1, 2))).unwrap();
        (miadam, digits, settings)
    }

    #[wasm_bindgen_test]
    fn gradients_are_the_slopes_of_the_loss() {
        let (mut trainer, digits, _) = trainer();
        let batch = [0, 1, 2, 3];
        trainer.backward(&digits, &batch);
        let grads = trainer.grads.clone();
        for (tensor, element) in [(0, 16 * 30 + 5), (1, 3), (2, 20), (3, 4)] {
            let mut loss_at = |shift: f32| {
                trainer.weights.tensors_mut()[tensor][element] += shift;
                let loss = trainer.backward(&digits, &batch).loss / batch.len() as f64;
                trainer.weights.tensors_mut()[tensor][element] -= shift;
                loss
            };
            let (slope, found) = ((loss_at(1e-2) - loss_at(-1e-2)) / 2e-2, f64::from(grads.tensors()[tensor][element]));
            assert!((slope - found).abs() < 1e-4 + 0.01 * slope.abs(), "tensor {tensor}: {found}, not {slope}");
        }
    }

    #[wasm_bindgen_test]
    fn it_learns_and_goes_on_from_a_checkpoint() {
        let (mut trainer, digits, settings) = trainer();
        for step in 0..30 {
            trainer.step(&digits, &digits.batch(step)).unwrap();
        }
        assert!(trainer.test(&digits).accuracy > 190.0);
        let saved = trainer.checkpoint().unwrap();
        let [_, mut other] = CpuTrainer::pair(&settings, &Weights::random(16, &mut Random::new(9, 2))).unwrap();
        other.load(&saved).unwrap();
        for trainer in [&mut trainer, &mut other] {
            trainer.step(&digits, &digits.batch(30)).unwrap();
        }
        assert_eq!(trainer.weights, other.weights);
    }
}
