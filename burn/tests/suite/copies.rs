//! Modules whose tensors somebody else holds: a clone keeps its values, and the step is the same.

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::f16;
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::Hyperparams;

type Net = Vec<Param<Tensor<1>>>;

/// Large ones have buffers of their own, small ones lie in pools. The last one has half a word left over.
const LENS: [usize; 4] = [1_000_001, 5, 4096, 3];

fn tensor(number: usize, seed: usize, device: &Device) -> Tensor<1> {
    let len = LENS[number];
    let values = (0..len).map(|n| ((n * 37 + seed) % 1009) as f32 / 512.0 - 1.0);
    match number {
        3 => Tensor::from_data(TensorData::new(values.map(f16::from_f32).collect(), [len]), (device, DType::F16)),
        _ => Tensor::from_data(TensorData::new(values.collect(), [len]), (device, DType::F32)),
    }
}

fn bytes(net: &Net) -> Vec<Vec<u8>> {
    net.iter().map(|param| param.val().into_data().as_bytes().to_vec()).collect()
}

/// A net before and after two steps, of which the second meets tensors that the first has left.
fn steps(device: &Device, is_shared: bool) -> [Vec<Vec<u8>>; 2] {
    let training = device.clone().autodiff();
    let mut net: Net = (0..LENS.len()).map(|number| Param::from_tensor(tensor(number, 7, &training))).collect();
    let mut optimizer = MiAdamConfig::new(Hyperparams::default()).init(device).unwrap();
    let mut kept = Vec::new();
    for step in 0..2 {
        let mut grads = GradientsParams::new();
        for (number, param) in net.iter().enumerate() {
            grads.register(param.id, tensor(number, 100 + step, device));
        }
        if is_shared {
            kept.push((net.clone(), bytes(&net)));
        }
        net = optimizer.step(0.01, net, grads).unwrap();
    }
    for (clone, before) in &kept {
        assert!(bytes(clone) == *before, "a clone has changed");
    }
    let start = (0..LENS.len()).map(|number| tensor(number, 7, device).into_data().as_bytes().to_vec());
    [start.collect(), bytes(&net)]
}

#[test]
fn a_clone_keeps_its_values_and_the_step_is_the_same() {
    let device = &crate::common::gpu();
    let [start, own] = steps(device, false);
    let [_, shared] = steps(device, true);
    for (number, ((own, shared), start)) in own.iter().zip(&shared).zip(&start).enumerate() {
        assert!(own == shared, "tensor {number} differs");
        assert!(own != start, "tensor {number} has not moved");
    }
}
