//! burn's `Optimizer` trait: the trajectory of the core's CPU twin, burn's own Adam at order 0, burn's records.

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, Optimizer, OptimizerRecord};
use burn::tensor::{DType, Device, Tensor, TensorData};
use miadam_burn::miadam::{Average, GradOptions, HalfParams, Hyperparams, Schedule, StepScale, WeightDecay, cpu};
use miadam_burn::{MiAdamConfig, PerParamMiAdam};

const LEN: usize = 64;
const LR: f64 = 0.01;

#[derive(Module, Debug)]
struct Net {
    w: Param<Tensor<2>>,
    b: Param<Tensor<1>>,
}

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|n| ((n * 37 + seed * 101 + 11) as f32).sin()).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn net(device: &Device) -> Net {
    let device = device.clone().autodiff();
    Net {
        w: Param::from_tensor(tensor(&values(LEN, 1), [8, 8], &device)),
        b: Param::from_tensor(tensor(&values(3, 2), [3], &device)),
    }
}

fn grads(net: &Net, step: usize) -> GradientsParams {
    let device = net.w.val().device().without_autodiff();
    let mut grads = GradientsParams::new();
    grads.register(net.w.id, tensor(&values(LEN, 10 * step), [8, 8], &device));
    grads.register(net.b.id, tensor(&values(3, 10 * step + 1), [3], &device));
    grads
}

fn bits(net: &Net) -> Vec<u32> {
    let mut values = net.w.val().into_data().try_to_vec::<f32>().unwrap();
    values.extend(net.b.val().into_data().try_to_vec::<f32>().unwrap());
    values.into_iter().map(f32::to_bits).collect()
}

fn build(hyperparams: &Hyperparams) -> PerParamMiAdam {
    // burn loads records on its default device, and makes that device for it.
    #[cfg(feature = "wgpu")]
    crate::common::gpu();
    MiAdamConfig::new(hyperparams.clone()).build().unwrap()
}

fn options() -> Vec<Hyperparams> {
    let base = || Hyperparams { lr: LR, switch_step: 25, ..Hyperparams::default() };
    let mut all = vec![
        base(),
        Hyperparams { order: 0, ..base() },
        Hyperparams { order: 3, kappa: 0.7, step_scale: StepScale::UnitGain, ..base() },
        Hyperparams { order: 2, step_scale: StepScale::Reference, ..base() },
        Hyperparams { order: 2, kappa: 0.98, step_scale: StepScale::ExactGain, ..base() },
        Hyperparams { amsgrad: true, beta2: 0.9, ..base() },
        Hyperparams { maximize: true, eps: 0.1, beta1: 0.5, ..base() },
        Hyperparams { schedule: Schedule::warmup_cosine(5, 30, 0.1), ..base() },
    ];
    for weight_decay in [WeightDecay::Coupled(0.3), WeightDecay::Decoupled(0.3), WeightDecay::Cautious(0.3)] {
        all.push(Hyperparams { weight_decay, ..base() });
    }
    all
}

fn gradient(step: usize) -> Vec<f32> {
    values(LEN, 10 * step)
}

/// At one step, one element has a gradient whose square is infinite.
fn gradient_with_overflow(step: usize) -> Vec<f32> {
    let mut gradient = gradient(step);
    if step == 3 {
        gradient[5] = 1e30;
    }
    gradient
}

/// The parameter after each step.
fn of_twin(hyperparams: &Hyperparams, gradient: fn(usize) -> Vec<f32>) -> Vec<Vec<f32>> {
    let group = miadam_burn::miadam::ParamGroup::new(hyperparams.clone(), [miadam_burn::miadam::Param::new("w", LEN)]);
    let mut twin = cpu::MiAdam::new([group]).unwrap();
    let mut w = values(LEN, 1);
    let step = |step: usize| {
        twin.step([cpu::Binding::new("w", &mut w, &mut gradient(step))]).unwrap();
        w.clone()
    };
    (1..=35).map(step).collect()
}

