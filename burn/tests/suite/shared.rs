//! Tensors that are not a module's alone, or not in a buffer's usual order: right values, and nobody else's are touched.

use std::thread;

use burn::module::{Module, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::{Hyperparams, WeightDecay};

use crate::common::*;

/// Two parameters of one shape.
#[derive(Module, Debug)]
struct Pair {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
}

const SHAPE: [usize; 2] = [6, 4];

/// Numbers from -1 to 1, on a device without autodiff.
fn numbers<const D: usize>(shape: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let values = (0..shape.iter().product()).map(|n| ((n * 29 + seed * 17) % 41) as f32 / 20.0 - 1.0);
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), device)
}

/// A parameter that is this tensor, as it lies in memory.
fn param(tensor: Tensor<2>) -> Param<Tensor<2>> {
    Param::initialized(ParamId::new(), Tensor::from_inner(tensor).require_grad())
}

fn pair(device: &Device) -> Pair {
    Pair { a: param(numbers(SHAPE, 1, device)), b: param(numbers(SHAPE, 2, device)) }
}

/// A loss whose gradients differ from element to element.
fn loss(pair: &Pair, step: usize) -> Tensor<1> {
    let input = Tensor::from_inner(numbers(SHAPE, step, &pair.devices()[0].clone().without_autodiff()));
    (pair.a.val() * input.clone() + pair.b.val().square() * input - 0.1).square().sum()
}

/// Five steps, whose updates are those of the CPU twin.
fn trains(device: &Device, pair: Pair, grads: impl Fn(&Pair, usize) -> GradientsParams, context: &str) {
    let mut ours = Ours::new(pair, device, of_order(1, 4));
    for step in 0..5 {
        let grads = grads(&ours.module, step);
        ours = ours.step(rate(step), grads, &format!("{context}, step {step}"));
    }
}

fn of_loss(pair: &Pair, step: usize) -> GradientsParams {
    backward(loss(pair, step), pair)
}

#[test]
fn clones_of_the_module_keep_their_bits() {
    on_both(|device| {
        let mut ours = Ours::new(Mlp::new(device), device, of_order(1, 4));
        let mut clones = Vec::new();
        for step in 0..6 {
            clones.push((ours.module.clone(), values(&ours.module)));
            let grads = backward(ours.module.loss(step), &ours.module);
            ours = ours.step(rate(step), grads, "beside clones");
            for (clone, before) in &clones {
                assert_bits(&values(clone), before, "a clone");
            }
        }
        // A clone of a clone trains on its own, from where it was.
        let (clone, before) = clones.swap_remove(2);
        let grads = backward(clone.loss(2), &clone);
        Ours::new(clone.clone(), device, of_order(0, 1)).step(0.1, grads, "a clone");
        assert_bits(&values(&clone), &before, "the clone that it was made of");
    });
}

#[test]
fn a_tensor_taken_from_a_parameter_keeps_its_bits() {
    on_both(|device| {
        let mut ours = Ours::new(pair(device), device, of_order(0, 1));
        let held = ours.module.a.val();
        // A view of the parameter's own buffer.
        let view = ours.module.b.val().inner().swap_dims(0, 1);
        let before = (lossless(held.clone()), lossless(view.clone()));
        for step in 0..3 {
            let grads = of_loss(&ours.module, step);
            ours = ours.step(0.1, grads, "beside tensors that are held");
        }
        assert_eq!((lossless(held), lossless(view)), before);
    });
}

#[test]
fn a_parameter_in_two_fields_is_updated_as_burn_does() {
    on_both(|device| {
        let mut ours = pair(device);
        ours.b = ours.a.clone();
        let mut theirs = ours.clone();
        let [beta1, beta2] = [0.9_f32, 0.999].map(f64::from);
        let weight_decay = WeightDecay::Decoupled(f64::from(0.1_f32));
        let hyperparams = Hyperparams { order: 0, beta1, beta2, weight_decay, ..Hyperparams::default() };
        let mut optimizer = MiAdamConfig::new(hyperparams).init(device).unwrap();
        let mut burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).init();
        let mut old = [values(&ours), values(&theirs)];
        for step in 0..3 {
            let grads = of_loss(&ours, step);
            theirs = burns.step(0.1, theirs, again(&ours, &grads));
            ours = optimizer.step(0.1, ours, grads).unwrap();
            let new = [values(&ours), values(&theirs)];
            // burn's powers of β in f32 come on top of what WGSL allows, as in `trajectory`.
            assert_updates(old.each_ref(), new.each_ref(), 128.0, "in two fields");
            old = new;
        }
    });
}

#[test]
fn parameters_may_lie_in_any_order() {
    on_both(|device| {
        let [rows, columns] = SHAPE;
        let transposed = param(numbers([columns, rows], 3, device).swap_dims(0, 1));
        let row = param(numbers([1, columns], 4, device).expand(SHAPE));
        trains(device, Pair { a: transposed, b: row }, of_loss, "transposed, and one row for all");
        let column = param(numbers([rows, 1], 5, device).expand(SHAPE));
        let whole = numbers([2 * rows, columns], 6, device);
        let half = param(whole.clone().slice(rows..2 * rows));
        let before = lossless(whole.clone());
        trains(device, Pair { a: column, b: half }, of_loss, "one column for all, and half of a tensor");
        assert_eq!(lossless(whole), before, "the tensor that a parameter was a part of");
    });
}

