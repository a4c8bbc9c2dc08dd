//! The rule as burn's own `Optimizer`.

use burn::module::Param;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::{
    Average, GradOptions, HalfParams, Hyperparams, Param as CoreParam, ParamGroup, StepScale, WeightDecay, cpu,
};

type Net = Vec<Param<Tensor<2>>>;

const LEN: usize = 24;
const STEPS: usize = 30;
const LR: f64 = 0.01;

fn numbers(seed: usize) -> Vec<f32> {
    (0..LEN).map(|n| ((n * 29 + seed * 17) % 41) as f32 / 20.0 - 1.0).collect()
}

fn net(device: &Device) -> Net {
    vec![Param::from_data(TensorData::new(numbers(1), [4, 6]), &device.clone().autodiff())]
}

fn grads(net: &Net, step: usize, device: &Device) -> GradientsParams {
    let mut grads = GradientsParams::new();
    grads.register(net[0].id, Tensor::<2>::from_data(TensorData::new(numbers(step + 3), [4, 6]), device));
    grads
}

fn values(net: &Net) -> Vec<f32> {
    net[0].val().into_data().try_to_vec::<f32>().unwrap()
}

/// The values after each step.
fn trajectory(mut optimizer: ModuleOptimizer, device: &Device) -> Vec<Vec<f32>> {
    let mut net = net(device);
    let step = |step| {
        let grads = grads(&net, step, device);
        net = optimizer.step(LR, std::mem::take(&mut net), grads);
        values(&net)
    };
    (0..STEPS).map(step).collect()
}

fn of_core(hyperparams: &Hyperparams) -> Vec<Vec<f32>> {
    let hyperparams = Hyperparams { lr: LR, ..hyperparams.clone() };
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [CoreParam::new("w", LEN)])]).unwrap();
    let mut w = numbers(1);
    let step = |step| {
        optimizer.step([cpu::Binding::new("w", &mut w, &mut numbers(step + 3))]).unwrap();
        w.clone()
    };
    (0..STEPS).map(step).collect()
}

/// Compares the steps, not the values, which would hide a wrong one.
fn same_steps(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    let largest =
        expected.windows(2).flat_map(|w| w[0].iter().zip(&w[1]).map(|(a, b)| (a - b).abs())).fold(0.0, f32::max);
    for (number, (found, expected)) in found.windows(2).zip(expected.windows(2)).enumerate() {
        for index in 0..LEN {
            let [found, expected] = [found, expected].map(|pair| pair[1][index] - pair[0][index]);
            // A dozen roundings of quantities of the size of a step, thirty times over in the moments, and those of θ, which is
            // below 2.
            let bound = 64.0 * f32::EPSILON * largest + 2.0 * f32::EPSILON;
            assert!((found - expected).abs() <= bound, "{what}, step {}: {found} is not {expected}", number + 2);
        }
    }
}

fn table() -> Vec<(&'static str, Hyperparams)> {
    let plain = Hyperparams { switch_step: 20, ..Hyperparams::default() };
    let of = |order, kappa, step_scale| Hyperparams { order, kappa, step_scale, ..plain.clone() };
    vec![
        ("Adam", of(0, 0.5, StepScale::Paper)),
        ("order 1", of(1, 0.5, StepScale::Paper)),
        ("order 3", of(3, 0.9, StepScale::UnitGain)),
        ("reference", of(1, 0.98, StepScale::Reference)),
        ("amsgrad", Hyperparams { amsgrad: true, ..of(1, 0.5, StepScale::UnitGain) }),
        ("maximize", Hyperparams { maximize: true, ..of(2, 0.5, StepScale::UnitGain) }),
        ("coupled", Hyperparams { weight_decay: WeightDecay::Coupled(0.1), ..of(1, 0.5, StepScale::Paper) }),
        ("decoupled", Hyperparams { weight_decay: WeightDecay::Decoupled(0.1), ..of(1, 0.5, StepScale::Paper) }),
        ("cautious", Hyperparams { weight_decay: WeightDecay::Cautious(0.1), ..of(1, 0.5, StepScale::Paper) }),
    ]
}

#[test]
fn its_steps_are_those_of_the_core() {
    for (what, hyperparams) in table() {
        let expected = of_core(&hyperparams);
        for device in [Device::flex(), crate::devices::devices()[0].clone()] {
            let optimizer = MiAdamConfig::new(hyperparams.clone()).build().unwrap();
            same_steps(&trajectory(optimizer.into(), &device), &expected, what);
        }
    }
}

#[test]
fn order_0_is_burns_adam() {
    let device = Device::flex();
    let plain = Hyperparams { order: 0, ..Hyperparams::default() };
    let adam = AdamConfig::new().with_epsilon(1e-8).init();
    let ours = |hyperparams| trajectory(MiAdamConfig::new(hyperparams).build().unwrap().into(), &device);
    same_steps(&ours(plain.clone()), &trajectory(adam, &device), "Adam");
    let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1);
    let decayed = Hyperparams { weight_decay: WeightDecay::Decoupled(0.1), ..plain.clone() };
    same_steps(&ours(decayed), &trajectory(adamw.init(), &device), "AdamW");
    let cautious = Hyperparams { weight_decay: WeightDecay::Cautious(0.1), ..plain };
    same_steps(&ours(cautious), &trajectory(adamw.with_cautious_weight_decay(true).init(), &device), "cautious");
}

#[test]
fn a_record_goes_on_with_the_same_bits() {
    let device = Device::flex();
    for (what, hyperparams) in table() {
        let make = || ModuleOptimizer::from(MiAdamConfig::new(hyperparams.clone()).build().unwrap());
        let (mut net, mut optimizer) = (net(&device), make());
        for step in 0..25 {
            if [5, 22].contains(&step) {
                let file = std::env::temp_dir().join(format!("miadam-burn-record-{}.bpk", std::process::id()));
                optimizer.save(&file).unwrap();
                optimizer = make().load(&file).unwrap();
                std::fs::remove_file(file).unwrap();
            }
            let grads = grads(&net, step, &device);
            net = optimizer.step(LR, net, grads);
        }
        assert_eq!(values(&net), trajectory(make(), &device)[24], "{what}");
    }
}

#[test]
fn what_one_parameter_cannot_have_is_refused() {
    let refusal = |config: MiAdamConfig| config.build().map(drop).unwrap_err().to_string();
    let with = |hyperparams| refusal(MiAdamConfig::new(hyperparams));
    let average = Average::Ema { decay: 0.9, warmup: false };
    assert!(with(Hyperparams { average, ..Hyperparams::default() }).contains("`MiAdamConfig::init`"));
    let half_params = HalfParams::Stochastic { seed: 1 };
    assert!(with(Hyperparams { half_params, ..Hyperparams::default() }).contains("stochastic rounding"));
    assert!(with(Hyperparams { step_scale: StepScale::ExactGain, ..Hyperparams::default() }).contains("ExactGain"));
    assert!(with(Hyperparams { beta1: 1.0, ..Hyperparams::default() }).contains("beta1"));
    let clipped = GradOptions { clip_norm: Some(1.0), ..GradOptions::default() };
    assert!(refusal(MiAdamConfig::default().with_grad_options(clipped)).contains("with_grad_clipping"));
}
