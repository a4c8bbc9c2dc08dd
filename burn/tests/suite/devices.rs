//! Several devices: two wgpu devices of one adapter, as burn's `ExecutionStrategy::MultiDevice` uses them.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsAccumulator, GradientsParams, MultiGradientsParams};
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn::tensor::{Device, Tensor, TensorData};
use miadam_burn::miadam::{GradOptions, Hyperparams, LoadOptions};
use miadam_burn::{MiAdam, MiAdamConfig};
use std::sync::OnceLock;

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: Linear,
    third: Linear,
}

/// Another device on the adapter that burn would take, made by the program itself.
fn another() -> Device {
    another_with_setup().0
}

/// The same with its wgpu handles.
pub fn another_with_setup() -> (Device, WgpuSetup) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let block_on = pollster::block_on::<std::pin::Pin<Box<dyn Future<Output = _>>>>;
    let setup = block_on(Box::pin(async {
        let adapter = instance.request_adapter(&Default::default()).await.unwrap();
        let features = adapter.features() - wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        let limits = adapter.limits();
        let descriptor =
            wgpu::DeviceDescriptor { required_features: features, required_limits: limits, ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.unwrap();
        let backend = adapter.get_info().backend;
        WgpuSetup { instance: instance.clone(), adapter, device, queue, backend }
    }));
    let device = Device::wgpu_options().setup(setup.clone()).init().unwrap();
    miadam_burn::register(&device, setup.clone()).unwrap();
    (device, setup)
}

/// Two, the same for all tests.
pub fn devices() -> &'static [Device; 2] {
    static DEVICES: OnceLock<[Device; 2]> = OnceLock::new();
    DEVICES.get_or_init(|| [another(), another()])
}

fn net(device: &Device) -> Net {
    let device = device.clone().autodiff();
    let [first, second, third] = [[4, 8], [8, 8], [8, 2]].map(|[from, to]| {
        let mut layer = LinearConfig::new(from, to).init(&device);
        let values = (0..from * to).map(|n| ((n * 37 % 23) as f32 - 11.0) / 40.0).collect();
        layer.weight = burn::module::Param::from_data(TensorData::new::<f32, _>(values, [from, to]), &device);
        layer.bias = Some(burn::module::Param::from_data(TensorData::new(vec![0.1_f32; to], [to]), &device));
        layer
    });
    Net { first, second, third }
}

/// The gradients of one half of a batch.
fn grads(net: &Net, step: usize, half: usize) -> GradientsParams {
    let device = net.devices()[0].clone();
    let values = (0..12).map(|n| ((n * 13 + 7 * step + 5 * half) % 19) as f32 / 9.0 - 1.0).collect::<Vec<_>>();
    let input = Tensor::<2>::from_data(TensorData::new(values, [3, 4]), &device);
    let hidden = net.second.forward(net.first.forward(input).tanh()).tanh();
    let loss = (net.third.forward(hidden) - 0.5).square().sum();
    GradientsParams::from_grads(loss.backward(), net)
}

fn values(net: &Net) -> Vec<f32> {
    let mut values = Vec::new();
    for layer in [&net.first, &net.second, &net.third] {
        values.extend(layer.weight.val().into_data().try_to_vec::<f32>().unwrap());
        values.extend(layer.bias.as_ref().unwrap().val().into_data().try_to_vec::<f32>().unwrap());
    }
    values
}

fn config() -> MiAdamConfig {
    MiAdamConfig::new(Hyperparams { lr: 0.0, order: 1, kappa: 0.5, switch_step: 6, ..Hyperparams::default() })
}

/// One step as `MultiDeviceOptim::OptimSharded` takes it: every device has the gradients of its part of the batch.
fn sharded_step(optimizer: &mut MiAdam, net: Net, step: usize) -> Net {
    let mut all = MultiGradientsParams::default();
    for (half, device) in devices().iter().enumerate() {
        let replica = net.clone().fork(&device.clone().autodiff());
        all.grads.push((grads(&replica, step, half), device.clone()));
    }
    optimizer.step_multi(1e-2, net, all).unwrap()
}

/// One step as `OptimMainDevice` takes it.
fn main_step(optimizer: &mut MiAdam, net: Net, step: usize) -> Net {
    let main = &devices()[0];
    let mut accumulator = GradientsAccumulator::new();
    for (half, device) in devices().iter().enumerate() {
        let replica = net.clone().fork(&device.clone().autodiff());
        accumulator.accumulate(&net, grads(&replica, step, half).to_device(main, &net));
    }
    optimizer.step(1e-2, net, accumulator.grads()).unwrap()
}

/// One device with the whole batch, whose gradients are summed up in the same order.
fn lone_step(optimizer: &mut MiAdam, net: Net, step: usize) -> Net {
    let mut accumulator = GradientsAccumulator::new();
    for half in 0..2 {
        accumulator.accumulate(&net, grads(&net, step, half));
    }
    optimizer.step(1e-2, net, accumulator.grads()).unwrap()
}

