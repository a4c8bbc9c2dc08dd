//! Every option, each in a check of its own.

use miadam::{
    Average, Dtype, GradOptions, GradScaler, HalfParams, Hyperparams, Schedule, StatePrecision, StepScale, WeightDecay,
};

/// An optimizer's settings under a name.
pub struct Check {
    pub name: String,
    pub hyperparams: Hyperparams,
    pub options: GradOptions,
    pub dtype: Dtype,
    /// The step whose gradients have a NaN, if there is one.
    pub spoilt: Option<u32>,
    /// Whether the run goes on from a checkpoint halfway.
    pub resumes: bool,
}

impl Check {
    fn new(name: impl Into<String>, hyperparams: Hyperparams) -> Self {
        let (options, dtype) = (GradOptions::default(), Dtype::F32);
        Self { name: name.into(), hyperparams, options, dtype, spoilt: None, resumes: false }
    }
}

/// One integral until halfway.
fn integrating() -> Hyperparams {
    Hyperparams { lr: 0.01, order: 1, kappa: 0.5, switch_step: 6, ..Hyperparams::default() }
}

pub fn all() -> Vec<Check> {
    let mut checks = orders();
    checks.extend(updates());
    checks.extend(gradients());
    checks.extend(halves());
    checks.extend(packed());
    checks.push(Check { resumes: true, ..Check::new("resumed from a checkpoint", integrating()) });
    checks
}

fn orders() -> Vec<Check> {
    let scales = [StepScale::Paper, StepScale::Reference, StepScale::UnitGain, StepScale::ExactGain];
    let mut checks = vec![Check::new("order 0", Hyperparams { order: 0, ..integrating() })];
    for order in [1, 2, 3] {
        checks.extend(scales.map(|step_scale| {
            // A power of the rate is a small step. This one moves the parameters at all orders.
            let lr = if matches!(step_scale, StepScale::Paper | StepScale::Reference) { 0.3 } else { 0.01 };
            let hyperparams = Hyperparams { order, step_scale, lr, ..integrating() };
            Check::new(format!("order {order}, {step_scale:?}"), hyperparams)
        }));
    }
    checks
}

fn updates() -> Vec<Check> {
    let base = integrating;
    vec![
        Check::new("coupled weight decay", Hyperparams { weight_decay: WeightDecay::Coupled(0.1), ..base() }),
        Check::new("decoupled weight decay", Hyperparams { weight_decay: WeightDecay::Decoupled(0.1), ..base() }),
        Check::new("cautious weight decay", Hyperparams { weight_decay: WeightDecay::Cautious(0.1), ..base() }),
        Check::new("amsgrad", Hyperparams { amsgrad: true, ..base() }),
        Check::new("maximize", Hyperparams { maximize: true, ..base() }),
        Check::new("average, EMA", Hyperparams { average: Average::Ema { decay: 0.9, warmup: true }, ..base() }),
        Check::new("average, SWA", Hyperparams { average: Average::Equal { from: 3, every: 2 }, ..base() }),
        Check::new(
            "schedule, warm-up and cosine",
            Hyperparams { schedule: Schedule::warmup_cosine(3, 12, 0.1), ..base() },
        ),
    ]
}

fn gradients() -> Vec<Check> {
    let with = |name: &str, options| Check { options, ..Check::new(name, integrating()) };
    let base = GradOptions::default;
    let scaler = Some(GradScaler { init_scale: 1024.0, ..GradScaler::default() });
    vec![
        with("gradients times a factor", GradOptions { factor: 0.25, ..base() }),
        with("clipping by norm", GradOptions { clip_norm: Some(1.0), ..base() }),
        with("clipping by value", GradOptions { clip_value: Some(0.5), ..base() }),
        with("gradients reset", GradOptions { zero: true, ..base() }),
        with("loss scaling", GradOptions { scaler, ..base() }),
        Check { spoilt: Some(4), ..with("a step skipped for a NaN", GradOptions { skip_non_finite: true, ..base() }) },
        Check { spoilt: Some(4), ..with("loss scaling, a step skipped", GradOptions { scaler, ..base() }) },
    ]
}

fn halves() -> Vec<Check> {
    let with = |name: &str, dtype, half_params| Check {
        dtype,
        ..Check::new(name, Hyperparams { half_params, ..integrating() })
    };
    vec![
        with("f16, master copies", Dtype::F16, HalfParams::Master),
        with("bf16, master copies", Dtype::Bf16, HalfParams::Master),
        with("bf16, random rounding", Dtype::Bf16, HalfParams::Stochastic { seed: 7 }),
    ]
}

fn packed() -> Vec<Check> {
    let with = |name: &str, state_precision| Check::new(name, Hyperparams { state_precision, ..integrating() });
    let amsgrad = Hyperparams { amsgrad: true, state_precision: StatePrecision::Q8, ..integrating() };
    vec![
        with("state in bf16", StatePrecision::Bf16),
        with("state in 8 bits", StatePrecision::Q8),
        Check { resumes: true, ..Check::new("state in 8 bits, amsgrad, resumed", amsgrad) },
    ]
}
