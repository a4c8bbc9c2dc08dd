//! The guide's `data.rs`, for digits that lie in memory: burn's own data set would download them.

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::prelude::*;
use miadam_support::mnist::data::Samples;

const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;

#[derive(Clone, Debug)]
pub struct Digit {
    image: [u8; PIXELS],
    label: u8,
}

/// The digits as burn's data loader takes them.
pub fn dataset(samples: &Samples) -> InMemDataset<Digit> {
    let images = samples.images.as_chunks::<PIXELS>().0;
    InMemDataset::new(images.iter().zip(&samples.labels).map(|(&image, &label)| Digit { image, label }).collect())
}

#[derive(Clone, Default)]
pub struct MnistBatcher {}

#[derive(Clone, Debug)]
pub struct MnistBatch {
    pub images: Tensor<3>,
    pub targets: Tensor<1, Int>,
}

impl Batcher<Digit, MnistBatch> for MnistBatcher {
    fn batch(&self, digits: Vec<Digit>, device: &Device) -> MnistBatch {
        // The mean of all pixels is 0 then, and their standard deviation 1.
        let normalized = |pixel: &u8| (f32::from(*pixel) / 255.0 - 0.1307) / 0.3081;
        let pixels: Vec<f32> = digits.iter().flat_map(|digit| digit.image.iter().map(normalized)).collect();
        let labels: Vec<i32> = digits.iter().map(|digit| digit.label.into()).collect();
        MnistBatch {
            images: Tensor::from_data(TensorData::new(pixels, [digits.len(), SIDE, SIDE]), device),
            targets: Tensor::from_data(TensorData::new(labels, [digits.len()]), device),
        }
    }
}
