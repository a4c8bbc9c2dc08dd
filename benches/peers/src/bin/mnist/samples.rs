//! Images and labels on burn's device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use miadam_support::mnist::data::Samples;
use miadam_support::mnist::network::INPUTS;
use miadam_support::mnist::random::Random;

/// Images of a tensor: 60,000 of them as floats are more than the 128 MiB that some adapters bind at once.
const MAX_IMAGES: usize = 32_768;

/// The samples in parts, each uploaded once.
pub struct DeviceSamples {
    parts: Vec<Part>,
    batch_size: usize,
    device: Device,
}

struct Part {
    images: Tensor<2>,
    labels: Tensor<1, Int>,
    len: usize,
}

/// What a step is given.
pub struct Batch {
    pub images: Tensor<2>,
    pub labels: Tensor<1, Int>,
    pub len: usize,
}

impl DeviceSamples {
    pub fn new(samples: &Samples, batch_size: usize, device: &Device) -> Self {
        // Whole batches, so that there are no more of them than without parts.
        let most = MAX_IMAGES / batch_size * batch_size;
        let part = |(images, labels): (&[u8], &[u8])| {
            let len = labels.len();
            let images: Vec<_> = images.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
            let labels: Vec<_> = labels.iter().map(|&label| i32::from(label)).collect();
            Part {
                images: Tensor::from_data(TensorData::new(images, [len, INPUTS]), device),
                labels: Tensor::from_data(TensorData::new(labels, [len]), device),
                len,
            }
        };
        let parts = samples.images.chunks(most * INPUTS).zip(samples.labels.chunks(most)).map(part).collect();
        Self { parts, batch_size, device: device.clone() }
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// The batches of an epoch: indices into each part. Parts are not mixed, which costs burn nothing.
    pub fn shuffled(&self, random: &mut Random) -> Vec<Vec<i32>> {
        self.in_order()
            .into_iter()
            .map(|mut order| {
                random.shuffle(&mut order);
                order
            })
            .collect()
    }

    pub fn in_order(&self) -> Vec<Vec<i32>> {
        self.parts.iter().map(|part| (0..part.len as i32).collect()).collect()
    }

    /// Batch after batch in the given order, each selected on the device when it is asked for.
    pub fn batches(&self, order: &[Vec<i32>]) -> impl Iterator<Item = Batch> {
        let parts = self.parts.iter().zip(order);
        parts.flat_map(|(part, order)| order.chunks(self.batch_size).map(|indices| self.batch(part, indices)))
    }

    fn batch(&self, part: &Part, indices: &[i32]) -> Batch {
        let len = indices.len();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices.to_vec(), [len]), &self.device);
        let images = part.images.clone().select(0, indices.clone());
        Batch { images, labels: part.labels.clone().select(0, indices), len }
    }
}
