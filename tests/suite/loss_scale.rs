//! The loss scale: PyTorch's number after every step, in a buffer that the host's kernels can bind.

use miadam::{GradOptions, GradScaler, Hyperparams};
use serde::Deserialize;

use crate::common::{Home, Random, Rig, gpu, scatter};
use crate::gradients::rig;

#[test]
fn a_kernel_of_the_hosts_can_bind_the_loss_scale() {
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu.clone(), Home::TwoPools);
    let scale = |rig: &Rig| gpu.floats(rig.optimizer.loss_scale())[0];
    assert_eq!(scale(&rig), 1.0);
    let scaler = GradScaler { growth_interval: 2, growth_factor: 4.0, ..GradScaler::default() };
    rig.set_grad_options(GradOptions { scaler: Some(scaler), ..GradOptions::default() });
    assert_eq!(scale(&rig), 65_536.0);
    let usage = rig.optimizer.loss_scale().usage();
    assert!(usage.contains(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM));
    let mut scales = Vec::new();
    for good in [true, true, true, false, true, false, false, true, true] {
        rig.set_grads(|| if good { 1.0 } else { f32::INFINITY });
        rig.step_gpu();
        rig.step_twin();
        // Other options keep it.
        rig.set_grad_options(GradOptions { factor: 0.5, ..*rig.optimizer.grad_options() });
        scales.push(scale(&rig) / 65_536.0);
        assert_eq!(scale(&rig), rig.twin.read_report().loss_scale);
    }
    assert_eq!(scales, [1.0, 4.0, 4.0, 2.0, 2.0, 1.0, 0.5, 0.5, 2.0]);
    rig.set_grad_options(GradOptions::default());
    assert_eq!(scale(&rig), 1.0);
}

/// A case of tests/golden/scaler.json.
#[derive(Deserialize)]
struct ScalerCase {
    init_scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u32,
    /// Whether a gradient was bad, at each step.
    bad: Vec<bool>,
    /// The scale after each step.
    scales: Vec<f32>,
    taken: u32,
}

#[test]
fn loss_scales_are_those_of_pytorch() {
    let Some(gpu) = gpu() else { return };
    let cases: Vec<ScalerCase> = serde_json::from_str(include_str!("../golden/scaler.json")).unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let ScalerCase { init_scale, growth_factor, backoff_factor, growth_interval, bad, scales, taken } = case;
        let scaler = GradScaler { init_scale, growth_factor, backoff_factor, growth_interval };
        let (buffers, spots) = scatter(&mut Random(3), &[(0, 2)], Home::TwoPools);
        let mut rig = Rig::new(gpu.clone(), &[Hyperparams::default()], &buffers, &spots, 4);
        rig.set_grad_options(GradOptions { scaler: Some(scaler), ..GradOptions::default() });
        // PyTorch multiplies in f64 by the caller's own factor and rounds once. An f32 factor gives the same bits; any
        // other is rounded before, and the product of that rounded again.
        let is_exact = [growth_factor, backoff_factor].iter().all(|&factor| f64::from(factor as f32) == factor);
        let (mut before, mut changes) = (init_scale as f32, 0.0);
        for (step, (&is_bad, &scale)) in bad.iter().zip(&scales).enumerate() {
            let mut values = [0.5, if is_bad { f32::NAN } else { 0.5 }].into_iter();
            rig.set_grads(|| values.next().unwrap());
            rig.step_gpu();
            rig.step_twin();
            changes += if scale == before { 0.0 } else { 1.0 };
            before = scale;
            let bound = if is_exact { 0.0 } else { 1.5 * changes * f32::EPSILON * scale };
            for found in [rig.twin.read_report().loss_scale, gpu.report(&rig.optimizer).loss_scale] {
                assert!((found - scale).abs() <= bound, "{scaler:?}, step {step}: {found} is not {scale}");
            }
        }
        let report = gpu.report(&rig.optimizer);
        assert_eq!((report.step, report.skipped), (taken, bad.len() as u32 - taken));
        assert_eq!((rig.twin.read_report().step, rig.twin.read_report().skipped), (report.step, report.skipped));
    }
}

#[test]
fn a_loss_scale_stays_in_the_normal_range() {
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu.clone(), Home::TwoPools);
    for (init_scale, grad, last) in
        [(2f64.powi(125), 1.0, 2f32.powi(126)), (2f64.powi(-125), f32::NAN, 2f32.powi(-126))]
    {
        rig.set_grad_options(GradOptions::default());
        let scaler = GradScaler { init_scale, growth_interval: 1, ..GradScaler::default() };
        rig.set_grad_options(GradOptions { scaler: Some(scaler), ..GradOptions::default() });
        rig.set_grads(|| grad);
        for _ in 0..3 {
            rig.step_gpu();
            rig.step_twin();
        }
        assert_eq!(gpu.report(&rig.optimizer).loss_scale, last);
        assert_eq!(rig.twin.read_report().loss_scale, last);
    }
}