fn of_burn(hyperparams: &Hyperparams, gradient: fn(usize) -> Vec<f32>, device: &Device) -> Vec<Vec<f32>> {
    let optimizer = build(hyperparams);
    let mut w = Some((tensor(&values(LEN, 1), [8, 8], device), None));
    let step = |step: usize| {
        let (tensor_before, state) = w.take().unwrap();
        let grad = tensor(&gradient(step), [8, 8], device);
        let (now, state) = optimizer.step::<2>(LR, tensor_before, grad, state);
        w = Some((now.clone(), state));
        now.into_data().try_to_vec::<f32>().unwrap()
    };
    (1..=35).map(step).collect()
}

fn same_bits_on_the_cpu(gradient: fn(usize) -> Vec<f32>) {
    for hyperparams in options() {
        let (twin, burn) = (of_twin(&hyperparams, gradient), of_burn(&hyperparams, gradient, &Device::flex()));
        // The same operations in the same order, none of them fused: the same bits.
        assert!(twin == burn, "{hyperparams:?}");
    }
}

#[cfg(feature = "wgpu")]
fn same_updates_on_wgpu(gradient: fn(usize) -> Vec<f32>) {
    let device = &crate::common::gpu();
    for hyperparams in options() {
        let (twin, burn) = (of_twin(&hyperparams, gradient), of_burn(&hyperparams, gradient, device));
        let start = values(LEN, 1);
        let updates = |run: &[Vec<f32>]| -> Vec<f32> {
            let before = std::iter::once(&start).chain(run);
            before.zip(run).flat_map(|(before, now)| now.iter().zip(before).map(|(a, b)| a - b)).collect()
        };
        for (number, (found, wanted)) in updates(&burn).into_iter().zip(updates(&twin)).enumerate() {
            // Half an ulp of θ, which is below 4, in each of two parameters on both sides; and an update whose division and
            // root are off by 2.5 ulp each, out of moments whose sums cancel to a hundredth.
            let bound = 4.0 * f32::EPSILON * 2.0 + 1e-4 * wanted.abs();
            let step = number / LEN + 1;
            assert!((found - wanted).abs() <= bound, "{hyperparams:?}, step {step}: {found} is not {wanted}");
        }
    }
}

#[test]
fn steps_are_those_of_the_twin() {
    same_bits_on_the_cpu(gradient);
}

#[cfg(feature = "wgpu")]
#[test]
fn steps_are_those_of_the_twin_on_wgpu() {
    same_updates_on_wgpu(gradient);
}

#[test]
fn an_element_past_the_range_stands_still() {
    same_bits_on_the_cpu(gradient_with_overflow);
}

#[cfg(feature = "wgpu")]
#[test]
fn an_element_past_the_range_stands_still_on_wgpu() {
    same_updates_on_wgpu(gradient_with_overflow);
}

/// Runs both for 40 steps, and gives the largest difference of an element.
fn difference(mut ours: ModuleOptimizer, mut burns: ModuleOptimizer) -> f32 {
    let device = Device::flex();
    let (mut a, mut b) = (net(&device), net(&device));
    let mut largest = 0.0_f32;
    for step in 1..=40 {
        let (grads_a, grads_b) = (grads(&a, step), grads(&b, step));
        (a, b) = (ours.step(LR, a, grads_a), burns.step(LR, b, grads_b));
        for (a, b) in bits(&a).into_iter().zip(bits(&b)) {
            largest = largest.max((f32::from_bits(a) - f32::from_bits(b)).abs());
        }
    }
    largest
}

