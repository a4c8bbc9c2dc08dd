//! Both devices against results from outside: PyTorch's Adam, and Algorithm 1 in NumPy (tests/golden/make.py); and
//! PyTorch's clipping, loss scaling and accumulation before them (tests/golden/gradients.py); and parameters that have no
//! gradient at some steps (tests/golden/living.py).
//!
//! What is compared is the update θ_t - θ_{t-1} and the report of every step, and the state after the last.

use std::path::PathBuf;

use miadam::{GradOptions, GradScaler, Hyperparams, Plane, Report, StepScale, WeightDecay};
use miadam_support::replay::{self, Case, Device, OnCpu, OnGpu, Tensor, replay_step};
use safetensors::{Dtype, SafeTensors};

use crate::common::gpu;

pub const EPSILON: f64 = f32::EPSILON as f64;

/// Errors allowed by the rounding of `order + 1` nested recurrences over `step` steps, relative to the result's scale.
///
/// In x ← a·x + b·y each term meets a rounded coefficient, a product and a sum: 3 roundings of ε/2 a step. The
/// numerator is nested `order` + 1 deep; g adds one recurrence's worth through its square and one through the θ of
/// coupled decay, which carries its own errors. Bias corrections, `/` (2.5 ulp in WGSL) and `sqrt` end the update:
/// 8 ε, once. Errors of the gradients themselves go in twice, through the numerator and the second moment. Real errors
/// are about 1 ε; `on_cpu` below is held to that.
pub fn tolerance(options: &GradOptions, order: usize, step: usize) -> f64 {
    EPSILON * (1.5 * (step * (order + 3)) as f64 + 8.0 + 2.0 * gradient_tolerance(options))
}

/// Errors of a gradient on its way into the update, relative to its scale, in units of ε.
///
/// Half of ε for every rounding, and 2.5 for `/` in WGSL. They are the same for all elements of a step, so that the last
/// bits of a mean or a norm show in all of them.
pub fn gradient_tolerance(options: &GradOptions) -> f64 {
    // Up to 5 micro-batches add up in 4 sums; the factor, and its product with g.
    let mean = if options.factor == 1.0 { 0.0 } else { 3.0 };
    // g times the scale; 1/scale, here and in PyTorch; its product with the factor, and of that with g.
    let scale = if options.scaler.is_none() { 0.0 } else { 4.5 };
    // The norm: see below. The bound, norm + 1e-6, `/`, and two products as above.
    let clip = if options.clip_norm.is_none() { 0.0 } else { NORM_TOLERANCE + 4.5 };
    mean + scale + clip
}

/// Errors of the norm of exact gradients, in units of ε: squares and their sums in a tree, which the root halves, `sqrt`
/// with 2.5 in WGSL, and the product with the factor.
pub const NORM_TOLERANCE: f64 = 5.0;

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

/// What a step should report.
struct ExpectedReport {
    /// Steps skipped so far.
    skipped: u32,
    loss_scale: f64,
    /// With its scale, if it is measured.
    grad_norm: Option<(f64, f64)>,
}

impl Golden {
    pub fn all() -> Vec<Self> {
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

    pub fn case(&self) -> Case {
        let case = Case::from_bytes(&self.bytes).unwrap();
        replay::check(&case).unwrap();
        case
    }

    pub fn floats(&self, entry: &str) -> Vec<f64> {
        self.floats_if_any(entry).unwrap_or_else(|| panic!("{}: no {entry}", self.name))
    }

    pub fn floats_if_any(&self, entry: &str) -> Option<Vec<f64>> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(entry).ok()?;
        Some(match tensor.dtype() {
            Dtype::F64 => tensor.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
            Dtype::F32 => tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            dtype => panic!("{}: {entry} has dtype {dtype}", self.name),
        })
    }

