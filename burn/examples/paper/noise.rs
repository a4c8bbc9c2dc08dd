//! Wrong labels.

use miadam_support::mnist::random::Random;

use crate::paper::args::NoiseFrom;

/// The stream of random numbers that labels are drawn from.
const STREAM: u64 = 11;

/// Draws this fraction of the labels anew, each class as often as any other. Where they come from all classes, one in `classes` is
/// right by chance.
pub fn spoil(labels: &mut [usize], classes: usize, fraction: f64, from: NoiseFrom, seed: u64) {
    let mut random = Random::new(seed, STREAM);
    let mut chosen: Vec<usize> = (0..labels.len()).collect();
    random.shuffle(&mut chosen);
    chosen.truncate((fraction * labels.len() as f64).round() as usize);
    for sample in chosen {
        labels[sample] = match from {
            NoiseFrom::All => random.below(classes),
            NoiseFrom::Others => (labels[sample] + 1 + random.below(classes - 1)) % classes,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 50_000;
    const CLASSES: usize = 10;

    fn wrong(fraction: f64, from: NoiseFrom) -> f64 {
        let right: Vec<usize> = (0..LEN).map(|sample| sample % CLASSES).collect();
        let mut labels = right.clone();
        spoil(&mut labels, CLASSES, fraction, from, 3);
        assert!(labels.iter().all(|label| *label < CLASSES));
        labels.iter().zip(&right).filter(|(label, right)| label != right).count() as f64 / LEN as f64
    }

    #[test]
    fn a_tenth_of_what_comes_from_all_classes_is_right() {
        // 20,000 labels are drawn, so that 2 of 1,000 is four standard deviations of what is right.
        assert!((wrong(0.4, NoiseFrom::All) - 0.36).abs() < 0.004);
        assert_eq!(wrong(0.4, NoiseFrom::Others), 0.4);
        assert_eq!(wrong(1.0, NoiseFrom::Others), 1.0);
        assert_eq!(wrong(0.0, NoiseFrom::All), 0.0);
    }

    #[test]
    fn wrong_labels_are_of_each_other_class_alike() {
        let mut labels = vec![4; 90_000];
        spoil(&mut labels, CLASSES, 1.0, NoiseFrom::Others, 3);
        for class in (0..CLASSES).filter(|class| *class != 4) {
            let count = labels.iter().filter(|label| **label == class).count();
            // 10,000 are expected, and 94 is a standard deviation.
            assert!(count.abs_diff(10_000) < 400, "{count} of class {class}");
        }
    }
}
