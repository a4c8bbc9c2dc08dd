//! The baselines against results from outside: torch.optim, and NumPy scripts written from the papers (goldens/make.py).
//!
//! What is compared is the update θ_t - θ_{t-1} of every step.

use std::path::Path;

use miadam::{Hyperparams, WeightDecay};
use miadam_paper::optimizers::{
    AdaBound, Adai, Adam, AdamW, Adamax, MiAdam, NAdam, NdAdam, Optimizer, Swats, Tensor, Units,
};
use safetensors::SafeTensors;

const EPSILON: f64 = f32::EPSILON as f64;

/// Errors that `f32` allows at step `t`, relative to the scale of the update.
///
/// In x ← a·x + b·y each term meets a rounded coefficient, a product and a sum: 3 roundings of ε/2 a step. At most three such
/// recurrences meet in an update: m and v, whose y is g², and for ND-Adam and coupled decay θ itself, for Adai the β1 of each
/// element. `/` and `sqrt`, bias corrections and sums over elements end the update: 8 ε, once.
fn tolerance(t: usize) -> f64 {
    EPSILON * (1.5 * 3.0 * t as f64 + 8.0)
}

/// Errors allowed relative to θ, which `f32` rounds: a factor on it, its product and the sum.
const THETA_TOLERANCE: f64 = 1.5 * EPSILON;

const TENSORS: [(&str, Units); 3] = [("rows", Units::Rows(3)), ("columns", Units::Columns(2)), ("vector", Units::None)];

/// The name of a golden file, and its optimizer.
type Named = (&'static str, fn() -> Box<dyn Optimizer>);

const CASES: [Named; 9] = [
    ("adabound", || Box::new(AdaBound::new(0.9, AdaBound::LR))),
    ("adai", || Box::new(Adai::new())),
    ("adam", || Box::new(Adam::new(0.9))),
    ("adam_coupled", || changed(Adam::new(0.9), |o| o.decay = 0.5)),
    ("adamax", || Box::new(Adamax::new(0.9))),
    ("adamw", || Box::new(AdamW::new(0.9))),
    ("nadam", || Box::new(NAdam::new(0.9))),
    ("nd_adam", || Box::new(NdAdam::new(0.9))),
    ("swats", || Box::new(swats())),
];

/// It switches at step 22 of the golden's 50.
fn swats() -> Swats {
    let mut swats = Swats::new(0.9);
    swats.threshold = 1.5e-4;
    swats
}

/// An optimizer with other hyperparameters than its defaults.
fn changed<T: Optimizer + 'static>(mut optimizer: T, change: fn(&mut T)) -> Box<dyn Optimizer> {
    change(&mut optimizer);
    Box::new(optimizer)
}

