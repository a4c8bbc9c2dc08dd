//! The digits that the page loads, and the order in which they are trained.

use std::ops::Range;

use crate::Result;
use crate::mnist::network::{CLASSES, INPUTS};
use crate::mnist::random::Random;

/// Samples of a batch, as in the example.
pub const BATCH: usize = 128;

/// Images, and labels of which some may be wrong. The last fifth is held out.
pub struct Digits {
    pub images: Vec<u8>,
    pub labels: Vec<u8>,
    seed: u64,
}

impl Digits {
    /// `bytes` are the labels, one byte each, and then the images.
    pub fn new(bytes: &[u8], label_noise: f64, seed: u64) -> Result<Self> {
        let count = bytes.len() / (1 + INPUTS);
        let (labels, images) = bytes.split_at(count);
        if count < 5 * BATCH
            || images.len() != count * INPUTS
            || labels.iter().any(|&label| usize::from(label) >= CLASSES)
        {
            return Err("The file of digits is broken; reload the page.".to_owned());
        }
        let mut digits = Self { images: images.to_vec(), labels: labels.to_vec(), seed };
        digits.add_label_noise(label_noise);
        Ok(digits)
    }

    /// How many are there to train on.
    pub fn train_len(&self) -> usize {
        self.labels.len() / 5 * 4
    }

    pub fn test(&self) -> Range<usize> {
        self.train_len()..self.labels.len()
    }

    /// Gives a share of the labels to train on another class.
    fn add_label_noise(&mut self, share: f64) {
        let mut random = Random::new(self.seed, 0);
        let mut victims: Vec<usize> = (0..self.train_len()).collect();
        random.shuffle(&mut victims);
        victims.truncate((share * victims.len() as f64).round() as usize);
        for victim in victims {
            let label = usize::from(self.labels[victim]);
            self.labels[victim] = ((label + 1 + random.below(CLASSES - 1)) % CLASSES) as u8;
        }
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        self.train_len().div_ceil(BATCH)
    }

    /// The samples of the batch that comes after so many steps. They follow from the number alone, so that a resumed run has the
    /// batches of one that was never interrupted.
    pub fn batch(&self, step: u32) -> Vec<u32> {
        let (epoch, batch) = (step as usize / self.batches(), step as usize % self.batches());
        let mut order: Vec<u32> = (0..self.train_len() as u32).collect();
        Random::new(self.seed, 16 + epoch as u64).shuffle(&mut order);
        order.chunks(BATCH).nth(batch).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
pub mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    /// Digits that a network can learn: each class lights pixels of its own.
    pub fn simple(count: usize) -> Vec<u8> {
        let label = |index: usize| (index % CLASSES) as u8;
        let pixel = |index: usize| u8::from(index % INPUTS / 70 == index / INPUTS % CLASSES) * 255;
        (0..count).map(label).chain((0..count * INPUTS).map(pixel)).collect()
    }

    #[wasm_bindgen_test]
    fn an_epoch_has_every_sample_once() {
        let digits = Digits::new(&simple(1000), 0.0, 3).unwrap();
        let mut seen: Vec<u32> = (7..14).flat_map(|step| digits.batch(step)).collect();
        assert_ne!(seen[..10], *(0..10).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..800).collect::<Vec<_>>());
    }

    #[wasm_bindgen_test]
    fn noise_leaves_the_digits_held_out_alone() {
        let [clean, noisy] = [0.0, 0.25].map(|noise| Digits::new(&simple(1000), noise, 3).unwrap());
        let wrong = |range: Range<usize>| range.filter(|&index| clean.labels[index] != noisy.labels[index]).count();
        assert_eq!((wrong(0..800), wrong(800..1000)), (200, 0));
    }

    #[wasm_bindgen_test]
    fn a_broken_file_is_refused() {
        assert!(Digits::new(&simple(1000)[..700_000], 0.0, 0).is_err());
    }
}
