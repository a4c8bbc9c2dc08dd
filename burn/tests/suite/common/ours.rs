//! A module that an optimizer of ours trains beside the core's CPU twin.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use miadam_burn::miadam::Hyperparams;
use miadam_burn::{MiAdam, MiAdamConfig};

use super::{ByPath, Twin, assert_bits, assert_updates, gradients, values};

/// A module, and what has to come of it.
pub struct Ours<M> {
    pub optimizer: MiAdam,
    pub module: M,
    pub twin: Twin,
    is_exact: bool,
}

/// As the core's own tests bound it: WGSL allows 2.5 ulp for a division, as much for a square root, and 1 for each of the dozen
/// other operations; sums cancel, so that it counts against the tensor's largest update.
pub const WGSL: f32 = 64.0;

impl<M: Module> Ours<M> {
    /// On a wgpu device, or with burn's CPU backend, which gives the twin's bits.
    pub fn new(module: M, device: &Device, hyperparams: Hyperparams) -> Self {
        let optimizer = MiAdamConfig::new(hyperparams.clone()).init(device).unwrap();
        let twin = Twin::new(hyperparams, values(&module));
        Self { optimizer, module, twin, is_exact: *device == Device::flex() }
    }

    /// A step whose updates are the twin's.
    #[track_caller]
    pub fn step(mut self, lr: f64, grads: GradientsParams, context: &str) -> Self {
        let old = [values(&self.module), self.twin.params.clone()];
        self.twin.step(lr, &gradients(&self.module, &grads));
        self.module = self.optimizer.step(lr, self.module, grads).unwrap();
        self.assert_is_the_twins(old.each_ref(), context);
        self
    }

    #[track_caller]
    fn assert_is_the_twins(&self, old: [&ByPath; 2], context: &str) {
        let (found, expected) = (values(&self.module), &self.twin.params);
        if self.is_exact {
            assert_bits(&found, expected, context);
        } else {
            assert_updates(old, [&found, expected], WGSL, context);
        }
    }
}

/// The same gradients once more.
pub fn again<M: Module>(module: &M, grads: &GradientsParams) -> GradientsParams {
    struct Copier<'a>(&'a GradientsParams, GradientsParams);
    impl ModuleVisitor for Copier<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.0.get::<D>(param.id) {
                self.1.register(param.id, grad);
            }
        }
    }
    let mut copier = Copier(grads, GradientsParams::new());
    module.visit(&mut copier);
    copier.1
}