struct Golden {
    name: String,
    lrs: Vec<f64>,
    thetas: [Vec<f32>; 3],
    /// Of all steps, one after another.
    grads: [Vec<f32>; 3],
    updates: [Vec<f64>; 3],
    scales: [Vec<f32>; 3],
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("goldens/{name}.safetensors"));
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let single = |kind| {
            TENSORS.map(|(tensor, _)| {
                bytemuck::pod_collect_to_vec(file.tensor(&format!("{kind}/{tensor}")).unwrap().data())
            })
        };
        let double = |name: &str| bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data());
        Self {
            name: name.into(),
            lrs: double("lr"),
            thetas: single("theta"),
            grads: single("grad"),
            updates: TENSORS.map(|(tensor, _)| double(&format!("update/{tensor}"))),
            scales: single("scale"),
        }
    }

    /// What the optimizer does under these gradients: θ before the first step and after each.
    fn replay(&self, optimizer: &mut dyn Optimizer) -> Vec<[Vec<f32>; 3]> {
        let mut thetas = self.thetas.clone();
        let mut trajectory = vec![thetas.clone()];
        for (index, &lr) in self.lrs.iter().enumerate() {
            let mut grads = [0, 1, 2].map(|i| {
                let len = thetas[i].len();
                self.grads[i][index * len..][..len].to_vec()
            });
            step(optimizer, lr, &mut thetas, &mut grads);
            trajectory.push(thetas.clone());
        }
        trajectory
    }

    /// The first update that is too far from what it should be.
    fn first_failure(&self, optimizer: &mut dyn Optimizer) -> Option<String> {
        let trajectory = self.replay(optimizer);
        for (index, pair) in trajectory.windows(2).enumerate() {
            for (number, (tensor, _)) in TENSORS.iter().enumerate() {
                let (old, new) = (&pair[0][number], &pair[1][number]);
                for (i, (&old, &new)) in old.iter().zip(new).enumerate() {
                    let (old, new) = (f64::from(old), f64::from(new));
                    let place = index * pair[0][number].len() + i;
                    let (expected, scale) = (self.updates[number][place], f64::from(self.scales[number][place]));
                    let bound = tolerance(index + 1) * scale + THETA_TOLERANCE * old.abs().max(new.abs());
                    // So that NaN fails.
                    let holds = (new - old - expected).abs() <= bound;
                    if !holds {
                        let (name, t, found) = (&self.name, index + 1, new - old);
                        return Some(format!(
                            "{name}: update {t} of {tensor}[{i}] is {found:e}, not {expected:e} ± {bound:e}"
                        ));
                    }
                }
            }
        }
        None
    }
}

fn step(optimizer: &mut dyn Optimizer, lr: f64, thetas: &mut [Vec<f32>; 3], grads: &mut [Vec<f32>; 3]) {
    let places = TENSORS.iter().zip(thetas.iter_mut().zip(grads));
    let mut tensors: Vec<_> =
        places.map(|(&(name, units), (values, grads))| Tensor { name, values, grads, units }).collect();
    optimizer.step(lr, &mut tensors).unwrap();
}

#[test]
fn every_baseline_moves_as_its_source_does() {
    for (name, make) in CASES {
        let failure = Golden::read(name).first_failure(&mut *make());
        assert!(failure.is_none(), "{}", failure.unwrap());
    }
}

/// The tolerances above are no larger than what they are to catch.
#[test]
fn slightly_wrong_hyperparameters_are_noticed() {
    let wrong: [(&str, &str, Box<dyn Optimizer>); 30] = [
        ("adabound", "beta1", Box::new(AdaBound::new(0.9001, 1e-3))),
        ("adabound", "base_lr", Box::new(AdaBound::new(0.9, 1.0001e-3))),
        ("adabound", "beta2", changed(AdaBound::new(0.9, 1e-3), |o| o.beta2 = 0.99901)),
        ("adabound", "eps", changed(AdaBound::new(0.9, 1e-3), |o| o.eps = 1e-7)),
        ("adabound", "final_lr", changed(AdaBound::new(0.9, 1e-3), |o| o.final_lr = 0.10001)),
        ("adabound", "gamma", changed(AdaBound::new(0.9, 1e-3), |o| o.gamma = 1.0001e-3)),
        ("adai", "beta0", changed(Adai::new(), |o| o.beta0 = 0.10001)),
        ("adai", "beta2", changed(Adai::new(), |o| o.beta2 = 0.9901)),
        ("adai", "eps", changed(Adai::new(), |o| o.eps = 1.001e-3)),
        ("adam", "beta1", Box::new(Adam::new(0.9001))),
        ("adam", "beta2", changed(Adam::new(0.9), |o| o.beta2 = 0.99901)),
        ("adam", "eps", changed(Adam::new(0.9), |o| o.eps = 2e-8)),
        ("adam_coupled", "decay", changed(Adam::new(0.9), |o| o.decay = 0.5001)),
        ("adamax", "beta1", Box::new(Adamax::new(0.9001))),
        ("adamax", "beta2", changed(Adamax::new(0.9), |o| o.beta2 = 0.99901)),
        ("adamax", "eps", changed(Adamax::new(0.9), |o| o.eps = 2e-8)),
        ("adamw", "beta1", Box::new(AdamW::new(0.9001))),
        ("adamw", "decay", changed(AdamW::new(0.9), |o| o.decay = 1.1e-2)),
        ("nadam", "beta1", Box::new(NAdam::new(0.9001))),
        ("nadam", "beta2", changed(NAdam::new(0.9), |o| o.beta2 = 0.99901)),
        ("nadam", "eps", changed(NAdam::new(0.9), |o| o.eps = 2e-8)),
        ("nadam", "momentum_decay", changed(NAdam::new(0.9), |o| o.momentum_decay = 4.1e-3)),
        ("nd_adam", "beta1", Box::new(NdAdam::new(0.9001))),
        ("nd_adam", "beta2", changed(NdAdam::new(0.9), |o| o.beta2 = 0.9991)),
        ("nd_adam", "eps", changed(NdAdam::new(0.9), |o| o.eps = 1e-6)),
        ("nd_adam", "unit_rate", changed(NdAdam::new(0.9), |o| o.unit_rate = 50.01)),
        ("swats", "beta1", changed(swats(), |o| o.beta1 = 0.9001)),
        ("swats", "beta2", changed(swats(), |o| o.beta2 = 0.99901)),
        ("swats", "eps", changed(swats(), |o| o.eps = 1e-5)),
        ("swats", "threshold", changed(swats(), |o| o.threshold = 1e-9)),
    ];
    for (name, field, mut optimizer) in wrong {
        assert!(Golden::read(name).first_failure(&mut *optimizer).is_some(), "{name}: a wrong {field} passes");
    }
}

