//! A hundred steps of training: the core's CPU twin and burn's own optimizers, fed with the same gradients.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use miadam_burn::miadam::{Hyperparams, WeightDecay};
use miadam_burn::{MiAdam, MiAdamConfig};

use crate::common::*;

const STEPS: usize = 100;

/// What a device may be off by, in roundings of the largest update.
#[derive(Clone, Copy)]
enum Bound {
    Bits,
    Roundings(f32),
}

impl Bound {
    fn assert(self, old: [&ByPath; 2], new: [&ByPath; 2], context: &str) {
        match self {
            Self::Bits => assert_bits(new[0], new[1], context),
            Self::Roundings(relative) => assert_updates(old, new, relative, context),
        }
    }
}

/// A module that one of ours trains, and what has to come of it.
struct Ours<N> {
    optimizer: MiAdam,
    net: N,
    twin: Twin,
}

impl<N: Net> Ours<N> {
    fn new(net: &N, device: &Device, hyperparams: Hyperparams) -> Self {
        let optimizer = MiAdamConfig::new(hyperparams.clone()).init(device).unwrap();
        Self { optimizer, net: net.clone(), twin: Twin::new(hyperparams, values(net)) }
    }

    fn step(mut self, lr: f64, grads: GradientsParams, bound: Bound, context: &str) -> Self {
        let old = [values(&self.net), self.twin.params.clone()];
        self.twin.step(lr, &gradients(&self.net, &grads));
        self.net = self.optimizer.step(lr, self.net, grads).unwrap();
        bound.assert(old.each_ref(), [&values(&self.net), &self.twin.params], context);
        self
    }
}

/// The same gradients once more.
fn again<N: Net>(net: &N, grads: &GradientsParams) -> GradientsParams {
    struct Copier<'a>(&'a GradientsParams, GradientsParams);
    impl burn::module::ModuleVisitor for Copier<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<burn::tensor::Tensor<D>>) {
            if let Some(grad) = self.0.get::<D>(param.id) {
                self.1.register(param.id, grad);
            }
        }
    }
    let mut copier = Copier(grads, GradientsParams::new());
    net.visit(&mut copier);
    copier.1
}

/// Every order on the same gradients, which are those of the net that order 1 trains.
fn is_the_twins<N: Net>(device: &Device, bound: Bound) {
    let net = N::new(device);
    let mut all = [0, 1, 3].map(|order| (order, Some(Ours::new(&net, device, of_order(order, 61)))));
    for step in 0..STEPS {
        let net = &all[1].1.as_ref().unwrap().net;
        let (grads, net) = (backward(net.loss(step), net), net.clone());
        for (order, ours) in &mut all {
            let context = format!("step {step} of order {order}");
            let grads = again(&net, &grads);
            *ours = ours.take().map(|ours| ours.step(rate(step), grads, bound, &context));
        }
    }
    let steps = |ours: &Option<Ours<N>>| ours.as_ref().unwrap().optimizer.report().unwrap().step;
    assert!(all.iter().all(|(_, ours)| steps(ours) == STEPS as u32));
    let trained = &all[1].1.as_ref().unwrap().net;
    let loss = |net: &N| lossless(net.loss(0))[0];
    assert!(loss(trained) < 0.5 * loss(&net), "{} after {}", loss(trained), loss(&net));
}

/// As the core's own tests bound it: WGSL allows 2.5 ulp for a division, as much for a square root, and 1 for each of the dozen
/// other operations; sums cancel, so that it counts against the tensor's largest update.
const WGSL: Bound = Bound::Roundings(64.0);

#[test]
fn of_convolutions_on_the_gpu() {
    is_the_twins::<Conv>(&gpu(), WGSL);
}

#[test]
fn of_convolutions_on_the_cpu() {
    is_the_twins::<Conv>(&Device::flex(), Bound::Bits);
}

#[test]
fn of_a_transformer_on_the_gpu() {
    is_the_twins::<Transformer>(&gpu(), WGSL);
}

#[test]
fn of_a_transformer_on_the_cpu() {
    is_the_twins::<Transformer>(&Device::flex(), Bound::Bits);
}

/// burn raises β2 to the power t in f32, and takes that from 1. It is off by as much as t/2 roundings, and the difference is
/// t/1000: 500 roundings of the second moment, half as many of its root. What WGSL allows comes on top.
const BURNS: f32 = 250.0 + 64.0;

/// Order 0 beside one of burn's optimizers.
fn is_burns<N: Net>(device: &Device, weight_decay: WeightDecay, mut burns: ModuleOptimizer) {
    // burn's settings are in f32.
    let [beta1, beta2, eps] = [0.9_f32, 0.999, 1e-8].map(f64::from);
    let hyperparams = Hyperparams { lr: 0.0, order: 0, beta1, beta2, eps, weight_decay, ..Hyperparams::default() };
    let mut optimizer = MiAdamConfig::new(hyperparams).init(device).unwrap();
    let mut ours = N::new(device);
    let mut theirs = ours.clone();
    let mut old = [values(&ours), values(&theirs)];
    for step in 0..STEPS {
        let grads = backward(ours.loss(step), &ours);
        theirs = burns.step(rate(step), theirs, again(&ours, &grads));
        ours = optimizer.step(rate(step), ours, grads).unwrap();
        let new = [values(&ours), values(&theirs)];
        assert_updates(old.each_ref(), new.each_ref(), BURNS, &format!("step {step}"));
        old = new;
    }
}

#[test]
fn order_0_is_burns_adamw() {
    let decay = f64::from(0.1_f32);
    on_both(|device| {
        let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).init();
        is_burns::<Transformer>(device, WeightDecay::Decoupled(decay), burns);
    });
    let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).with_cautious_weight_decay(true).init();
    is_burns::<Mlp>(&gpu(), WeightDecay::Cautious(decay), burns);
}

#[test]
fn order_0_is_burns_adam() {
    on_both(|device| {
        let burns = AdamConfig::new().with_epsilon(1e-8).with_weight_decay(Some(WeightDecayConfig::new(0.1))).init();
        is_burns::<Conv>(device, WeightDecay::Coupled(f64::from(0.1_f32)), burns);
    });
}