/// `net` where one device has all of it.
fn at_home(net: Net) -> Net {
    net.fork(&devices()[0].clone().autodiff())
}

fn near(found: &[f32], expected: &[f32]) {
    for (found, expected) in found.iter().zip(expected) {
        // The halves' gradients are added in either order, and a device of the same kind rounds alike: what is left is an ulp
        // of a gradient, which Adam's quotient makes a like part of a step of 0.01, over ten steps.
        assert!((found - expected).abs() <= 1e-5, "{found} is not {expected}");
    }
}

#[test]
fn several_devices_are_one_with_the_whole_batch() {
    let home = &devices()[0];
    let (mut alone, mut main, mut sharded) = (net(home), net(home), net(home));
    let mut optimizers = [config().init(home).unwrap(), config().init(home).unwrap()];
    let mut over_both = config().init_multi(devices()).unwrap();
    let start = values(&alone);
    for step in 0..10 {
        alone = lone_step(&mut optimizers[0], alone, step);
        main = main_step(&mut optimizers[1], main, step);
        sharded = sharded_step(&mut over_both, sharded, step);
        let replicas = devices().each_ref().map(|device| values(&sharded.clone().fork(&device.clone().autodiff())));
        assert_eq!(replicas[0], replicas[1], "replicas have the same bits");
    }
    let [alone, main, sharded] = [alone, main, at_home(sharded)].map(|net| values(&net));
    assert!(start.iter().zip(&alone).all(|(a, b)| a != b), "all parameters have moved");
    near(&main, &alone);
    near(&sharded, &alone);
}

#[test]
fn each_device_keeps_the_state_of_its_own_parameters() {
    let mut sharded = net(&devices()[0]);
    let mut optimizer = config().init_multi(devices()).unwrap();
    sharded = sharded_step(&mut optimizer, sharded, 0);
    let checkpoint = optimizer.checkpoint().unwrap();
    let names: Vec<_> = checkpoint.states().iter().map(|state| state.name.clone()).collect();
    assert_eq!(names.len(), 6);
    // Two planes and the integral, in whole quads.
    let bytes = |len: usize| 12 * len.next_multiple_of(4) as u64;
    assert_eq!(optimizer.state_bytes(), [32, 8, 64, 8, 16, 2].map(bytes).iter().sum::<u64>());
    assert_eq!(optimizer.report().unwrap().step, 1);
    drop(sharded);
}

#[test]
fn a_run_goes_on_with_another_number_of_devices() {
    let home = &devices()[0];
    let run = |stop: Option<usize>| {
        let (mut net, mut optimizer) = (net(home), config().init_multi(devices()).unwrap());
        for step in 0..8 {
            if stop == Some(step) {
                let saved = optimizer.checkpoint().unwrap();
                optimizer = config().init_multi(devices()).unwrap();
                optimizer.load_checkpoint(saved, LoadOptions::default()).unwrap();
            }
            net = sharded_step(&mut optimizer, net, step);
        }
        (values(&at_home(net)), optimizer.checkpoint().unwrap())
    };
    let (expected, saved) = run(None);
    for stop in [1, 5] {
        let (found, resumed) = run(Some(stop));
        assert_eq!(found, expected, "stopped before step {stop}");
        // Parameters have other numbers in each net, so that they may be on other devices.
        assert_eq!(by_name(&resumed), by_name(&saved));
    }

    // From two devices to one, and back.
    let (mut first, mut optimizer) = (net(home), config().init_multi(devices()).unwrap());
    for step in 0..4 {
        first = sharded_step(&mut optimizer, first, step);
    }
    let saved = optimizer.checkpoint().unwrap();
    let (mut alone, mut again) = (at_home(first.clone()), first);
    let mut one = config().init(home).unwrap();
    one.load_checkpoint(saved, LoadOptions::default()).unwrap();
    for step in 4..8 {
        alone = lone_step(&mut one, alone, step);
        again = sharded_step(&mut optimizer, again, step);
    }
    near(&values(&alone), &values(&at_home(again)));
    let mut two = config().init_multi(devices()).unwrap();
    two.load_checkpoint(one.checkpoint().unwrap(), LoadOptions::default()).unwrap();
    sharded_step(&mut two, alone, 8);
    assert_eq!(two.report().unwrap().step, 9);
}