#[test]
fn adam_is_miadam_of_order_0() {
    for (name, make) in [CASES[2], CASES[3]] {
        let weight_decay = if name == "adam" { WeightDecay::None } else { WeightDecay::Coupled(0.5) };
        let miadam = Hyperparams { order: 0, weight_decay, ..Hyperparams::default() };
        let golden = Golden::read(name);
        let failure = golden.first_failure(&mut MiAdam::new(miadam.clone()));
        assert!(failure.is_none(), "{}", failure.unwrap());
        let [ours, theirs] = [golden.replay(&mut *make()), golden.replay(&mut MiAdam::new(miadam))];
        for (t, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                let path = |i: usize| {
                    let scales = golden.scales[number].iter().skip(i).step_by(ours.len());
                    scales.take(t).map(|&scale| f64::from(scale)).sum::<f64>()
                };
                for (i, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
                    let (ours, theirs) = (f64::from(ours), f64::from(theirs));
                    // The errors of both, of all steps so far.
                    let bound = 2.0 * (tolerance(t) * path(i) + THETA_TOLERANCE * t as f64 * (ours.abs() + path(i)));
                    assert!((ours - theirs).abs() <= bound, "{name}: {ours:e} and {theirs:e} after step {t}");
                }
            }
        }
    }
}

/// One step of a matrix of two rows, each with the weights into one unit.
fn step_rows(optimizer: &mut dyn Optimizer, values: &mut [f32; 4], mut grads: [f32; 4]) {
    let tensor = Tensor { name: "rows", values, grads: &mut grads, units: Units::Rows(2) };
    optimizer.step(1e-2, &mut [tensor]).unwrap();
}

#[test]
fn no_gradient_ever_moves_nothing() {
    for (name, make) in CASES {
        let mut optimizer = make();
        // Of norm 1, so that ND-Adam has nothing to normalize either.
        let mut values = [0.0, 1.0, -1.0, 0.0];
        for _ in 0..3 {
            step_rows(&mut *optimizer, &mut values, [0.0; 4]);
        }
        match name {
            // These decay.
            "adam_coupled" | "adamw" => assert!(values[1] < 1.0 && values[1] > 0.9, "{name}: {values:?}"),
            _ => assert_eq!(values, [0.0, 1.0, -1.0, 0.0], "{name}"),
        }
    }
}

