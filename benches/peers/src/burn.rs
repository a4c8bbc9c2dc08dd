//! burn's Adam, on wgpu with fusion.

use burn::module::{Param, ParamId};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use miadam::Hyperparams;
use miadam_peers::device;
use miadam_support::steppers::GRAD;

use crate::runner::{Runner, timed};

pub const NAME: &str = "burn 0.22.1";

pub struct Burn {
    device: Device,
    optimizer: ModuleOptimizer,
    lr: f64,
    /// A vector of parameters is a module.
    module: Vec<Param<Tensor<1>>>,
    grads: Vec<(ParamId, Tensor<1>)>,
}

impl Burn {
    /// Over tensors of these lengths; `adapter` is the kind of the one that miadam runs on.
    pub fn new(lens: &[usize], adapter: wgpu::DeviceType) -> Self {
        let device = device::of_kind(adapter);
        let training = device.clone().autodiff();
        // From host data: a constant that burn knew of could be fused away instead of being read.
        let filled = |value: f32, len: usize, device: &Device| {
            Tensor::<1>::from_data(TensorData::new(vec![value; len], [len]), device)
        };
        let module: Vec<_> = lens.iter().map(|&len| Param::from_tensor(filled(0.0, len, &training))).collect();
        let grads = lens.iter().zip(&module).map(|(&len, param)| (param.id, filled(GRAD, len, &device))).collect();
        let hyperparams = Hyperparams::default();
        // Not burn's own ε of 1e-5.
        let optimizer = AdamConfig::new().with_epsilon(hyperparams.eps as f32).init();
        Self { device, optimizer, lr: hyperparams.lr, module, grads }
    }
}

impl Runner for Burn {
    fn step(&mut self) -> Result<f64, String> {
        // Registered by hand, so that neither a backward pass nor this is timed.
        let mut grads = GradientsParams::new();
        for (id, grad) in &self.grads {
            grads.register(*id, grad.clone());
        }
        let module = std::mem::take(&mut self.module);
        timed(|| {
            self.module = self.optimizer.step(self.lr, module, grads);
            self.device.sync()
        })
    }

    fn ends(&mut self) -> Result<Vec<f32>, String> {
        let mut values = Vec::new();
        for param in self.module.first().into_iter().chain(self.module.last()) {
            values.extend(param.val().into_data().try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?);
        }
        Ok(values)
    }
}
