//! The optimizers that are compared, and the controls: what the integrals do beyond a larger step or a longer β1.

use miadam::{Hyperparams, StepScale};

/// An optimizer by its hyperparameters, all of them the crate's. Order 0 is Adam.
#[derive(Debug, Clone)]
pub struct Contender {
    pub name: String,
    pub first: Hyperparams,
    /// The step, counted from 1, from which on the other hyperparameters hold. Adam as a control changes there; MIAdam's own
    /// `switch_step` does it for MIAdam.
    pub then: Option<(u32, Hyperparams)>,
}

/// The three ways to use the integrals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `UnitGain` with κ 0.9: Adam's step size, averaged over more steps.
    Unit,
    /// `Paper` with κ 0.5: the crate's default.
    Paper,
    /// `Reference` with κ 0.98: the authors' code.
    Reference,
}

impl Rule {
    pub const ALL: [Self; 3] = [Self::Unit, Self::Paper, Self::Reference];

    fn scale(self) -> StepScale {
        match self {
            Self::Unit => StepScale::UnitGain,
            Self::Paper => StepScale::Paper,
            Self::Reference => StepScale::Reference,
        }
    }

    pub fn kappa(self) -> f64 {
        match self {
            Self::Unit => 0.9,
            Self::Paper => 0.5,
            Self::Reference => 0.98,
        }
    }

    /// Its name with κ, for tables.
    pub fn name(self) -> String {
        format!("{:?} κ {}", self.scale(), self.kappa())
    }
}

/// Adam's β1, from which all others here depart.
const BETA1: f64 = 0.9;

/// Adam with another rate and another β1.
fn adam_with(lr: f64, beta1: f64) -> Hyperparams {
    Hyperparams { lr, beta1, order: 0, ..Hyperparams::default() }
}

/// MIAdam of this order under this rule; plain Adam from `switch_step` on.
pub fn integrating(rule: Rule, order: u32, lr: f64, switch_step: u32) -> Hyperparams {
    Hyperparams { lr, order, kappa: rule.kappa(), step_scale: rule.scale(), switch_step, ..Hyperparams::default() }
}

/// The β1 under which Adam lags behind the gradient as much as MIAdam does.
///
/// An average that forgets by β each step lags β/(1-β) steps behind on the mean. The lags of averages within averages add up:
/// β1/(1-β1) + n·κ/(1-κ) for n integrals.
pub fn beta1_of_same_lag(order: u32, kappa: f64) -> f64 {
    let lag = BETA1 / (1.0 - BETA1) + f64::from(order) * kappa / (1.0 - kappa);
    lag / (1.0 + lag)
}

impl Contender {
    /// Adam throughout.
    pub fn adam(name: impl Into<String>, lr: f64, beta1: f64) -> Self {
        Self { name: name.into(), first: adam_with(lr, beta1), then: None }
    }

    /// MIAdam, which is Adam from `switch_step` on.
    pub fn miadam(rule: Rule, order: u32, lr: f64, switch_step: u32) -> Self {
        let name = format!("MIAdam{order} {}", rule.name());
        Self { name, first: integrating(rule, order, lr, switch_step), then: None }
    }

    /// Adam with another rate and β1 until `switch_step`, where it becomes plain Adam.
    pub fn until(name: impl Into<String>, first: [f64; 2], lr: f64, switch_step: u32) -> Self {
        let [first_lr, beta1] = first;
        Self { name: name.into(), first: adam_with(first_lr, beta1), then: Some((switch_step, adam_with(lr, BETA1))) }
    }

    /// Adam with MIAdam's steady step until the switch.
    pub fn same_step(rule: Rule, order: u32, lr: f64, switch_step: u32) -> Self {
        let steady = integrating(rule, order, lr, switch_step).effective_lr();
        Self::until(format!("Adam, step of MIAdam{order} {}", rule.name()), [steady, BETA1], lr, switch_step)
    }

    /// Adam with MIAdam's steady step and its lag until the switch.
    pub fn same_step_and_lag(rule: Rule, order: u32, lr: f64, switch_step: u32) -> Self {
        let steady = integrating(rule, order, lr, switch_step).effective_lr();
        let beta1 = beta1_of_same_lag(order, rule.kappa());
        let name = format!("Adam, step and lag of MIAdam{order} {}", rule.name());
        Self::until(name, [steady, beta1], lr, switch_step)
    }
}

/// All contenders of the table: Adam, MIAdam1, 2, 3 under each rule, and the controls.
pub fn all(lr: f64, switch_step: u32) -> Vec<Contender> {
    let orders = || Rule::ALL.into_iter().flat_map(|rule| [1, 2, 3].map(|order| (rule, order)));
    let mut all = shown(lr, switch_step);
    all.extend([20.0, 400.0, 8000.0].map(|part| {
        Contender::until(format!("Adam, lr/{part} until the switch"), [lr / part, BETA1], lr, switch_step)
    }));
    // Under UnitGain the step is Adam's own.
    let other_steps = orders().filter(|(rule, _)| *rule != Rule::Unit);
    all.extend(other_steps.map(|(rule, order)| Contender::same_step(rule, order, lr, switch_step)));
    all.extend(orders().map(|(rule, order)| Contender::same_step_and_lag(rule, order, lr, switch_step)));
    all
}

/// Those that the maps show.
pub fn shown(lr: f64, switch_step: u32) -> Vec<Contender> {
    let longer = beta1_of_same_lag(1, Rule::Unit.kappa());
    let mut shown = vec![
        Contender::adam("Adam", lr, BETA1),
        Contender::adam("Adam, lr doubled", 2.0 * lr, BETA1),
        Contender::adam(format!("Adam, β1 {longer:.3}"), lr, longer),
    ];
    let orders = Rule::ALL.into_iter().flat_map(|rule| [1, 2, 3].map(|order| (rule, order)));
    shown.extend(orders.map(|(rule, order)| Contender::miadam(rule, order, lr, switch_step)));
    shown
}
