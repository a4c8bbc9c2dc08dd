//! A seeded generator that gives the same weights and the same batches on every device and platform. Runs that were saved
//! rely on its numbers: they must not change.

use crate::random::Random as Bits;

/// The support crate's generator, split into independent streams.
pub struct Random(Bits);

impl Random {
    /// An independent stream for each pair of seed and purpose.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(Bits(Bits(seed).bits() ^ purpose.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// A number that is uniform in [-bound, bound).
    pub fn symmetric(&mut self, bound: f32) -> f32 {
        (2.0 * self.0.uniform() - 1.0) * bound
    }

    /// A number that is uniform in 0..end. `end` is far below 2³², so the bias is nothing that a training shows.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.0.bits()) * end as u128) >> 64) as usize
    }

    /// Puts the items into a random order, by the method of Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_runs_find_the_numbers_that_they_began_with() {
        let mut random = Random::new(7, 2);
        let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
        random.shuffle(&mut order);
        assert_eq!(order, [4, 7, 1, 0, 5, 2, 3, 6]);
        assert_eq!((random.below(1000), random.symmetric(1.0)), (799, 0.007_893_205));
    }
}
