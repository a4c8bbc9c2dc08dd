//! PyramidNet-110: Han, Kim and Kim, 2017, arXiv 1610.02915, additive with α = 48, basic blocks without a first ReLU, shortcuts
//! without parameters, as in the authors' code.

use burn::nn::conv::Conv2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::nn::{BatchNorm, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;

use crate::paper::models::layers::{Layers, Unit, mean};

/// Channels that are added from the first block to the last, on top of 16.
const ALPHA: f64 = 48.0;
/// Blocks of each of the three stages: (110 - 2) / 6.
const BLOCKS: usize = 18;

#[derive(Module, Debug)]
pub struct PyramidNet {
    stem: Unit,
    blocks: Vec<Block>,
    norm: BatchNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct Block {
    norms: [BatchNorm; 3],
    convs: [Conv2d; 2],
    shrink: Option<AvgPool2d>,
}

impl PyramidNet {
    pub fn new(classes: usize, device: &Device) -> Self {
        let layers = Layers::he(device);
        let channels = |block: usize| (16.0 + ALPHA * block as f64 / (3 * BLOCKS) as f64).round() as usize;
        let block = |number: usize| {
            let stride = if number > 0 && number.is_multiple_of(BLOCKS) { 2 } else { 1 };
            Block::new([channels(number), channels(number + 1)], stride, &layers)
        };
        let last = channels(3 * BLOCKS);
        Self {
            stem: layers.unit([3, channels(0)], 3, 1),
            blocks: (0..3 * BLOCKS).map(block).collect(),
            norm: layers.norm(last),
            head: LinearConfig::new(last, classes).init(device),
        }
    }

    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let stem = self.stem.forward(images);
        let features = self.blocks.iter().fold(stem, |features, block| block.forward(features));
        self.head.forward(mean(relu(self.norm.forward(features))))
    }
}

impl Block {
    fn new([from, to]: [usize; 2], stride: usize, layers: &Layers<'_>) -> Self {
        Self {
            norms: [from, to, to].map(|channels| layers.norm(channels)),
            convs: [layers.conv([from, to], 3, stride), layers.conv([to, to], 3, 1)],
            shrink: (stride == 2).then(|| AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init()),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [before, inside, after] = &self.norms;
        let [first, second] = &self.convs;
        let features = first.forward(before.forward(input.clone()));
        let features = after.forward(second.forward(relu(inside.forward(features))));
        let residual = match &self.shrink {
            Some(pool) => pool.forward(input),
            None => input,
        };
        let ([batch, from, height, width], [_, to, _, _]) = (residual.dims(), features.dims());
        if from == to {
            return features + residual;
        }
        // Channels that the input has not are 0.
        let zeros = Tensor::zeros([batch, to - from, height, width], &residual.device());
        features + Tensor::cat(vec![residual, zeros], 1)
    }
}