#[test]
fn order_0_is_burns_adam_and_adamw() {
    // burn computes 1 - 0.999ᵗ in f32, which is off by 6e-5 at t = 1: half of that in a step of 0.01. Steps add up to less
    // than ten such, as the error falls with 1/t.
    const BOUND: f32 = 10.0 * 3e-5 * 0.01;
    let base = Hyperparams { order: 0, eps: 1e-5, ..Hyperparams::default() };
    for amsgrad in [false, true] {
        let hyperparams = Hyperparams { amsgrad, ..base.clone() };
        let adam = AdamConfig::new().with_epsilon(1e-5).with_amsgrad(amsgrad).init();
        let found = difference(build(&hyperparams).into(), adam);
        assert!(found <= BOUND, "amsgrad {amsgrad}: {found}");
    }
    for cautious in [false, true] {
        let decay = if cautious { WeightDecay::Cautious(0.3) } else { WeightDecay::Decoupled(0.3) };
        let hyperparams = Hyperparams { weight_decay: decay, ..base.clone() };
        let adamw = AdamWConfig::new().with_epsilon(1e-5).with_weight_decay(0.3);
        let found = difference(build(&hyperparams).into(), adamw.with_cautious_weight_decay(cautious).init());
        assert!(found <= BOUND, "cautious {cautious}: {found}");
    }
}

/// A module and its optimizer after so many steps.
fn trained(hyperparams: &Hyperparams, steps: usize) -> (Net, ModuleOptimizer) {
    let mut optimizer = ModuleOptimizer::from(build(hyperparams));
    let mut net = net(&Device::flex());
    for step in 1..=steps {
        let grads = grads(&net, step);
        net = optimizer.step(LR, net, grads);
    }
    (net, optimizer)
}

