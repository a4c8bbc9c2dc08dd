//! burn's own layers, loss and Adam.

use std::error::Error;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLoss;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use miadam_support::mnist::network::{CLASSES, INPUTS};

use crate::samples::DeviceSamples;

/// As `mlp_mnist` has by default.
const HIDDEN: usize = 256;
const LR: f64 = 1e-3;
const EPS: f32 = 1e-8;

#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    activation: Relu,
    output: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(INPUTS, HIDDEN).init(device),
            activation: Relu::new(),
            output: LinearConfig::new(HIDDEN, CLASSES).init(device),
        }
    }

    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.activation.forward(self.hidden.forward(images)))
    }
}

pub struct Training {
    device: Device,
    network: Network,
    loss: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
}

impl Training {
    pub fn new(device: &Device) -> Self {
        let training = device.clone().autodiff();
        Self {
            device: device.clone(),
            network: Network::new(&training),
            loss: CrossEntropyLoss::new(None, &training),
            optimizer: AdamConfig::new().with_epsilon(EPS).init(),
        }
    }

    /// One pass over the samples, to its end on the device. Returns the mean loss, each batch before its own step.
    pub fn epoch(&mut self, samples: &DeviceSamples, order: &[Vec<i32>]) -> Result<f64, Box<dyn Error>> {
        let mut total = Tensor::<1>::zeros([1], &self.device);
        for batch in samples.batches(order) {
            let loss = self.loss.forward(self.network.forward(batch.images), batch.labels);
            // Summed on the device: reading every loss would stop it at every batch.
            total = total + loss.clone().inner() * batch.len as f32;
            let grads = GradientsParams::from_grads(loss.backward(), &self.network);
            self.network = self.optimizer.step(LR, self.network.clone(), grads);
        }
        self.device.sync()?;
        Ok(f64::from(number(total)?) / samples.len() as f64)
    }

    /// The fraction of samples whose largest logit is the label's.
    pub fn accuracy(&self, samples: &DeviceSamples) -> Result<f64, Box<dyn Error>> {
        let network = self.network.valid();
        let mut correct = 0.0;
        for batch in samples.batches(&samples.in_order()) {
            let len = batch.len;
            let digits = network.forward(batch.images).argmax(1).reshape([len]);
            correct += f64::from(number(digits.equal(batch.labels).float().sum())?);
        }
        Ok(correct / samples.len() as f64)
    }
}

/// The one element of a tensor.
fn number(tensor: Tensor<1>) -> Result<f32, Box<dyn Error>> {
    let values = tensor.into_data().try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
    values.first().copied().ok_or_else(|| "burn gave an empty tensor".into())
}
