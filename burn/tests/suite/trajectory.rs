//! A hundred steps of training: the core's CPU twin and burn's own optimizers, fed with the same gradients.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer};
use burn::tensor::Device;
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::{Hyperparams, WeightDecay};

use crate::common::*;

const STEPS: usize = 100;

/// Every order on the same gradients, which are those of the net that order 1 trains.
fn is_the_twins<N: Net>(device: &Device) {
    let net = N::new(device);
    let mut all = [0, 1, 3].map(|order| (order, Some(Ours::new(net.clone(), device, of_order(order, 61)))));
    for step in 0..STEPS {
        let net = &all[1].1.as_ref().unwrap().module;
        let (grads, net) = (backward(net.loss(step), net), net.clone());
        for (order, ours) in &mut all {
            let context = format!("step {step} of order {order}");
            let grads = again(&net, &grads);
            *ours = ours.take().map(|ours| ours.step(rate(step), grads, &context));
        }
    }
    let steps = |ours: &Option<Ours<N>>| ours.as_ref().unwrap().optimizer.report().unwrap().step;
    assert!(all.iter().all(|(_, ours)| steps(ours) == STEPS as u32));
    let trained = &all[1].1.as_ref().unwrap().module;
    let loss = |net: &N| lossless(net.loss(0))[0];
    assert!(loss(trained) < 0.5 * loss(&net), "{} after {}", loss(trained), loss(&net));
}

#[test]
fn of_convolutions_on_the_gpu() {
    is_the_twins::<Conv>(&gpu());
}

#[test]
fn of_convolutions_on_the_cpu() {
    is_the_twins::<Conv>(&Device::flex());
}

#[test]
fn of_a_transformer_on_the_gpu() {
    is_the_twins::<Transformer>(&gpu());
}

#[test]
fn of_a_transformer_on_the_cpu() {
    is_the_twins::<Transformer>(&Device::flex());
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