#[test]
fn parameters_may_share_a_buffer() {
    on_both(|device| {
        let whole = numbers([12, 4], 7, device);
        let [a, b] = [0..6, 6..12].map(|rows| param(whole.clone().slice([rows])));
        drop(whole);
        trains(device, Pair { a, b }, of_loss, "halves of one tensor");
        let one = numbers(SHAPE, 8, device);
        trains(device, Pair { a: param(one.clone()), b: param(one) }, of_loss, "one tensor, two parameters");
    });
}

#[test]
fn gradients_may_be_expanded() {
    on_both(|device| {
        // The gradient of a sum is one number for all.
        let sum = |pair: &Pair, _| backward(pair.a.val().sum() + pair.b.val().sum() * 2.0, pair);
        trains(device, pair(device), sum, "the gradient of a sum");
        let of_rows = |pair: &Pair, step| {
            let mut grads = GradientsParams::new();
            grads.register(pair.a.id, numbers([1, SHAPE[1]], step, device).expand(SHAPE));
            grads.register(pair.b.id, numbers([SHAPE[0], 1], step, device).expand(SHAPE));
            grads
        };
        trains(device, pair(device), of_rows, "an expanded gradient");
    });
}

#[test]
fn gradients_may_be_one_buffer() {
    on_both(|device| {
        let sum = |pair: &Pair, step| {
            let input = Tensor::from_inner(numbers(SHAPE, step, device));
            backward(((pair.a.val() + pair.b.val()) * input).sum(), pair)
        };
        trains(device, pair(device), sum, "the gradient of a sum of two parameters");
        let register = |pair: &Pair, [a, b]: [Tensor<2>; 2]| {
            let mut grads = GradientsParams::new();
            grads.register(pair.a.id, a);
            grads.register(pair.b.id, b);
            grads
        };
        let one =
            |pair: &Pair, step| register(pair, [(); 2].map(|()| numbers(SHAPE, step, device)).map(|one| one + 1.0));
        trains(device, pair(device), one, "two gradients");
        let twice = |pair: &Pair, step| {
            let one = numbers(SHAPE, step, device) + 1.0;
            register(pair, [one.clone(), one])
        };
        trains(device, pair(device), twice, "one gradient for two parameters");
        let slices = |pair: &Pair, step| {
            let whole = numbers([12, 4], step, device);
            register(pair, [0..6, 6..12].map(|rows| whole.clone().slice([rows])))
        };
        trains(device, pair(device), slices, "halves of one gradient");
        let crossed = |pair: &Pair, step| {
            let whole = numbers([9, 4], step, device);
            register(pair, [0..6, 3..9].map(|rows| whole.clone().slice([rows])))
        };
        trains(device, pair(device), crossed, "overlapping parts of one gradient");
        // Each decays towards the other.
        let parameters = |pair: &Pair, _| register(pair, [pair.b.val().inner(), pair.a.val().inner()]);
        trains(device, pair(device), parameters, "parameters as gradients");
    });
}

#[test]
fn gradients_keep_their_bits() {
    on_both(|device| {
        let mut ours = Ours::new(pair(device), device, of_order(1, 4));
        let grads = of_loss(&ours.module, 0);
        let held: Tensor<2> = grads.get(ours.module.a.id).unwrap();
        let before = lossless(held.clone());
        ours = ours.step(0.1, grads, "with a gradient that is held");
        assert_eq!(lossless(held), before);
        drop(ours);
    });
}

#[test]
fn threads_may_make_hold_and_step_tensors() {
    on_both(|device| {
        // Made by another thread, which flushes, as burn asks for.
        let made = thread::scope(|scope| {
            let make = || {
                let made = pair(device);
                let grads = of_loss(&made, 0);
                device.flush().unwrap();
                (made, grads)
            };
            scope.spawn(make).join().unwrap()
        });
        let (made, grads) = made;
        let mut ours = Ours::new(made, device, of_order(1, 4)).step(rate(0), grads, "made by another thread");
        for step in 1..4 {
            // Held by another thread, which reads it while a step is taken.
            let (held, before) = (ours.module.clone(), values(&ours.module));
            let grads = of_loss(&ours.module, step);
            ours = thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    let seen: Vec<_> = (0..5).map(|_| values(&held)).collect();
                    seen.iter().for_each(|seen| assert_bits(seen, &before, "held by another thread"));
                });
                let ours = ours.step(rate(step), grads, "held by another thread");
                reader.join().unwrap();
                ours
            });
        }
        for step in 4..7 {
            // Each step on a thread of its own.
            let grads = of_loss(&ours.module, step);
            device.flush().unwrap();
            ours = thread::spawn(move || ours.step(rate(step), grads, "stepped by another thread")).join().unwrap();
        }
    });
}
