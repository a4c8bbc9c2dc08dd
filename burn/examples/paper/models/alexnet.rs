//! AlexNet in the form of Krizhevsky, 2014, arXiv 1404.5997, as torchvision has it.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::relu;

#[derive(Module, Debug)]
pub struct AlexNet {
    convs: [Conv2d; 5],
    pool: MaxPool2d,
    shrink: AdaptiveAvgPool2d,
    dropout: Dropout,
    linears: [Linear; 3],
}

impl AlexNet {
    pub fn new(classes: usize, device: &Device) -> Self {
        let conv = |channels: [usize; 2], size: usize, stride: usize, pad: usize| {
            Conv2dConfig::new(channels, [size, size])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .init(device)
        };
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            convs: [
                conv([3, 64], 11, 4, 2),
                conv([64, 192], 5, 1, 2),
                conv([192, 384], 3, 1, 1),
                conv([384, 256], 3, 1, 1),
                conv([256, 256], 3, 1, 1),
            ],
            pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).init(),
            shrink: AdaptiveAvgPool2dConfig::new([6, 6]).init(),
            dropout: DropoutConfig::new(0.5).init(),
            linears: [linear(256 * 6 * 6, 4096), linear(4096, 4096), linear(4096, classes)],
        }
    }

    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut features = images;
        for (number, conv) in self.convs.iter().enumerate() {
            features = relu(conv.forward(features));
            if [0, 1, 4].contains(&number) {
                features = self.pool.forward(features);
            }
        }
        let [first, second, last] = &self.linears;
        let features = self.shrink.forward(features).flatten(1, 3);
        let features = relu(first.forward(self.dropout.forward(features)));
        last.forward(relu(second.forward(self.dropout.forward(features))))
    }
}
