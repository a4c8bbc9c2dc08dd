//! DenseNet-121: Huang, Liu, van der Maaten and Weinberger, 2017, arXiv 1608.06993. Growth 32, bottlenecks, compression 1/2.

use burn::nn::conv::Conv2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d};
use burn::nn::{BatchNorm, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;

use crate::paper::models::layers::{Layers, Unit, halving_pool, mean};

const GROWTH: usize = 32;
const BLOCKS: [usize; 4] = [6, 12, 24, 16];

#[derive(Module, Debug)]
pub struct DenseNet {
    stem: Stem,
    stages: Vec<Stage>,
    norm: BatchNorm,
    head: Linear,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Stem {
    /// For images of 32 x 32 pixels: a convolution of 3 x 3 that keeps the size.
    Small(Conv2d),
    /// For ImageNet: a convolution of 7 x 7 and a pool, each of stride 2.
    Large(LargeStem),
}

#[derive(Module, Debug)]
struct LargeStem {
    unit: Unit,
    pool: MaxPool2d,
}

/// Layers, and after all but the last stage a transition that halves channels and size.
#[derive(Module, Debug)]
struct Stage {
    layers: Vec<Dense>,
    transition: Option<Transition>,
}

/// Norm and ReLU come before each convolution. All that a layer makes is put beside what it was given.
#[derive(Module, Debug)]
struct Dense {
    norms: [BatchNorm; 2],
    convs: [Conv2d; 2],
}

#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm,
    conv: Conv2d,
    pool: AvgPool2d,
}

impl DenseNet {
    pub fn new(classes: usize, imagenet: bool, device: &Device) -> Self {
        let layers = &if imagenet { Layers::he(device) } else { Layers::plain(device) };
        let stem = match imagenet {
            true => Stem::Large(LargeStem { unit: layers.unit([3, 2 * GROWTH], 7, 2), pool: halving_pool() }),
            false => Stem::Small(layers.conv([3, 2 * GROWTH], 3, 1)),
        };
        let mut channels = 2 * GROWTH;
        let mut stages = Vec::new();
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            let dense = (0..count).map(|number| Dense::new(channels + number * GROWTH, layers)).collect();
            channels += count * GROWTH;
            let transition = (stage + 1 < BLOCKS.len()).then(|| Transition::new(channels, layers));
            if transition.is_some() {
                channels /= 2;
            }
            stages.push(Stage { layers: dense, transition });
        }
        let head = LinearConfig::new(channels, classes).init(layers.device);
        Self { stem, stages, norm: layers.norm(channels), head }
    }

    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let stem = match &self.stem {
            Stem::Small(conv) => conv.forward(images),
            Stem::Large(LargeStem { unit, pool }) => pool.forward(relu(unit.forward(images))),
        };
        let features = self.stages.iter().fold(stem, |features, stage| stage.forward(features));
        self.head.forward(mean(relu(self.norm.forward(features))))
    }
}

impl Stage {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let features = self.layers.iter().fold(input, |features, layer| layer.forward(features));
        match &self.transition {
            Some(Transition { norm, conv, pool }) => pool.forward(conv.forward(relu(norm.forward(features)))),
            None => features,
        }
    }
}

impl Dense {
    fn new(from: usize, layers: &Layers<'_>) -> Self {
        let inner = 4 * GROWTH;
        let convs = [layers.conv([from, inner], 1, 1), layers.conv([inner, GROWTH], 3, 1)];
        Self { norms: [from, inner].map(|channels| layers.norm(channels)), convs }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut made = input.clone();
        for (norm, conv) in self.norms.iter().zip(&self.convs) {
            made = conv.forward(relu(norm.forward(made)));
        }
        Tensor::cat(vec![made, input], 1)
    }
}

impl Transition {
    fn new(channels: usize, layers: &Layers<'_>) -> Self {
        let pool = AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        Self { norm: layers.norm(channels), conv: layers.conv([channels, channels / 2], 1, 1), pool }
    }
}
