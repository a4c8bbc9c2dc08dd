//! What is refused: the message names the path and what to do, the module comes back, and the next step is as if nothing had been.

use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::module::{Module, Param, ParamGroup};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use miadam_burn::miadam::{Checkpoint, GradOptions, LoadOptions};
use miadam_burn::{Error, MiAdam, MiAdamConfig};

use crate::common::{Mlp, Net, assert_bits, backward, gpu, ids, of_order, on_both, rate, train, values};

fn optimizer(device: &Device) -> MiAdam {
    MiAdamConfig::new(of_order(2, 9)).init(device).unwrap()
}

/// Gradients that no step takes, and parts of the message.
type Bad = (&'static str, fn(&Mlp) -> (ModuleLearningRate, GradientsParams), &'static [&'static str]);

/// A learning rate for all parameters.
fn one(grads: GradientsParams) -> (ModuleLearningRate, GradientsParams) {
    (1e-2.into(), grads)
}

fn of_another_module(net: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    let other = Mlp::new(&net.devices()[0]);
    one(backward(other.loss(0), &other))
}

fn of_another_module_too(net: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    let (_, mut grads) = of_another_module(net);
    let own = net.first.bias.as_ref().unwrap();
    grads.register(own.id, own.val().inner());
    one(grads)
}

fn of_another_shape(net: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    let mut grads = backward(net.loss(0), net);
    let id = ids(net)["second.weight"];
    let grad = grads.remove::<2>(id).unwrap();
    grads.register(id, grad.transpose());
    one(grads)
}

fn in_double_precision(net: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    let mut grads = backward(net.loss(0), net);
    let id = ids(net)["second.bias"];
    let grad = grads.remove::<1>(id).unwrap();
    grads.register(id, grad.cast(DType::F64));
    one(grads)
}

fn none(_: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    one(GradientsParams::new())
}

fn of_two_learning_rates(net: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    let linear = |from: f64| LinearLrSchedulerConfig::new(from, from / 2.0, 4);
    let config = ModuleLrSchedulerConfig::new(linear(0.1).into());
    let config = config.with_group(ParamGroup::from_path("second.weight"), linear(0.2));
    (config.init().unwrap().step(), backward(net.loss(0), net))
}

fn on_another_device(net: &Mlp) -> (ModuleLearningRate, GradientsParams) {
    let here = net.devices()[0].clone().without_autodiff();
    let there = if here == Device::flex() { gpu() } else { Device::flex() };
    one(backward(net.loss(0), net).to_device(&there, net))
}

const BAD: [Bad; 7] = [
    ("gradients of another module", of_another_module, &["4 of 4 gradients", "GradientsParams::from_grads"]),
    ("gradients of another module as well", of_another_module_too, &["4 of 5 gradients"]),
    ("a gradient of another shape", of_another_shape, &["`second.weight`", "[3, 8]", "[8, 3]"]),
    ("no gradient", none, &["no parameter", "autodiff"]),
    ("two learning rates in a group", of_two_learning_rates, &["`second.weight`", "with_group"]),
    ("gradients on another device", on_another_device, &["`first.weight`", "move the module"]),
    ("a gradient in f64", in_double_precision, &["`second.bias`", "F64", "f16 or bf16"]),
];

#[test]
fn a_refused_step_changes_nothing() {
    on_both(|device| {
        let is_flex = *device == Device::flex();
        for at in [0, 3] {
            let (mut found, mut expected) = (optimizer(device), optimizer(device));
            let mut net = train(&mut found, Mlp::new(device), 0..at);
            let mut plain = train(&mut expected, Mlp::new(device), 0..at);
            for (what, bad, words) in BAD {
                // Few GPUs have f64.
                if what.ends_with("f64") && !is_flex {
                    continue;
                }
                let before = values(&net);
                let (lr, grads) = bad(&net);
                let refused = found.step(lr, net, grads).unwrap_err();
                let message = refused.to_string();
                assert!(words.iter().all(|word| message.contains(word)), "{what}: {message}");
                net = refused.module;
                assert_bits(&values(&net), &before, what);
                // It can be trained on, so that autodiff has it again.
                assert_eq!(backward(net.loss(0), &net).len(), 4, "{what}");
            }
            net = train(&mut found, net, at..at + 3);
            plain = train(&mut expected, plain, at..at + 3);
            assert_bits(&values(&net), &values(&plain), "after what was refused");
            assert!(found.checkpoint().unwrap().states() == expected.checkpoint().unwrap().states());
        }
    });
}

#[test]
fn a_parameter_that_has_become_another_is_refused() {
    on_both(|device| {
        let mut optimizer = optimizer(device);
        let net = train(&mut optimizer, Mlp::new(device), 0..2);
        let expected = {
            let mut same = MiAdamConfig::new(of_order(2, 9)).init(device).unwrap();
            let same_net = train(&mut same, Mlp::new(device), 0..2);
            values(&train(&mut same, same_net, 2..3))
        };
        let mut other = net.clone();
        let autodiff = device.clone().autodiff();
        // The bias rests in this step: what was asked of it must not last.
        let grown = burn::nn::LinearConfig::new(8, 7).with_bias(false).init(&autodiff);
        other.second = grown;
        let loss = other.second.forward(other.first.forward(Tensor::<2>::ones([2, 5], &autodiff))).sum();
        let grads = backward(loss, &other);
        let message = optimizer.step(1e-2, other, grads).unwrap_err().to_string();
        assert!(message.contains("`second.weight` was 24 elements of F32 and is 56"), "{message}");
        assert_bits(&values(&train(&mut optimizer, net, 2..3)), &expected, "the step after it");
    });
}

#[derive(Module, Debug)]
struct Counter {
    count: Param<Tensor<1, Int>>,
}

#[test]
fn a_module_without_float_parameters_is_refused() {
    on_both(|device| {
        let module = Counter {
            count: Param::initialized(Default::default(), Tensor::from_data(TensorData::from([1, 2]), device)),
        };
        let refused = optimizer(device).step(1e-2, module, GradientsParams::new()).unwrap_err();
        assert!(matches!(*refused.error, Error::NoGradients), "{refused}");
        assert_eq!(refused.module.count.val().into_data().try_to_vec::<i32>().unwrap(), [1, 2]);
    });
}

#[test]
fn devices_and_options_that_cannot_be_are_refused() {
    // burn makes it at its first use, and gives its queue to nobody.
    let other = Device::wgpu(burn::tensor::DeviceKind::Cpu);
    let message = MiAdamConfig::default().init(&other).map(drop).unwrap_err().to_string();
    assert!(message.contains("queue") && message.contains("miadam_burn::wgpu_device"), "{message}");
    // It is there already.
    gpu();
    let message = miadam_burn::wgpu_device(Device::wgpu_options()).unwrap_err().to_string();
    assert!(message.contains("already"), "{message}");

    let zero = GradOptions { zero: true, ..GradOptions::default() };
    let message = MiAdamConfig::default().with_grad_options(zero).init(&gpu()).map(drop).unwrap_err().to_string();
    assert!(message.contains("`zero`") && message.contains("leave it out"), "{message}");
    let mut optimizer = optimizer(&gpu());
    assert!(optimizer.set_grad_options(zero).is_err());
    let group = ParamGroup::from_predicate("bias");
    let beyond = MiAdamConfig::default()
        .with_group(group, of_order(2, 9))
        .with_group(ParamGroup::all(), miadam_burn::miadam::Hyperparams { beta2: 1.0, ..of_order(1, 2) });
    let message = beyond.init(&gpu()).map(drop).unwrap_err().to_string();
    assert!(message.contains("group 2") && message.contains("beta2"), "{message}");
}

#[test]
fn nothing_is_known_before_the_first_step() {
    on_both(|device| {
        let mut optimizer = optimizer(device);
        assert!(matches!(optimizer.checkpoint(), Err(Error::NoStepYet)));
        assert!(matches!(optimizer.report(), Err(Error::NoStepYet)));
        assert!(matches!(optimizer.release_integrals(), Err(Error::NoStepYet)));
        let net = Mlp::new(device);
        let before = values(&net);
        let refused = optimizer.swap_averages(net).unwrap_err();
        assert!(refused.to_string().contains("take one first"), "{refused}");
        assert_bits(&values(&refused.module), &before, "the module");
        let file = std::env::temp_dir().join("miadam-burn-never-saved.safetensors");
        assert!(optimizer.save(&file).is_err() && !file.exists());
        assert!(optimizer.load(&file).unwrap_err().to_string().contains("miadam-burn-never-saved"));
    });
}

/// What a checkpoint has become, and parts of the message.
type Misfit = (&'static str, fn(&mut Checkpoint), &'static [&'static str]);

const MISFITS: [Misfit; 2] = [
    (
        "renamed paths",
        |saved| saved.rename_params(|name| Some(name.replace("first", "encoder"))).unwrap(),
        &["encoder."],
    ),
    ("a parameter that is missing", |saved| saved.retain_params(|name| name != "second.bias"), &[]),
];

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_by_the_first_step() {
    on_both(|device| {
        let mut trained = optimizer(device);
        let net = train(&mut trained, Mlp::new(device), 0..2);
        for (what, misfit, words) in MISFITS {
            let mut saved = trained.checkpoint().unwrap();
            misfit(&mut saved);
            let mut other = optimizer(device);
            other.load_checkpoint(saved, LoadOptions::default()).unwrap();
            let result = other.step(rate(2), net.clone(), backward(net.loss(2), &net));
            match words {
                // It starts anew, as one whose first gradient comes now.
                [] => assert!(other.checkpoint().unwrap().states().iter().any(|state| state.step() == 1), "{what}"),
                words => {
                    let refused = result.unwrap_err();
                    let message = refused.to_string();
                    assert!(words.iter().all(|word| message.contains(word)), "{what}: {message}");
                    assert_bits(&values(&refused.module), &values(&net), what);
                    // The right one in its place.
                    other.load_checkpoint(trained.checkpoint().unwrap(), LoadOptions::default()).unwrap();
                    train(&mut other, refused.module, 2..3);
                    assert_eq!(other.report().unwrap().step, 3);
                }
            }
        }
    });
}

#[test]
fn the_order_of_a_checkpoint_wins() {
    on_both(|device| {
        let mut trained = optimizer(device);
        let net = train(&mut trained, Mlp::new(device), 0..2);
        let saved = trained.checkpoint().unwrap();
        let expected = values(&train(&mut trained, net.clone(), 2..4));
        let mut other = MiAdamConfig::new(of_order(1, 5)).init(device).unwrap();
        other.load_checkpoint(saved.clone(), LoadOptions::default()).unwrap();
        assert_bits(&values(&train(&mut other, net.clone(), 2..4)), &expected, "as if it had been made so");
        // Where it is not to win, what does not fit is an error.
        let mut own = MiAdamConfig::new(of_order(3, 5)).init(device).unwrap();
        own.load_checkpoint(saved, LoadOptions { own_hyperparams: true, ..LoadOptions::default() }).unwrap();
        let refused = own.step(rate(2), net.clone(), backward(net.loss(2), &net)).unwrap_err();
        assert!(refused.to_string().contains("integral/3/"), "{refused}");
    });
}