#[test]
fn adai_starts_when_the_first_gradient_comes() {
    let mut optimizer = Adai::new();
    let mut values = [1.0; 4];
    step_rows(&mut optimizer, &mut values, [0.0; 4]);
    step_rows(&mut optimizer, &mut values, [1.0, 1.0, 1.0, 1.0]);
    // v̂ is its mean everywhere: two steps at β1 0.9, and m is 0.1 of q = 0.19.
    let expected = 1.0 - 1e-2 * 0.1 / 0.19;
    assert!(values.iter().all(|&value| (f64::from(value) - expected).abs() < 1e-6), "{values:?}");
}

#[test]
fn swats_learns_nothing_from_a_step_across_the_gradient() {
    let mut optimizer = Swats::new(0.5);
    optimizer.threshold = f64::INFINITY;
    let mut values = [0.0; 4];
    // p·g is 0 where g is, and where p is.
    for _ in 0..3 {
        step_rows(&mut optimizer, &mut values, [0.0; 4]);
        assert!(!optimizer.has_switched());
    }
    // From here on any γ is near enough. The first one leads downhill.
    step_rows(&mut optimizer, &mut values, [1.0, 1.0, 1.0, 1.0]);
    assert!(optimizer.has_switched());
    let before = values;
    step_rows(&mut optimizer, &mut values, [1.0, 1.0, 1.0, 1.0]);
    assert!(values.iter().zip(before).all(|(&new, old)| new < old), "{before:?} {values:?}");
}

#[test]
fn swats_does_not_switch_to_climbing() {
    let mut optimizer = Swats::new(0.9);
    optimizer.threshold = f64::INFINITY;
    let mut values = [0.0; 4];
    // Its first step cannot switch. At the second one, momentum carries it up the gradient, so that γ is large and negative.
    step_rows(&mut optimizer, &mut values, [1.0, 1.0, 1.0, 1.0]);
    step_rows(&mut optimizer, &mut values, [-1e-2, -1e-2, -1e-2, -1e-2]);
    assert!(!optimizer.has_switched());
}

#[test]
fn nd_adam_keeps_the_weights_into_a_unit_at_norm_1() {
    let golden = Golden::read("nd_adam");
    for thetas in &golden.replay(&mut NdAdam::new(0.9))[1..] {
        let square = |x: &f32| f64::from(*x).powi(2);
        let rows = thetas[0].chunks(4).map(|row| row.iter().map(square).sum::<f64>());
        let columns = [0, 1].map(|column| thetas[1].iter().skip(column).step_by(2).map(square).sum::<f64>());
        for norm in rows.chain(columns) {
            // Each element is rounded once.
            assert!((norm - 1.0).abs() <= EPSILON, "{norm}");
        }
    }
}

#[test]
fn nd_adam_takes_weights_of_0_onto_the_sphere() {
    let mut optimizer = NdAdam::new(0.9);
    let mut values = [0.0, 0.0, 3.0, 4.0];
    step_rows(&mut optimizer, &mut values, [0.0; 4]);
    // Without a gradient they stay; the others are normalized.
    assert_eq!(values, [0.0, 0.0, 0.6, 0.8]);
    step_rows(&mut optimizer, &mut values, [3.0, -4.0, 0.0, 0.0]);
    // Against the gradient, as far as the sphere.
    let expected = [-0.6, 0.8, 0.6, 0.8];
    assert!(values.iter().zip(expected).all(|(value, expected)| (value - expected).abs() < 1e-6), "{values:?}");
}

#[test]
fn nd_adam_does_not_move_along_the_weights() {
    let mut optimizer = NdAdam::new(0.9);
    let mut values = [1.0, 0.0, 0.0, 1.0];
    step_rows(&mut optimizer, &mut values, [5.0, 0.0, 0.0, -5.0]);
    assert_eq!(values, [1.0, 0.0, 0.0, 1.0]);
}
