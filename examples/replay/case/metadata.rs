//! The JSON in a case's metadata.

use std::collections::HashMap;

use miadam::{Hyperparams, StepScale, WeightDecay};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CaseError;

/// Keys that carry no instruction: what PyTorch's savers write, and room for a remark.
const REMARKS: [&str; 2] = ["format", "about"];

pub struct Metadata {
    pub groups: Vec<Group>,
    pub lr_per_step: Option<Vec<Lr>>,
    pub max_grad_norm: Option<f64>,
}

/// One entry of `groups`. An absent field is as in [`Hyperparams::default`].
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    params: Option<Vec<String>>,
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
    order: u32,
    kappa: f64,
    switch_step: u32,
    step_scale: Scale,
    amsgrad: bool,
    maximize: bool,
}

#[derive(Deserialize)]
enum Scale {
    #[serde(rename = "paper", alias = "Paper")]
    Paper,
    #[serde(rename = "reference", alias = "Reference")]
    Reference,
    #[serde(rename = "unit-gain", alias = "unit_gain", alias = "UnitGain")]
    UnitGain,
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
        let known = |key: &str| ["groups", "lr_per_step", "max_grad_norm"].contains(&key) || REMARKS.contains(&key);
        if let Some(key) = entries.keys().filter(|key| !known(key)).min() {
            return Err(CaseError::UnknownMetadata { key: key.clone() });
        }
        let groups: Option<Vec<Group>> = parse(entries, "groups", "a JSON array of objects, each a parameter group")?;
        let groups = groups.ok_or(CaseError::MissingGroups)?;
        if let Some(group) = groups.iter().position(|group| group.params.is_none()) {
            return Err(CaseError::BadMetadata {
                key: "groups",
                reason: format!("group {group} has no `params`"),
                expected: "an array whose every group lists the names of its parameters",
            });
        }
        Ok(Self {
            groups,
            lr_per_step: parse(
                entries,
                "lr_per_step",
                "a JSON array with a number, or an array of them, for each step",
            )?,
            max_grad_norm: max_grad_norm(entries)?,
        })
    }
}

fn max_grad_norm(entries: &HashMap<String, String>) -> Result<Option<f64>, CaseError> {
    let (key, expected) = ("max_grad_norm", "a number, 0 or above");
    let norm = parse::<f64>(entries, key, expected)?;
    match norm {
        Some(norm) if !(norm.is_finite() && norm >= 0.0) => {
            Err(CaseError::BadMetadata { key, reason: format!("it is {norm}"), expected })
        }
        norm => Ok(norm),
    }
}

fn parse<T: DeserializeOwned>(
    entries: &HashMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, CaseError> {
    let parsed = entries.get(key).map(|json| serde_json::from_str(json)).transpose();
    parsed.map_err(|error| CaseError::BadMetadata { key, reason: error.to_string(), expected })
}

impl Group {
    pub fn params(&self) -> &[String] {
        self.params.as_deref().unwrap_or_default()
    }

    pub fn hyperparams(&self) -> Hyperparams {
        let decay = self.weight_decay;
        Hyperparams {
            lr: self.lr,
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
            },
            weight_decay: match self.decoupled {
                _ if decay == 0.0 => WeightDecay::None,
                true => WeightDecay::Decoupled(decay),
                false => WeightDecay::Coupled(decay),
            },
            amsgrad: self.amsgrad,
            maximize: self.maximize,
        }
    }
}

impl Default for Group {
    fn default() -> Self {
        let defaults = Hyperparams::default();
        let (weight_decay, decoupled) = match defaults.weight_decay {
            WeightDecay::None => (0.0, false),
            WeightDecay::Coupled(decay) => (decay, false),
            WeightDecay::Decoupled(decay) => (decay, true),
        };
        Self {
            params: None,
            lr: defaults.lr,
            beta1: defaults.beta1,
            beta2: defaults.beta2,
            eps: defaults.eps,
            weight_decay,
            decoupled,
            order: defaults.order,
            kappa: defaults.kappa,
            switch_step: defaults.switch_step,
            step_scale: match defaults.step_scale {
                StepScale::Paper => Scale::Paper,
                StepScale::Reference => Scale::Reference,
                StepScale::UnitGain => Scale::UnitGain,
            },
            amsgrad: defaults.amsgrad,
            maximize: defaults.maximize,
        }
    }
}
