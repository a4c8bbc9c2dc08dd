//! The JSON in a case's metadata.

use std::collections::HashMap;

use miadam::{Average, Dtype, GradOptions, HalfParams, Hyperparams, Schedule, StatePrecision, StepScale, WeightDecay};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CaseError;
use super::gradients;
use super::schedule::Described;

/// Keys that are instructions.
pub const KEYS: [&str; 8] =
    ["groups", "lr_per_step", "max_grad_norm", "clip_value", "grad_factor", "skip_non_finite", "zero_grads", "scaler"];

/// Keys that carry no instruction: what PyTorch's savers write, and room for a remark.
const REMARKS: [&str; 2] = ["format", "about"];

pub struct Metadata {
    pub groups: Vec<GroupEntry>,
    pub lr_per_step: Option<Vec<Lr>>,
    pub grad_options: GradOptions,
}

/// One entry of `groups`. An absent field is as in [`Hyperparams::default`].
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupEntry {
    params: Option<Vec<String>>,
    lr: f64,
    schedule: Described,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
    cautious: bool,
    order: u32,
    kappa: f64,
    switch_step: u32,
    step_scale: Scale,
    amsgrad: bool,
    maximize: bool,
    dtype: Type,
    stochastic_seed: Option<u64>,
    average: Average,
    state_precision: StatePrecision,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Type {
    F32,
    F16,
    Bf16,
}

#[derive(Deserialize)]
enum Scale {
    #[serde(rename = "paper", alias = "Paper")]
    Paper,
    #[serde(rename = "reference", alias = "Reference")]
    Reference,
    #[serde(rename = "unit-gain", alias = "unit_gain", alias = "UnitGain")]
    UnitGain,
    #[serde(rename = "exact-gain", alias = "exact_gain", alias = "ExactGain")]
    ExactGain,
}

/// One entry of `lr_per_step`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an entry is neither a number nor an array of numbers")]
pub enum Lr {
    Shared(f64),
    EachGroup(Vec<f64>),
}

impl Metadata {
    pub fn parse(entries: &HashMap<String, String>) -> Result<Self, CaseError> {
        let known = |key: &str| KEYS.contains(&key) || REMARKS.contains(&key);
        if let Some(key) = entries.keys().filter(|key| !known(key)).min() {
            return Err(CaseError::UnknownMetadata { key: key.clone() });
        }
        let groups: Option<Vec<GroupEntry>> =
            parse(entries, "groups", "a JSON array of objects, each a parameter group")?;
        let groups = groups.ok_or(CaseError::MissingGroups)?;
        if let Some(group) = groups.iter().position(|group| group.params.is_none()) {
            return Err(CaseError::BadMetadata {
                key: "groups",
                reason: format!("group {group} has no `params`"),
                expected: "an array whose every group lists the names of its parameters",
            });
        }
        let lr_per_step =
            parse(entries, "lr_per_step", "a JSON array with a number, or an array of them, for each step")?;
        let scheduled = groups.iter().position(|group| group.schedule() != Schedule::Constant);
        if let (Some(_), Some(group)) = (&lr_per_step, scheduled) {
            return Err(CaseError::LrTwice { group });
        }
        Ok(Self { groups, lr_per_step, grad_options: gradients::parse(entries)? })
    }
}

/// The JSON of one key, if it is there.
pub fn parse<T: DeserializeOwned>(
    entries: &HashMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, CaseError> {
    let parsed = entries.get(key).map(|json| serde_json::from_str(json)).transpose();
    parsed.map_err(|error| CaseError::BadMetadata { key, reason: error.to_string(), expected })
}

impl GroupEntry {
    pub fn params(&self) -> &[String] {
        self.params.as_deref().unwrap_or_default()
    }

    fn schedule(&self) -> Schedule {
        Schedule::from(&self.schedule)
    }

    pub fn dtype(&self) -> Dtype {
        match self.dtype {
            Type::F32 => Dtype::F32,
            Type::F16 => Dtype::F16,
            Type::Bf16 => Dtype::Bf16,
        }
    }

    pub fn hyperparams(&self) -> Hyperparams {
        let decay = self.weight_decay;
        Hyperparams {
            lr: self.lr,
            schedule: self.schedule(),
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            order: self.order,
            kappa: self.kappa,
            switch_step: self.switch_step,
            step_scale: match self.step_scale {
                Scale::Paper => StepScale::Paper,
                Scale::Reference => StepScale::Reference,
                Scale::UnitGain => StepScale::UnitGain,
                Scale::ExactGain => StepScale::ExactGain,
            },
            weight_decay: match (self.decoupled, self.cautious) {
                _ if decay == 0.0 => WeightDecay::None,
                (_, true) => WeightDecay::Cautious(decay),
                (true, false) => WeightDecay::Decoupled(decay),
                (false, false) => WeightDecay::Coupled(decay),
            },
            amsgrad: self.amsgrad,
            maximize: self.maximize,
            average: self.average,
            state_precision: self.state_precision,
            half_params: self.stochastic_seed.map_or(HalfParams::Master, |seed| HalfParams::Stochastic { seed }),
        }
    }
}

impl Default for GroupEntry {
    fn default() -> Self {
        let defaults = Hyperparams::default();
        let (weight_decay, decoupled, cautious) = match defaults.weight_decay {
            WeightDecay::None => (0.0, false, false),
            WeightDecay::Coupled(decay) => (decay, false, false),
            WeightDecay::Decoupled(decay) => (decay, true, false),
            WeightDecay::Cautious(decay) => (decay, true, true),
        };
        Self {
            params: None,
            lr: defaults.lr,
            schedule: Described::Constant {},
            beta1: defaults.beta1,
            beta2: defaults.beta2,
            eps: defaults.eps,
            weight_decay,
            decoupled,
            cautious,
            order: defaults.order,
            kappa: defaults.kappa,
            switch_step: defaults.switch_step,
            step_scale: match defaults.step_scale {
                StepScale::Paper => Scale::Paper,
                StepScale::Reference => Scale::Reference,
                StepScale::UnitGain => Scale::UnitGain,
                StepScale::ExactGain => Scale::ExactGain,
            },
            amsgrad: defaults.amsgrad,
            maximize: defaults.maximize,
            dtype: Type::F32,
            stochastic_seed: None,
            average: defaults.average,
            state_precision: defaults.state_precision,
        }
    }
}
