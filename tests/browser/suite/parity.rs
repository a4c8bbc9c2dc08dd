//! The shaders against the CPU twin, which runs on one thread here.

use half::bf16;
use miadam::{
    Binding, Dtype, GradOptions, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, StepScale, WeightDecay, cpu,
};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::gpu::Gpu;

const LEN: usize = 5000;
const STEPS: u32 = 20;

/// A number in -1..1 that looks like a random one.
fn noise(number: u32) -> f32 {
    let mixed = number.wrapping_mul(0x9e37_79b9) ^ (number << 13);
    (mixed.wrapping_mul(0x85eb_ca6b) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn grads(step: u32) -> Vec<f32> {
    (0..LEN as u32).map(|element| noise(step * LEN as u32 + element)).collect()
}

/// The largest difference between the parameters on both sides after all steps, beside the largest update.
async fn furthest(hyperparams: Hyperparams, options: GradOptions) -> [f32; 2] {
    let gpu = Gpu::open().await;
    let start = grads(0);
    let group = || ParamGroup::new(hyperparams.clone(), [Param::new("w", LEN)]);
    let (param, grad) = (gpu.filled(bytemuck::cast_slice(&start)), gpu.zeros(4 * LEN as u64));
    let bindings = [Binding::new("w", &param, &grad)];
    let mut optimizer = MiAdam::new_async(&gpu.device, &gpu.queue, [group()], bindings).await.unwrap();
    optimizer.set_grad_options_async(options).await.unwrap();
    let mut twin = cpu::MiAdam::new([group()]).unwrap();
    twin.set_grad_options(options).unwrap();

    let mut expected = start.clone();
    for step in 1..=STEPS {
        let mut grads = grads(step);
        gpu.queue.write_buffer(&grad, 0, bytemuck::cast_slice(&grads));
        gpu.step(&mut optimizer).unwrap();
        twin.step([cpu::Binding::new("w", &mut expected, &mut grads)]).unwrap();
    }
    let found = crate::gpu::values(&gpu.checkpoint(&optimizer).await.unwrap(), "w", LEN);
    gpu.assert_host_heard_nothing().await;
    let furthest = |other: &[f32]| expected.iter().zip(other).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    [furthest(&found), furthest(&start)]
}

/// θ is below 2 here, so that its last bit is 1.2e-7. A step rounds `/` and `sqrt` by up to 2.5 units of the last place of an
/// update of about lr, which is far below that, so that each of the twenty steps is off by one bit of θ at most.
const FAR: f32 = 20.0 * 1.2e-7;

#[wasm_bindgen_test]
async fn every_step_scale_agrees_with_the_cpu() {
    for step_scale in [StepScale::Paper, StepScale::Reference, StepScale::UnitGain, StepScale::ExactGain] {
        for order in [0, 1, 3] {
            let hyperparams =
                Hyperparams { order, kappa: 0.5, switch_step: 12, step_scale, lr: 0.01, ..Hyperparams::default() };
            let [far, moved] = furthest(hyperparams, GradOptions::default()).await;
            assert!(far <= FAR && moved > 1e-3, "{step_scale:?} at order {order}: {far:e} of {moved:e}");
        }
    }
}

#[wasm_bindgen_test]
async fn the_options_agree_with_the_cpu() {
    let base = Hyperparams { order: 1, switch_step: 12, lr: 0.01, ..Hyperparams::default() };
    let clipped = GradOptions { clip_norm: Some(1.0), clip_value: Some(0.5), ..GradOptions::default() };
    for (hyperparams, options) in [
        (base.clone(), clipped),
        (Hyperparams { amsgrad: true, weight_decay: WeightDecay::Decoupled(0.1), ..base.clone() }, clipped),
        (Hyperparams { maximize: true, weight_decay: WeightDecay::Coupled(0.1), ..base }, GradOptions::default()),
    ] {
        let [far, moved] = furthest(hyperparams.clone(), options).await;
        assert!(far <= FAR && moved > 1e-3, "{hyperparams:?}: {far:e} of {moved:e}");
    }
}

/// With master copies the parameters are the copies' rounding, with random rounding they depend on the seed alone: either way the
/// two sides may differ where the unrounded value lies between two halves by a bit.
#[wasm_bindgen_test]
async fn half_precision_agrees_with_the_cpu() {
    for half_params in [HalfParams::Master, HalfParams::Stochastic { seed: 7 }] {
        let gpu = Gpu::open().await;
        let hyperparams = Hyperparams { half_params, lr: 0.01, ..Hyperparams::default() };
        let group = || ParamGroup::new(hyperparams.clone(), [Param::new("w", LEN).with_dtype(Dtype::Bf16)]);
        let halves = |step| grads(step).into_iter().map(bf16::from_f32).collect::<Vec<_>>();
        let mut expected = halves(0);
        let (param, grad) = (gpu.filled(bytemuck::cast_slice(&expected)), gpu.zeros(2 * LEN as u64));
        let bindings = [Binding::new("w", &param, &grad).with_grad_dtype(Dtype::Bf16)];
        let mut optimizer = MiAdam::new_async(&gpu.device, &gpu.queue, [group()], bindings).await.unwrap();
        let mut twin = cpu::MiAdam::new([group()]).unwrap();
        for step in 1..=STEPS {
            let mut grads = halves(step);
            gpu.queue.write_buffer(&grad, 0, bytemuck::cast_slice(&grads));
            gpu.step(&mut optimizer).unwrap();
            twin.step([cpu::Binding::new("w", &mut expected, &mut grads)]).unwrap();
        }
        let checkpoint = gpu.checkpoint(&optimizer).await.unwrap();
        let mut found = vec![bf16::ZERO; LEN];
        checkpoint.copy_param("w", &mut found).unwrap();
        let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(differ <= LEN / 500, "{half_params:?}: {differ} of {LEN} differ");
        gpu.assert_host_heard_nothing().await;
    }
}
