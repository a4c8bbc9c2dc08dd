//! ResNet: He, Zhang, Ren and Sun, 2016, arXiv 1512.03385. The blocks are those of Figure 5, the stride of a bottleneck is in its
//! 3 x 3 convolution as in torchvision.

use burn::nn::pool::MaxPool2d;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;

use crate::paper::models::layers::{Layers, Unit, halving_pool, mean};

/// Blocks of each of the four stages.
pub struct Depth {
    pub blocks: [usize; 4],
    /// Outputs of a block over its width: 1 for two convolutions, 4 for a bottleneck of three.
    pub expansion: usize,
}

pub const RESNET18: Depth = Depth { blocks: [2, 2, 2, 2], expansion: 1 };

#[derive(Module, Debug)]
pub struct ResNet {
    stem: Unit,
    pool: Option<MaxPool2d>,
    blocks: Vec<Block>,
    head: Linear,
}

#[derive(Module, Debug)]
struct Block {
    units: Vec<Unit>,
    shortcut: Option<Unit>,
}

impl ResNet {
    /// For ImageNet the stem is 7 x 7 with a pool after it, each of stride 2. For images of 32 x 32 pixels it is 3 x 3 and keeps
    /// the size.
    pub fn new(depth: &Depth, classes: usize, imagenet: bool, device: &Device) -> Self {
        let layers = &if imagenet { Layers::he(device) } else { Layers::plain(device) };
        let stem = if imagenet { layers.unit([3, 64], 7, 2) } else { layers.unit([3, 64], 3, 1) };
        let pool = imagenet.then(halving_pool);
        let mut blocks = Vec::new();
        let mut from = 64;
        for (stage, count) in depth.blocks.into_iter().enumerate() {
            let width = 64 << stage;
            for number in 0..count {
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                blocks.push(Block::new([from, width], depth.expansion, stride, layers));
                from = width * depth.expansion;
            }
        }
        Self { stem, pool, blocks, head: LinearConfig::new(from, classes).init(layers.device) }
    }

    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let stem = relu(self.stem.forward(images));
        let stem = match &self.pool {
            Some(pool) => pool.forward(stem),
            None => stem,
        };
        let features = self.blocks.iter().fold(stem, |features, block| block.forward(features));
        self.head.forward(mean(features))
    }
}

impl Block {
    fn new([from, width]: [usize; 2], expansion: usize, stride: usize, layers: &Layers<'_>) -> Self {
        let to = width * expansion;
        let units = match expansion {
            1 => vec![layers.unit([from, width], 3, stride), layers.unit([width, width], 3, 1)],
            _ => vec![
                layers.unit([from, width], 1, 1),
                layers.unit([width, width], 3, stride),
                layers.unit([width, to], 1, 1),
            ],
        };
        let shortcut = (stride != 1 || from != to).then(|| layers.unit([from, to], 1, stride));
        Self { units, shortcut }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input.clone()),
            None => input.clone(),
        };
        let mut features = input;
        for (number, unit) in self.units.iter().enumerate() {
            let input = if number == 0 { features } else { relu(features) };
            features = unit.forward(input);
        }
        relu(features + residual)
    }
}
