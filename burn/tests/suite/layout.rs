//! Gradients whose elements lie in another order than row-major, as those of convolutions do.

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use miadam_burn::miadam::{Average, Checkpoint, Hyperparams, LoadOptions, Plane};
use miadam_burn::{MiAdam, MiAdamConfig};

use crate::devices::devices;

type Net = Vec<Param<Tensor<4>>>;

const SHAPE: [usize; 4] = [3, 4, 1, 5];
const LEN: usize = 60;

fn numbers(seed: usize) -> TensorData {
    TensorData::new::<f32, _>((0..LEN).map(|n| ((n * 29 + seed * 17) % 41) as f32 / 20.0 - 1.0).collect(), SHAPE)
}

fn net(device: &Device) -> Net {
    vec![
        Param::from_data(numbers(1), &device.clone().autodiff()),
        Param::from_data(numbers(2), &device.clone().autodiff()),
    ]
}

/// The same values, in another order in memory if `last` says so: the second axis is the fastest then.
fn grads(net: &Net, step: usize, last: bool, device: &Device) -> GradientsParams {
    let mut grads = GradientsParams::new();
    for (number, param) in net.iter().enumerate() {
        let grad = Tensor::<4>::from_data(numbers(step + 7 * number), device);
        let grad = if last {
            // A copy in the permuted order, seen in the old one. Adding makes it a tensor of its own.
            (grad.permute([0, 2, 3, 1]).reshape([3, 1, 5, 4]) + 0.0).permute([0, 3, 1, 2])
        } else {
            grad
        };
        grads.register(param.id, grad);
    }
    grads
}

fn config() -> MiAdamConfig {
    let average = Average::Ema { decay: 0.9, warmup: true };
    MiAdamConfig::new(Hyperparams { order: 2, kappa: 0.5, switch_step: 8, average, ..Hyperparams::default() })
}

fn values(net: &Net) -> Vec<Vec<f32>> {
    net.iter().map(|param| param.val().into_data().try_to_vec::<f32>().unwrap()).collect()
}

fn planes(checkpoint: &Checkpoint) -> Vec<Vec<(Plane, Vec<f32>)>> {
    let planes = |state: &miadam_burn::miadam::ParamState| state.planes().map(|(p, v)| (p, v.to_vec())).collect();
    checkpoint.states().iter().map(planes).collect()
}

/// What is left after ten steps. `last` says for each step in which order its gradients lie.
fn run(device: &Device, last: impl Fn(usize) -> bool, stop: Option<usize>) -> (Vec<Vec<f32>>, Checkpoint) {
    let (mut net, mut optimizer) = (net(device), config().init(device).unwrap());
    for step in 0..10 {
        if stop == Some(step) {
            let saved = optimizer.checkpoint().unwrap();
            optimizer = config().init(device).unwrap();
            optimizer.load_checkpoint(saved, LoadOptions::default()).unwrap();
            // As a record would bring it, in row-major order.
            net = values(&net)
                .into_iter()
                .map(|own| Param::from_data(TensorData::new(own, SHAPE), &device.clone().autodiff()))
                .collect();
        }
        let grads = grads(&net, step, last(step), device);
        net = optimizer.step(1e-2, net, grads).unwrap();
    }
    (values(&net), optimizer.checkpoint().unwrap())
}

#[test]
fn any_order_gives_the_same_bits() {
    for device in [&devices()[0], &Device::flex()] {
        let (expected, saved) = run(device, |_| false, None);
        for last in [[true; 10], std::array::from_fn(|step| step % 2 == 0), std::array::from_fn(|step| step > 4)] {
            for stop in [None, Some(1), Some(6)] {
                let (found, resumed) = run(device, |step| last[step], stop);
                assert_eq!(found, expected, "{last:?}, stopped {stop:?}");
                // Checkpoints are row-major, whatever the order was.
                assert_eq!(planes(&resumed), planes(&saved), "{last:?}, stopped {stop:?}");
            }
        }
    }
}

#[test]
fn averages_are_exchanged_in_the_same_order() {
    let device = &devices()[0];
    let averaged = |last: bool| {
        let (mut net, mut optimizer): (_, MiAdam) = (net(device), config().init(device).unwrap());
        for step in 0..4 {
            let grads = grads(&net, step, last, device);
            net = optimizer.step(1e-2, net, grads).unwrap();
        }
        let before = values(&net);
        let net = optimizer.swap_averages(net).unwrap();
        let average = values(&net);
        assert_ne!(average, before);
        let net = optimizer.swap_averages(net).unwrap();
        assert_eq!(values(&net), before);
        average
    };
    assert_eq!(averaged(true), averaged(false));
}

#[test]
fn a_loading_into_a_running_optimizer_is_row_major_too() {
    let device = &devices()[0];
    let (_, saved) = run(device, |_| false, None);
    let (mut net, mut optimizer) = (net(device), config().init(device).unwrap());
    let first = grads(&net, 3, true, device);
    net = optimizer.step(1e-2, net, first).unwrap();
    optimizer.load_checkpoint(saved.clone(), LoadOptions::default()).unwrap();
    assert_eq!(planes(&optimizer.checkpoint().unwrap()), planes(&saved));
    drop(net);
}
