//! Both devices against results from outside: PyTorch's Adam, and Algorithm 1 in NumPy (tests/golden/make.py).
//!
//! What is compared is the update θ_t - θ_{t-1} of every step, and the state after the last.

#[allow(dead_code, reason = "the replay example uses all of it")]
#[path = "../../examples/replay/case/mod.rs"]
mod case;
#[path = "../../examples/replay/device/mod.rs"]
mod device;

use std::path::PathBuf;

use case::{Case, Tensor};
use device::{Cpu, Device, Gpu, replay_step};
use miadam::{Hyperparams, StepScale, WeightDecay};
use safetensors::{Dtype, SafeTensors};

use crate::common::Gpu as TestGpu;

pub const EPSILON: f64 = f32::EPSILON as f64;

/// Errors allowed by the rounding of `order + 1` nested recurrences over `step` steps, relative to the result's scale.
///
/// In x ← a·x + b·y each term meets a rounded coefficient, a product and a sum: 3 roundings of ε/2 a step. The
/// numerator is nested `order` + 1 deep; g adds one recurrence's worth through its square and one through the θ of
/// coupled decay, which carries its own errors. Bias corrections, `/` (2.5 ulp in WGSL) and `sqrt` end the update:
/// 8 ε, once. Real errors are about 1 ε; `on_cpu` below is held to that.
pub fn tolerance(order: usize, step: usize) -> f64 {
    EPSILON * (1.5 * (step * (order + 3)) as f64 + 8.0)
}

/// Errors allowed in θ_t - θ_{t-1} relative to θ, which `f32` rounds: the decay factor, its product and the sum.
pub const THETA_TOLERANCE: f64 = 1.5 * EPSILON;

/// A GPU may flush what is smaller to 0.
const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

pub struct Golden {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Values and their scales.
pub type Expected = Vec<(f64, f64)>;

impl Golden {
    fn all() -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no golden files; run tests/golden/make.py");
        let read = |path: PathBuf| Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            bytes: std::fs::read(path).unwrap(),
        };
        paths.into_iter().map(read).collect()
    }

    fn named(name: &str) -> Self {
        Self::all().into_iter().find(|golden| golden.name == name).unwrap()
    }

    fn case(&self) -> Case {
        let case = Case::from_bytes(&self.bytes).unwrap();
        device::check(&case).unwrap();
        case
    }

    pub fn floats(&self, entry: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(entry).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        match tensor.dtype() {
            Dtype::F64 => tensor.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
            Dtype::F32 => tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            dtype => panic!("{}: {entry} has dtype {dtype}", self.name),
        }
    }

    pub fn expected(&self, kind: &str, name: &str) -> Expected {
        let [values, scales] = ["value", "scale"].map(|part| self.floats(&format!("expect/{part}/{kind}/{name}")));
        values.into_iter().zip(scales).collect()
    }

    /// The worst error that PyTorch makes in `f32`, as [`Check::worst`] measures it.
    pub fn float32_error(&self) -> f64 {
        self.floats("expect/float32")[0]
    }
}

/// What a replay showed.
#[derive(Default)]
struct Check {
    failures: Vec<String>,
    /// The largest error of an update in units of ε·(scale + |θ|).
    worst: f64,
}

impl Check {
    fn run(golden: &Golden, case: &Case, device: &mut dyn Device) -> Self {
        let mut check = Self::default();
        check.updates(golden, case, device);
        check.state(golden, case, device);
        check
    }

    fn updates(&mut self, golden: &Golden, case: &Case, device: &mut dyn Device) {
        let expected: Vec<_> = case.tensors().map(|tensor| golden.expected("update", &tensor.name)).collect();
        let mut before = device.params().unwrap();
        for (index, recorded) in case.steps.iter().enumerate() {
            replay_step(device, recorded, case.max_grad_norm).unwrap();
            let after = device.params().unwrap();
            for (number, (tensor, order)) in tensors(case).enumerate() {
                for (i, (&new, &old)) in after[number].iter().zip(&before[number]).enumerate() {
                    let (value, scale) = expected[number][index * tensor.values.len() + i];
                    let (new, old) = (f64::from(new), f64::from(old));
                    let error = (new - old - value).abs();
                    let theta = new.abs().max(old.abs());
                    if theta > 0.0 {
                        self.worst = self.worst.max(error / (EPSILON * (scale + theta)));
                    }
                    let bound = tolerance(order, index + 1) * scale + THETA_TOLERANCE * theta;
                    let what = || format!("{}: update {} of {}[{i}]", golden.name, index + 1, tensor.name);
                    self.compare(what, new - old, value, bound);
                }
            }
            before = after;
        }
    }