    /// What each step should report; where no file says otherwise, that nothing happened to the gradients.
    fn reports(&self, steps: usize) -> Vec<ExpectedReport> {
        let scales = self.floats_if_any("expect/loss_scale").unwrap_or_else(|| vec![1.0; steps]);
        let skipped = self.floats_if_any("expect/skipped").unwrap_or_else(|| vec![0.0; steps]);
        let norm = |part| self.floats_if_any(&format!("expect/{part}/grad_norm"));
        let norms = norm("value").zip(norm("scale"));
        let report = |step| ExpectedReport {
            skipped: skipped[step] as u32,
            loss_scale: scales[step],
            grad_norm: norms.as_ref().map(|(values, scales)| (values[step], scales[step])),
        };
        (0..steps).map(report).collect()
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
        let reports = golden.reports(case.steps.len());
        let mut before = device.params().unwrap();
        for (index, (recorded, report)) in case.steps.iter().zip(&reports).enumerate() {
            replay_step(device, recorded).unwrap();
            self.report(golden, case, index + 1, &device.report().unwrap(), report);
            let after = device.params().unwrap();
            let all_rest = report.skipped > index.checked_sub(1).map_or(0, |before| reports[before].skipped);
            for (number, (tensor, order)) in tensors(case).enumerate() {
                let rests = all_rest || recorded.grads[number].is_none();
                for (i, (&new, &old)) in after[number].iter().zip(&before[number]).enumerate() {
                    let (value, scale) = expected[number][index * tensor.values.len() + i];
                    let (new, old) = (f64::from(new), f64::from(old));
                    let error = (new - old - value).abs();
                    let theta = new.abs().max(old.abs());
                    if theta > 0.0 {
                        self.worst = self.worst.max(error / (EPSILON * (scale + theta)));
                    }
                    let tolerance = tolerance(&case.grad_options, order, index + 1);
                    let bound = if rests { 0.0 } else { tolerance * scale + THETA_TOLERANCE * theta };
                    let what = || format!("{}: update {} of {}[{i}]", golden.name, index + 1, tensor.name);
                    self.compare(what, new - old, value, bound);
                }
            }
            before = after;
        }
    }

    fn report(&mut self, golden: &Golden, case: &Case, step: usize, found: &Report, expected: &ExpectedReport) {
        let what = |field| format!("{}: {field} after step {step}", golden.name);
        let skipped = f64::from(expected.skipped);
        self.compare(|| what("steps skipped"), f64::from(found.skipped), skipped, 0.0);
        self.compare(|| what("steps taken"), f64::from(found.step), step as f64 - skipped, 0.0);
        self.compare(|| what("the loss scale"), f64::from(found.loss_scale), expected.loss_scale, 0.0);
        match (found.grad_norm, expected.grad_norm) {
            (None, None) => {}
            // NaN is not equal to itself.
            (Some(found), Some((value, _))) if found.is_nan() && value.is_nan() => {}
            (Some(found), Some((value, _))) if f64::from(found) == value => {}
            (Some(found), Some((value, scale))) => {
                let bound = EPSILON * (NORM_TOLERANCE + gradient_tolerance(&case.grad_options)) * scale;
                // The scale is infinite or NaN with it.
                let bound = if value.is_finite() { bound } else { 0.0 };
                self.compare(|| what("the norm"), f64::from(found), value, bound);
            }
            (found, expected) => self.failures.push(format!("{} is {found:?}, not {expected:?}", what("the norm"))),
        }
    }