#[test]
fn a_resumed_run_has_the_same_next_steps() {
    let path = std::env::temp_dir().join(format!("miadam-burn-per-param-{}.bpk", std::process::id()));
    for hyperparams in options() {
        // Before the switch and after it.
        for steps in [10, 30] {
            let (net, mut optimizer) = trained(&hyperparams, steps);
            optimizer.save(&path).unwrap();
            let from_file = ModuleOptimizer::from(build(&hyperparams)).load(&path).unwrap();
            let bytes = optimizer.into_bytes().unwrap();
            let from_bytes = ModuleOptimizer::from(build(&hyperparams)).from_bytes(bytes).unwrap();
            let go_on = |optimizer: &mut ModuleOptimizer| {
                let mut net = net.clone();
                for step in steps + 1..=steps + 3 {
                    let grads = grads(&net, step);
                    net = optimizer.step(LR, net, grads);
                }
                bits(&net)
            };
            let wanted = go_on(&mut optimizer);
            for mut resumed in [from_file, from_bytes] {
                assert_eq!(go_on(&mut resumed), wanted, "{hyperparams:?} after {steps} steps");
            }
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_integrals_are_dropped_at_the_switch() {
    let hyperparams = Hyperparams { order: 2, switch_step: 5, ..Hyperparams::default() };
    let tensors = |steps| trained(&hyperparams, steps).1.to_record().len();
    // Two moments, and two integrals, for each of two parameters.
    assert_eq!((tensors(4), tensors(5)), (8, 4));
}

#[test]
#[should_panic(
    expected = "has 1 integrals, but step 3 of order 2 and switch_step 4294967295 uses 2: load the record into"
)]
fn a_record_of_another_order_is_refused() {
    let (net, optimizer) = trained(&Hyperparams::default(), 2);
    let other = Hyperparams { order: 2, ..Hyperparams::default() };
    let mut resumed = ModuleOptimizer::from(build(&other)).load_record(optimizer.to_record());
    let grads = grads(&net, 3);
    let _ = resumed.step(LR, net, grads);
}

#[test]
fn a_record_of_adam_starts_anew() {
    // burn itself leaves out states that it cannot make sense of.
    let mut adam = AdamConfig::new().init();
    let net = net(&Device::flex());
    let gradients = grads(&net, 1);
    let net = adam.step(LR, net, gradients);
    let resumed = ModuleOptimizer::from(build(&Hyperparams::default())).load_record(adam.to_record());
    let record: OptimizerRecord = resumed.to_record();
    assert!(record.is_empty());
    drop(net);
}

#[test]
#[should_panic(expected = "`lr` is -1")]
fn a_learning_rate_out_of_range_is_refused() {
    let net = net(&Device::flex());
    let grads = grads(&net, 1);
    let _ = ModuleOptimizer::from(build(&Hyperparams::default())).step(-1.0, net, grads);
}

#[test]
fn half_precision_has_a_master_copy() {
    let device = Device::flex();
    let hyperparams = Hyperparams { order: 1, step_scale: StepScale::UnitGain, ..Hyperparams::default() };
    let optimizer = build(&hyperparams);
    let start = tensor(&[1.0_f32; 4], [4], &device).cast(DType::BF16);
    let grad = || tensor(&[1.0_f32; 4], [4], &device).cast(DType::BF16);
    let (mut w, mut state) = (start, None);
    // Each step is 1e-4, which bf16 loses next to 1: a step of bf16 there is 4e-3.
    for _ in 0..100 {
        (w, state) = optimizer.step::<1>(1e-4, w, grad(), state);
    }
    assert_eq!(w.dtype(), DType::BF16);
    let now = w.clone().cast(DType::F32).into_data().try_to_vec::<f32>().unwrap();
    assert!(now.iter().all(|&now| now < 0.995), "{now:?}");

    // Others write one element: it goes on from there, the others from their copies.
    let other = tensor(&[5.0, now[1], now[2], now[3]], [4], &device).cast(DType::BF16);
    let copy = state.as_ref().unwrap().master.clone().unwrap().into_data().try_to_vec::<f32>().unwrap();
    let (_, state) = optimizer.step::<1>(0.0, other, grad(), state);
    let after = state.unwrap().master.unwrap().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(after, [&[5.0], &copy[1..]].concat());
}

#[test]
fn a_master_copy_is_in_the_record() {
    let device = Device::flex();
    let start = tensor(&values(4, 1), [4], &device.clone().autodiff()).cast(DType::BF16);
    let mut net = vec![Param::from_tensor(start)];
    let hyperparams = Hyperparams { amsgrad: true, ..Hyperparams::default() };
    let mut optimizer = ModuleOptimizer::from(build(&hyperparams));
    let mut grads = GradientsParams::new();
    grads.register(net[0].id, tensor(&values(4, 2), [4], &device).cast(DType::BF16));
    net = optimizer.step(1e-4, net, grads);
    let bytes = optimizer.into_bytes().unwrap();
    let resumed = ModuleOptimizer::from(build(&hyperparams)).from_bytes(bytes.clone()).unwrap();
    assert_eq!(resumed.to_record().len(), 5, "two moments, the largest second moment, an integral, the master copy");
    assert_eq!(resumed.into_bytes().unwrap().to_vec(), bytes.to_vec());
    drop(net);
}

#[test]
fn what_one_parameter_cannot_have_is_an_error() {
    let plain = Hyperparams::default;
    let averaged = Hyperparams { average: Average::Ema { decay: 0.9, warmup: false }, ..plain() };
    let stochastic = Hyperparams { half_params: HalfParams::Stochastic { seed: 1 }, ..plain() };
    let clipped = GradOptions { clip_norm: Some(1.0), ..GradOptions::default() };
    let skipping = GradOptions { skip_non_finite: true, ..GradOptions::default() };
    let with = |options| MiAdamConfig::new(plain()).with_grad_options(options);
    let grouped = MiAdamConfig::new(plain()).with_group(burn::module::ParamGroup::all(), plain());
    let wrong = MiAdamConfig::new(Hyperparams { beta1: 1.0, ..plain() });
    for (config, remedy) in [
        (MiAdamConfig::new(averaged), "`init`"),
        (MiAdamConfig::new(stochastic), "`init`"),
        (with(clipped), "`ModuleOptimizer::with_grad_clipping`"),
        (with(skipping), "`init`"),
        (grouped, "`ModuleOptimizer::with_group`"),
        (wrong, "`beta1`"),
    ] {
        let message = config.build().unwrap_err().to_string();
        assert!(message.contains(remedy), "{message}");
    }
}
