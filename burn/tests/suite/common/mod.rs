//! Devices, values by path, and the core's CPU twin.

mod nets;
mod ours;
mod values;

use std::sync::OnceLock;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use miadam_burn::MiAdam;
use miadam_burn::miadam::{Hyperparams, Param, ParamGroup, StepScale, WeightDecay, cpu};

pub use nets::{Conv, Mlp, Net, Transformer};
pub use ours::{Ours, WGSL, again};
pub use values::{ByPath, assert_bits, assert_updates, fill, gradients, ids, lossless, values};

/// burn's wgpu device, which a process makes once.
pub fn gpu() -> Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    GPU.get_or_init(|| miadam_burn::wgpu_device(Device::wgpu_options()).unwrap()).clone()
}

/// Calls `test` with the wgpu device and with burn's CPU backend.
pub fn on_both(test: impl Fn(&Device)) {
    for device in [gpu(), Device::flex()] {
        test(&device);
    }
}

/// Hyperparameters of an order that integrate for the steps before `switch_step`, with Adam's step size and some decay.
pub fn of_order(order: u32, switch_step: u32) -> Hyperparams {
    Hyperparams {
        lr: 0.0, // Every step brings its own.
        order,
        kappa: 0.75,
        switch_step,
        step_scale: StepScale::UnitGain,
        weight_decay: WeightDecay::Decoupled(0.1),
        ..Hyperparams::default()
    }
}

/// The core's CPU optimizer, on its own copy of the parameters.
pub struct Twin {
    pub optimizer: cpu::MiAdam,
    pub params: ByPath,
}

impl Twin {
    /// One group with all parameters.
    pub fn new(hyperparams: Hyperparams, params: ByPath) -> Self {
        Self::grouped(params, [hyperparams], |_| 0)
    }

    /// `group` tells the group of a path.
    pub fn grouped(
        params: ByPath,
        hyperparams: impl IntoIterator<Item = Hyperparams>,
        group: impl Fn(&str) -> usize,
    ) -> Self {
        let groups = hyperparams.into_iter().enumerate().map(|(number, hyperparams)| {
            let own = params.iter().filter(|(path, _)| group(path) == number);
            ParamGroup::new(hyperparams, own.map(|(path, values)| Param::new(path, values.len())))
        });
        let optimizer = cpu::MiAdam::new(groups).unwrap();
        Self { optimizer, params }
    }

    /// Steps the parameters that have a gradient.
    pub fn step(&mut self, lr: f64, grads: &ByPath) {
        let groups = self.optimizer.hyperparams().len();
        self.step_at(&vec![lr; groups], grads);
    }

    /// The same with a learning rate a group.
    pub fn step_at(&mut self, lrs: &[f64], grads: &ByPath) {
        for (group, lr) in lrs.iter().enumerate() {
            self.optimizer.set_lr(group, *lr).unwrap();
        }
        let absent: Vec<_> = self.params.keys().filter(|path| !grads.contains_key(*path)).collect();
        self.optimizer.skip(absent).unwrap();
        let mut grads = grads.clone();
        let bindings = self.params.iter_mut().filter_map(|(path, param)| {
            let grad = grads.remove(path)?;
            Some((path, param, grad))
        });
        let mut bindings: Vec<_> = bindings.collect();
        let bindings = bindings.iter_mut().map(|(path, param, grad)| cpu::Binding::new(path, &mut **param, grad));
        self.optimizer.step(bindings).unwrap();
    }
}

/// The gradients of a loss.
pub fn backward<M: Module>(loss: Tensor<1>, module: &M) -> GradientsParams {
    GradientsParams::from_grads(loss.backward(), module)
}

/// Trains for the steps of a range.
pub fn train<N: Net>(optimizer: &mut MiAdam, mut net: N, steps: std::ops::Range<usize>) -> N {
    for step in steps {
        let grads = backward(net.loss(step), &net);
        net = optimizer.step(rate(step), net, grads).unwrap();
    }
    net
}

/// A learning rate that is another one at every step.
pub fn rate(step: usize) -> f64 {
    1e-2 / (1.0 + 0.05 * step as f64)
}
