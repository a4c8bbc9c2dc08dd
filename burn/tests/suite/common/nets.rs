//! Small networks, whose values and inputs are the same on every device.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::fill;

/// A network with a task.
pub trait Net: Module {
    /// On the autodiff twin of a device.
    fn new(device: &Device) -> Self;

    /// The loss of a step, whose inputs are a function of its number.
    fn loss(&self, step: usize) -> Tensor<1>;
}

/// Two layers.
#[derive(Module, Debug)]
pub struct Mlp {
    pub first: Linear,
    pub second: Linear,
}

/// Two convolutions and a layer.
#[derive(Module, Debug)]
pub struct Conv {
    pub convs: Vec<Conv2d>,
    pub head: Linear,
}

/// Tokens, one block of attention, and a layer.
#[derive(Module, Debug)]
pub struct Transformer {
    pub tokens: Embedding,
    pub encoder: TransformerEncoder,
    pub head: Linear,
}

/// Numbers from -1 to 1.
fn numbers<const D: usize>(shape: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let values = (0..shape.iter().product()).map(|n| ((n * 29 + seed * 17) % 41) as f32 / 20.0 - 1.0);
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), device)
}

fn device_of(module: &impl Module) -> Device {
    module.devices()[0].clone().autodiff()
}

impl Net for Mlp {
    fn new(device: &Device) -> Self {
        let device = device.clone().autodiff();
        fill(Self { first: LinearConfig::new(5, 8).init(&device), second: LinearConfig::new(8, 3).init(&device) })
    }

    fn loss(&self, step: usize) -> Tensor<1> {
        let input = numbers([4, 5], step, &device_of(self));
        (self.second.forward(self.first.forward(input).tanh()) - 0.5).square().mean()
    }
}

impl Mlp {
    /// With all parameters of this type.
    pub fn cast(self, dtype: DType) -> Self {
        struct Caster(DType);
        impl ModuleMapper for Caster {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let (id, tensor, _) = param.consume();
                Param::initialized(id, Tensor::from_inner(tensor.inner().cast(self.0)).require_grad())
            }
        }
        self.map(&mut Caster(dtype))
    }

    /// The loss of a step, with inputs of this type.
    pub fn cast_loss(&self, step: usize, dtype: DType) -> Tensor<1> {
        let input = numbers([4, 5], step, &device_of(self)).cast(dtype);
        (self.second.forward(self.first.forward(input).tanh()) - 0.5).square().mean()
    }
}

impl Net for Conv {
    fn new(device: &Device) -> Self {
        let device = device.clone().autodiff();
        let convs = [[1, 4], [4, 4]].map(|channels| Conv2dConfig::new(channels, [3, 3]).init(&device));
        fill(Self { convs: convs.into(), head: LinearConfig::new(16, 3).init(&device) })
    }

    fn loss(&self, step: usize) -> Tensor<1> {
        let input = numbers([4, 1, 6, 6], step, &device_of(self));
        let hidden = self.convs.iter().fold(input, |input, conv| relu(conv.forward(input)));
        (self.head.forward(hidden.flatten::<2>(1, 3)) - 0.5).square().mean()
    }
}

impl Net for Transformer {
    fn new(device: &Device) -> Self {
        let device = device.clone().autodiff();
        fill(Self {
            tokens: EmbeddingConfig::new(11, 8).init(&device),
            encoder: TransformerEncoderConfig::new(8, 16, 2, 1).with_dropout(0.0).init(&device),
            head: LinearConfig::new(8, 11).init(&device),
        })
    }

    fn loss(&self, step: usize) -> Tensor<1> {
        let device = device_of(self);
        let tokens: Vec<i32> = (0..12).map(|n| ((n * n + 3 * step) % 11) as i32).collect();
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [2, 6]), &device);
        let hidden = self.encoder.forward(TransformerEncoderInput::new(self.tokens.forward(tokens.clone())));
        let odds = log_softmax(self.head.forward(hidden), 2);
        // Each token again.
        odds.gather(2, tokens.reshape([2, 6, 1])).mean().neg()
    }
}