    fn state(&mut self, golden: &Golden, case: &Case, device: &mut dyn Device) {
        let state = device.state().unwrap();
        assert_eq!(state.step as usize, case.steps.len());
        assert_eq!(state.tensors.len(), case.tensors().count());
        for (tensor, found) in case.tensors().zip(&state.tensors) {
            assert_eq!(found.name, tensor.name);
            let moments = [("first_moment", &found.first_moment), ("second_moment", &found.second_moment)];
            let moments =
                moments.into_iter().chain(found.max_second_moment.iter().map(|max| ("max_second_moment", max)));
            let planes = moments.map(|(kind, plane)| (kind.to_owned(), 0, plane));
            let integrals = found.integrals.iter().zip(1..).map(|(plane, j)| (format!("integral/{j}"), j, plane));
            for (kind, depth, plane) in planes.chain(integrals) {
                let expected = golden.expected(&kind, &tensor.name);
                assert_eq!(plane.len(), expected.len());
                for (i, (&found, (value, scale))) in plane.iter().zip(expected).enumerate() {
                    let bound = tolerance(depth, case.steps.len()) * scale + FLUSHED;
                    let what = || format!("{}: {kind} of {}[{i}]", golden.name, tensor.name);
                    self.compare(what, f64::from(found), value, bound);
                }
            }
        }
    }

    fn compare(&mut self, what: impl Fn() -> String, found: f64, expected: f64, bound: f64) {
        // So that NaN fails.
        let holds = (found - expected).abs() <= bound;
        if !holds {
            self.failures.push(format!("{} is {found:e}, not {expected:e} ± {bound:e}", what()));
        }
    }

    fn assert(&self) {
        assert!(self.failures.is_empty(), "{} failures, first: {}", self.failures.len(), self.failures[0]);
    }
}

/// The parameters, each with its group's order.
fn tensors(case: &Case) -> impl Iterator<Item = (&Tensor, usize)> {
    case.groups.iter().flat_map(|group| {
        let order = group.hyperparams.order as usize;
        group.params.iter().map(move |tensor| (tensor, order))
    })
}

#[test]
fn on_cpu() {
    for golden in Golden::all() {
        let case = golden.case();
        let check = Check::run(&golden, &case, &mut Cpu::new(&case).unwrap());
        println!("{:20} {:.2} ε, PyTorch {:.2} ε", golden.name, check.worst, golden.float32_error());
        check.assert();
        // No less accurate than PyTorch in f32, whose errors differ by the order of operations and by luck.
        assert!(check.worst <= 3.0 * golden.float32_error(), "{}: {} ε", golden.name, check.worst);
    }
}

#[test]
fn on_gpu() {
    // A device of its own: the example's way of waiting is not for a device that other threads wait for.
    let Some(gpu) = TestGpu::new(wgpu::Limits::default()) else { return };
    for golden in Golden::all() {
        let case = golden.case();
        let mut device = Gpu::new(gpu.device.clone(), gpu.queue.clone(), &case).unwrap();
        let check = Check::run(&golden, &case, &mut device);
        println!("{:20} {:.2} ε, PyTorch {:.2} ε", golden.name, check.worst, golden.float32_error());
        // WGSL lets a device round more freely than IEEE 754: what it leaves free counts 5 ε for `/` and `sqrt`.
        assert!(check.worst <= 3.0 * golden.float32_error() + 5.0, "{}: {} ε", golden.name, check.worst);
        check.assert();
    }
}

/// The tolerances above are no larger than what they are to catch.
#[test]
fn slightly_wrong_hyperparameters_are_noticed() {
    type Change = fn(&mut Hyperparams);
    let changes: [(&str, &str, Change); 13] = [
        ("adam", "lr", |h| h.lr *= 1.0001),
        ("adam", "beta1", |h| h.beta1 += 1e-4),
        ("adam", "beta2", |h| h.beta2 += 1e-5),
        ("adam", "eps", |h| h.eps *= 1.05),
        ("adam_coupled", "weight_decay", |h| h.weight_decay = WeightDecay::Coupled(0.5001)),
        ("adamw", "weight_decay", |h| h.weight_decay = WeightDecay::Decoupled(0.5001)),
        ("adamw", "coupling", |h| h.weight_decay = WeightDecay::Coupled(0.5)),
        ("adam_amsgrad", "amsgrad", |h| h.amsgrad = false),
        ("adam_maximize", "maximize", |h| h.maximize = false),
        ("paper_orders", "kappa", |h| h.kappa *= 1.0001),
        ("paper_orders", "order", |h| h.order -= 1),
        ("switches", "switch_step", |h| h.switch_step += 1),
        ("unit_gain_orders", "step_scale", |h| h.step_scale = StepScale::Paper),
    ];
    for (name, field, change) in changes {
        let golden = Golden::named(name);
        let mut case = golden.case();
        change(&mut case.groups[0].hyperparams);
        let mut check = Check::default();
        check.updates(&golden, &case, &mut Cpu::new(&case).unwrap());
        assert!(!check.failures.is_empty(), "{name}: a wrong {field} passes");
    }
}