/// burn splits a dataset evenly by items, so that the last batches of an epoch may be of some devices only. It then adds up the
/// gradients on those, and takes the module to the main device.
#[test]
fn a_device_without_a_batch_keeps_its_parameters() {
    let home = &devices()[0];
    for present in [0, 1] {
        let (mut alone, mut sharded) = (net(home), net(home));
        let mut optimizer = config().init(home).unwrap();
        let mut over_both = config().init_multi(devices()).unwrap();
        let mut bytes = 0;
        for step in 0..8 {
            let halves = if step % 3 == 2 { present..present + 1 } else { 0..2 };
            let (mut accumulator, mut all) = (GradientsAccumulator::new(), MultiGradientsParams::default());
            for (half, device) in devices().iter().enumerate() {
                if halves.contains(&half) {
                    accumulator.accumulate(&alone, grads(&alone, step, half));
                    let replica = sharded.clone().fork(&device.clone().autodiff());
                    all.grads.push((grads(&replica, step, half), device.clone()));
                } else {
                    all.grads.push((GradientsParams::new(), device.clone()));
                }
            }
            alone = optimizer.step(1e-2, alone, accumulator.grads()).unwrap();
            sharded = over_both.step_multi(1e-2, sharded, all).unwrap();
            if step % 3 == 2 {
                sharded = at_home(sharded);
            }
            if step == 0 {
                bytes = over_both.state_bytes();
            }
        }
        near(&values(&at_home(sharded)), &values(&alone));
        assert_eq!(over_both.state_bytes(), bytes, "no parameter has its state twice");
        let counts = |checkpoint: miadam_burn::miadam::Checkpoint| {
            let mut counts: Vec<_> = checkpoint.states().iter().map(|own| (own.name.clone(), own.step())).collect();
            counts.sort();
            (checkpoint.step(), counts)
        };
        assert_eq!(counts(over_both.checkpoint().unwrap()), counts(optimizer.checkpoint().unwrap()));
    }
}

#[test]
fn a_device_may_get_its_first_parameter_late() {
    let [home, other] = devices();
    let (mut net, mut optimizer) = (net(home), config().init_multi(devices()).unwrap());
    // Of these layers, on this device.
    let part = |net: &Net, step: usize, device: &Device, is_third: bool| {
        let replica = net.clone().fork(&device.clone().autodiff());
        let mut grads = grads(&replica, step, 0);
        for layer in [&net.first, &net.second, &net.third] {
            if std::ptr::eq(layer, &net.third) != is_third {
                grads.remove::<2>(layer.weight.id);
                grads.remove::<1>(layer.bias.as_ref().unwrap().id);
            }
        }
        (grads, device.clone())
    };
    for step in 0..5 {
        let mut all = MultiGradientsParams::default();
        all.grads.push(part(&net, step, home, false));
        if step >= 3 {
            all.grads.push(part(&net, step, other, true));
        }
        net = at_home(optimizer.step_multi(1e-2, net, all).unwrap());
    }
    let saved = optimizer.checkpoint().unwrap();
    let counts: Vec<_> = saved.states().iter().map(|state| (&state.name[..], state.step())).collect();
    assert_eq!(saved.step(), 5);
    assert_eq!(counts.iter().filter(|(name, step)| name.starts_with("third") && *step == 2).count(), 2);
    assert_eq!(counts.iter().filter(|(name, step)| !name.starts_with("third") && *step == 5).count(), 4);
    let mut one = config().init(home).unwrap();
    one.load_checkpoint(saved, LoadOptions::default()).unwrap();
    lone_step(&mut one, net, 5);
    assert_eq!(one.report().unwrap().step, 6);
}

fn by_name(checkpoint: &miadam_burn::miadam::Checkpoint) -> Vec<(String, Vec<Vec<f32>>)> {
    let planes = |state: &miadam_burn::miadam::ParamState| state.planes().map(|(_, values)| values.to_vec()).collect();
    let mut all: Vec<_> = checkpoint.states().iter().map(|state| (state.name.clone(), planes(state))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn what_needs_all_gradients_is_refused_on_several_devices() {
    let clipped = GradOptions { clip_norm: Some(1.0), ..GradOptions::default() };
    let error = config().with_grad_options(clipped).init_multi(devices()).map(drop).unwrap_err().to_string();
    assert!(error.contains("`clip_norm`") && error.contains("OptimMainDevice"), "{error}");
    assert!(config().init_multi(&[]).is_err());
    let mut optimizer = config().init_multi(devices()).unwrap();
    assert!(optimizer.set_grad_options(clipped).is_err());
    let halved = GradOptions { factor: 0.5, clip_value: Some(1.0), ..GradOptions::default() };
    optimizer.set_grad_options(halved).unwrap();
}

#[test]
fn a_checkpoint_of_another_module_is_refused_by_the_first_step() {
    let home = &devices()[0];
    let mut optimizer = config().init_multi(devices()).unwrap();
    drop(sharded_step(&mut optimizer, net(home), 0));
    let mut saved = optimizer.checkpoint().unwrap();
    saved.rename_params(|name| Some(name.replace("third", "fourth"))).unwrap();
    let mut other = config().init_multi(devices()).unwrap();
    other.load_checkpoint(saved, LoadOptions::default()).unwrap();
    let mut all = MultiGradientsParams::default();
    let module = net(home);
    all.grads.push((grads(&module, 0, 0), home.clone()));
    let before = values(&module);
    let refused = other.step_multi(1e-2, module, all).unwrap_err();
    assert!(refused.to_string().contains("the checkpoint has `fourth."), "{refused}");
    assert_eq!(values(&refused.module), before);
}