    fn state(&mut self, golden: &Golden, case: &Case, device: &mut dyn Device) {
        let state = device.state().unwrap();
        let steps = device.report().unwrap().step;
        self.compare(|| format!("{}: the state's step", golden.name), state.step.into(), steps.into(), 0.0);
        assert_eq!(state.params.len(), case.tensors().count());
        for ((tensor, order), found) in tensors(case).zip(&state.params) {
            assert_eq!(found.name, tensor.name);
            let taken = golden.floats_if_any(&format!("expect/count/{}", tensor.name));
            let taken = taken.map_or(steps.into(), |taken| taken[0]);
            self.compare(|| format!("{}: steps of {}", golden.name, tensor.name), found.step().into(), taken, 0.0);
            for (plane, values) in found.planes() {
                let expected = golden.expected(&plane.to_string(), &tensor.name);
                let depth = match plane {
                    Plane::Integral(j) => j as usize,
                    // What θ has: that of its updates, and roundings of the sum. Then the average's own recurrence.
                    Plane::Average => order + 2,
                    _ => 0,
                };
                assert_eq!(values.len(), expected.len());
                for (i, (&found, (value, scale))) in values.iter().zip(expected).enumerate() {
                    let bound = tolerance(&case.grad_options, depth, case.steps.len()) * scale + FLUSHED;
                    let what = || format!("{}: {plane} of {}[{i}]", golden.name, tensor.name);
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
        let check = Check::run(&golden, &case, &mut OnCpu::new(&case).unwrap());
        println!("{:20} {:.2} ε, PyTorch {:.2} ε", golden.name, check.worst, golden.float32_error());
        check.assert();
        // No less accurate than PyTorch in f32, whose errors differ by the order of operations and by luck.
        assert!(check.worst <= 3.0 * golden.float32_error(), "{}: {} ε", golden.name, check.worst);
    }
}

#[test]
fn on_gpu() {
    let Some(gpu) = gpu() else { return };
    for golden in Golden::all() {
        let case = golden.case();
        let mut device = OnGpu::new((*gpu).clone(), &case).unwrap();
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
    let changes: [(&str, &str, Change); 15] = [
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
        ("living_orders", "switch_step", |h| h.switch_step += 1),
        ("unit_gain_orders", "step_scale", |h| h.step_scale = StepScale::Paper),
        ("exact_gain_orders", "kappa", |h| h.kappa *= 1.0001),
    ];
    for (name, field, change) in changes {
        let golden = Golden::named(name);
        let mut case = golden.case();
        change(&mut case.groups[0].hyperparams);
        let mut check = Check::default();
        check.updates(&golden, &case, &mut OnCpu::new(&case).unwrap());
        assert!(!check.failures.is_empty(), "{name}: a wrong {field} passes");
    }
}

/// Other options, each by the field that differs.
type Changed = Vec<(&'static str, GradOptions)>;

/// A case's options, each left out, and then each a little off.
fn changes(options: GradOptions) -> (Changed, Changed) {
    let (mut without, mut off) = (Vec::new(), Vec::new());
    if options.factor != 1.0 {
        without.push(("factor", GradOptions { factor: 1.0, ..options }));
        off.push(("factor", GradOptions { factor: 1.0001 * options.factor, ..options }));
    }
    if let Some(bound) = options.clip_norm {
        without.push(("clip_norm", GradOptions { clip_norm: None, ..options }));
        off.push(("clip_norm", GradOptions { clip_norm: Some(1.0001 * bound), ..options }));
    }
    if let Some(bound) = options.clip_value {
        without.push(("clip_value", GradOptions { clip_value: None, ..options }));
        off.push(("clip_value", GradOptions { clip_value: Some(1.0001 * bound), ..options }));
    }
    if options.skip_non_finite {
        without.push(("skip_non_finite", GradOptions { skip_non_finite: false, ..options }));
    }
    if let Some(scaler) = options.scaler {
        without.push(("scaler", GradOptions { scaler: None, ..options }));
        without.push(("scale", GradOptions { scaler: None, skip_non_finite: true, ..options }));
        let with = |scaler| GradOptions { scaler: Some(scaler), ..options };
        off.push(("init_scale", with(GradScaler { init_scale: 1.0001 * scaler.init_scale, ..scaler })));
        off.push(("growth_factor", with(GradScaler { growth_factor: 1.0001 * scaler.growth_factor, ..scaler })));
        off.push(("backoff_factor", with(GradScaler { backoff_factor: 1.0001 * scaler.backoff_factor, ..scaler })));
        off.push(("growth_interval", with(GradScaler { growth_interval: scaler.growth_interval + 1, ..scaler })));
    }
    (without, off)
}

#[test]
fn every_option_for_gradients_shows() {
    let mut seen = Vec::new();
    for golden in Golden::all() {
        let mut case = golden.case();
        let (without, off) = changes(case.grad_options);
        let count = without.len();
        for (number, (field, options)) in without.into_iter().chain(off).enumerate() {
            case.grad_options = options;
            let check = Check::run(&golden, &case, &mut OnCpu::new(&case).unwrap());
            // Left out, it shows in the parameters; a little off, in a moment or a report at least.
            let shows = |failure: &&String| number >= count || failure.contains("update");
            let shown = check.failures.iter().find(shows);
            assert!(shown.is_some(), "{}: a wrong {field} passes: {options:?}", golden.name);
            seen.push(field);
        }
    }
    assert_eq!(seen.iter().filter(|&&field| field == "scaler").count(), 3);
    assert!(seen.contains(&"factor") && seen.contains(&"clip_norm") && seen.contains(&"clip_value"));
    assert!(seen.contains(&"skip_non_finite"));
}
