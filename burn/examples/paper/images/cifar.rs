//! CIFAR-10 and CIFAR-100 in their binary form, <https://www.cs.toronto.edu/~kriz/cifar.html>.
//!
//! A record of CIFAR-10 is a label and 3 · 32 · 32 bytes: all red rows, all green, all blue. One of CIFAR-100 has a coarse label
//! before the fine one.

use std::fs;
use std::path::Path;

use clap::ValueEnum;
use miadam_support::random::Random;
use serde::{Deserialize, Serialize};

use crate::paper::images::pixels::{Images, Statistics};

pub const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Dataset {
    Cifar10,
    Cifar100,
}

/// The images of one of the two, and their labels.
pub struct Cifar {
    pub train: Images,
    pub test: Images,
    pub classes: usize,
}

impl Dataset {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }

    pub fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// The folder in the archive.
    fn folder(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10-batches-bin",
            Self::Cifar100 => "cifar-100-binary",
        }
    }

    /// Mean and standard deviation of the training set's channels.
    fn statistics(self) -> Statistics {
        match self {
            Self::Cifar10 => Statistics { mean: [0.4914, 0.4822, 0.4465], deviation: [0.2470, 0.2435, 0.2616] },
            Self::Cifar100 => Statistics { mean: [0.5071, 0.4865, 0.4409], deviation: [0.2673, 0.2564, 0.2762] },
        }
    }

    /// The binary files, in `folder` itself or in the archive's own folder there.
    ///
    /// # Errors
    /// If one is absent, or not what it should be. The message names file and remedy.
    pub fn read(self, folder: &Path) -> Result<Cifar, String> {
        let inner = folder.join(self.folder());
        let folder = if inner.is_dir() { &inner } else { folder };
        let (train, test, count): (Vec<String>, _, _) = match self {
            Self::Cifar10 => ((1..=5).map(|n| format!("data_batch_{n}.bin")).collect(), "test_batch.bin", 10_000),
            Self::Cifar100 => (vec!["train.bin".to_owned()], "test.bin", 50_000),
        };
        let mut images = Images::new(SIDE, self.statistics());
        for file in train {
            self.read_file(&folder.join(file), count, &mut images)?;
        }
        let mut test_images = Images::new(SIDE, self.statistics());
        self.read_file(&folder.join(test), 10_000, &mut test_images)?;
        Ok(Cifar { train: images, test: test_images, classes: self.classes() })
    }

    fn read_file(self, file: &Path, count: usize, images: &mut Images) -> Result<(), String> {
        let (name, data) = (file.display(), self.name());
        let bytes = fs::read(file).map_err(|error| {
            format!("{name}: {error}; unpack the binary version of {data} from www.cs.toronto.edu/~kriz/cifar.html in --data")
        })?;
        let corrupt = |what: String| format!("{name}: {what}; unpack the binary version of {data} anew");
        let record = self.labels() + PIXELS;
        if bytes.len() != count * record {
            return Err(corrupt(format!("{} bytes, where {count} images have {}", bytes.len(), count * record)));
        }
        for (number, record) in bytes.chunks_exact(record).enumerate() {
            let (labels, pixels) = record.split_at(self.labels());
            let label = usize::from(labels[self.labels() - 1]);
            if label >= self.classes() {
                return Err(corrupt(format!("image {number} is of class {label}, and there are {}", self.classes())));
            }
            images.push(pixels, label);
        }
        Ok(())
    }

    /// Labels of a record. The last one counts.
    fn labels(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    /// So many images of noise, to train on and to test on.
    pub fn made_up(self, count: usize) -> Cifar {
        let mut random = Random(7);
        let mut images = |count| {
            let mut images = Images::new(SIDE, self.statistics());
            for number in 0..count {
                let pixels: Vec<u8> = (0..PIXELS).map(|_| random.below(256) as u8).collect();
                images.push(&pixels, number % self.classes());
            }
            images
        };
        Cifar { train: images(count), test: images(count), classes: self.classes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_record_is_labels_and_three_planes() {
        for (dataset, labels) in [(Dataset::Cifar10, vec![7]), (Dataset::Cifar100, vec![3, 99])] {
            let mut bytes = Vec::new();
            for image in 0..2_u8 {
                bytes.extend(&labels);
                bytes.extend((0..PIXELS).map(|pixel| (pixel / (SIDE * SIDE)) as u8 + 10 * image));
            }
            let mut images = Images::new(SIDE, dataset.statistics());
            dataset.read_file(file(&bytes).path(), 2, &mut images).unwrap();
            assert_eq!(images.labels, [usize::from(labels[labels.len() - 1]); 2]);
            let [first, second] = [images.pixels(0), images.pixels(1)];
            assert_eq!([first[0], first[SIDE * SIDE], first[PIXELS - 1]], [0, 1, 2]);
            assert_eq!([second[0], second[SIDE * SIDE], second[PIXELS - 1]], [10, 11, 12]);
        }
    }

    #[test]
    fn what_is_no_cifar_is_refused_by_name() {
        let refused = |file: &Path| {
            let mut images = Images::new(SIDE, Dataset::Cifar10.statistics());
            Dataset::Cifar10.read_file(file, 1, &mut images).unwrap_err()
        };
        let absent = refused(Path::new("/none/data_batch_1.bin"));
        assert!(absent.starts_with("/none/data_batch_1.bin: ") && absent.contains("unpack"), "{absent}");
        let short = refused(file(&[0; PIXELS]).path());
        assert!(short.contains("3072 bytes, where 1 images have 3073; unpack"), "{short}");
        let wild = refused(file(&[10; PIXELS + 1]).path());
        assert!(wild.contains("image 0 is of class 10, and there are 10; unpack"), "{wild}");
    }
}
