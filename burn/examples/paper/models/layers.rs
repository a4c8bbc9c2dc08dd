//! Convolutions and norms, as the image networks put them together.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::prelude::*;

/// Makes layers on one device with one rule for their weights.
pub struct Layers<'a> {
    pub device: &'a Device,
    weights: Initializer,
}

impl<'a> Layers<'a> {
    /// PyTorch's own rule, which is burn's as well: uniform in ±1/√(inputs of a unit).
    pub fn plain(device: &'a Device) -> Self {
        Self { device, weights: Initializer::KaimingUniform { gain: 1.0 / 3.0_f64.sqrt(), fan_out_only: false } }
    }

    /// He's rule: normal, of variance 2 / (outputs of a unit).
    pub fn he(device: &'a Device) -> Self {
        Self { device, weights: Initializer::KaimingNormal { gain: 2.0_f64.sqrt(), fan_out_only: true } }
    }

    /// A convolution without a bias, padded so that stride 1 keeps the size.
    pub fn conv(&self, channels: [usize; 2], size: usize, stride: usize) -> Conv2d {
        let pad = size / 2;
        Conv2dConfig::new(channels, [size, size])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false)
            .with_initializer(self.weights.clone())
            .init(self.device)
    }

    pub fn norm(&self, channels: usize) -> BatchNorm {
        BatchNormConfig::new(channels).init(self.device)
    }

    /// A convolution, and the norm after it.
    pub fn unit(&self, [from, to]: [usize; 2], size: usize, stride: usize) -> Unit {
        Unit { conv: self.conv([from, to], size, stride), norm: self.norm(to) }
    }
}

/// A convolution and its norm.
#[derive(Module, Debug)]
pub struct Unit {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Unit {
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(input))
    }
}

/// The pool of ImageNet's stems: the largest of 3 x 3, at every other pixel.
pub fn halving_pool() -> MaxPool2d {
    MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init()
}

/// The mean over each channel's pixels, `[batch, channels]`.
pub fn mean(features: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = features.dims();
    features.reshape([batch, channels, height * width]).mean_dim(2).squeeze_dim(2)
}

/// The numbers that are trained: all but the running statistics of norms.
#[cfg(test)]
pub fn trained(model: &impl Module) -> usize {
    struct Count {
        path: Vec<String>,
        count: usize,
    }
    impl burn::module::ModuleVisitor for Count {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            if self.path.last().is_none_or(|name| !name.starts_with("running_")) {
                self.count += param.lazy_shape().num_elements();
            }
        }
    }
    let mut count = Count { path: Vec::new(), count: 0 };
    model.visit(&mut count);
    count.count
}
