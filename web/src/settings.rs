//! What the visitor chooses, and what follows from it.

use miadam::{Hyperparams, Param, ParamGroup, StepScale};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::Result;
use crate::mnist::network::Weights;

/// The settings of a run, as the page's fragment and a checkpoint have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    pub preset: Preset,
    pub lr: f64,
    pub kappa: f64,
    pub order: u32,
    /// ζ; 0 stands for never.
    pub switch_step: u32,
    pub step_scale: StepScale,
    /// The share of labels that are wrong.
    pub label_noise: f64,
    /// Steps in all.
    pub steps: u32,
    pub seed: u32,
}

/// Which of the crate's presets the settings began with. What has no slider stays as the preset has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Preset {
    Paper,
    Authors,
    Recommended,
}

impl Preset {
    fn hyperparams(self, steps: u32) -> Hyperparams {
        match self {
            Self::Paper => Hyperparams::paper(),
            Self::Authors => Hyperparams::authors(1, steps),
            Self::Recommended => Hyperparams::recommended(steps),
        }
    }
}

impl Settings {
    pub fn parse(json: &str) -> Result<Self> {
        let settings: Self =
            serde_json::from_str(json).map_err(|error| format!("The settings do not fit: {error}."))?;
        if !(1..=100_000).contains(&settings.steps) {
            return Err("A run has 1 to 100,000 steps.".to_owned());
        }
        // More would not fit into a phone's memory.
        if settings.order > 8 {
            return Err("The page offers an order n of 0 to 8.".to_owned());
        }
        if !(0.0..=1.0).contains(&settings.label_noise) {
            return Err("The label noise is a share from 0 to 1.".to_owned());
        }
        Ok(settings)
    }

    fn of(preset: Preset, steps: u32) -> Self {
        let Hyperparams { lr, kappa, order, switch_step, step_scale, .. } = preset.hyperparams(steps);
        let switch_step = if switch_step == Hyperparams::NEVER { 0 } else { switch_step };
        Self { preset, lr, kappa, order, switch_step, step_scale, label_noise: 0.0, steps, seed: 0 }
    }

    /// MIAdam as chosen.
    pub fn miadam(&self) -> Hyperparams {
        Hyperparams {
            lr: self.lr,
            kappa: self.kappa,
            order: self.order,
            switch_step: if self.switch_step == 0 { Hyperparams::NEVER } else { self.switch_step },
            step_scale: self.step_scale,
            ..self.preset.hyperparams(self.steps)
        }
    }

    /// Adam with the same rate, weight decay and schedule.
    pub fn adam(&self) -> Hyperparams {
        Hyperparams { order: 0, ..self.miadam() }
    }

    /// Adam and MIAdam over the network's tensors, which have these lengths.
    pub fn groups(&self, lens: [usize; 4]) -> [ParamGroup; 2] {
        [self.adam(), self.miadam()].map(|hyperparams| {
            let params = Weights::NAMES.into_iter().zip(lens).map(|(name, len)| Param::new(name, len));
            ParamGroup::new(hyperparams, params)
        })
    }
}

/// How far a constant gradient of 1 moves a parameter at each of these steps: α_t·S_n(t)/(1-β1ᵗ), by the recurrence that
/// [`StepScale::ExactGain`] documents.
fn effective_steps(hyperparams: &Hyperparams, steps: u32) -> Vec<f64> {
    let Hyperparams { beta1, kappa, order, .. } = *hyperparams;
    let mut sums = vec![0.0; order as usize];
    let n = f64::from(order);
    let step = |t: u32| {
        let (lr, first) = (hyperparams.lr_at(t - 1), 1.0 - beta1.powf(f64::from(t)));
        let mut sum = first;
        for own in &mut sums {
            *own = kappa * *own + sum;
            sum = *own;
        }
        if order == 0 || t >= hyperparams.switch_step {
            return lr;
        }
        match hyperparams.step_scale {
            StepScale::Paper => lr.powf(n) * sum / first,
            StepScale::Reference => lr.powf(n + 1.0) * sum / first,
            StepScale::UnitGain => lr * (1.0 - kappa).powf(n) * sum / first,
            StepScale::ExactGain => lr,
        }
    };
    (1..=steps).map(step).collect()
}

/// What the page shows beside the sliders.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outlook {
    effective_lr: Option<f64>,
    /// The effective step of Adam and of MIAdam, step by step.
    adam: Vec<f64>,
    miadam: Vec<f64>,
}

/// The effective learning rate and the effective steps of the settings, as JSON.
///
/// # Errors
/// If the settings are refused.
#[wasm_bindgen]
pub fn outlook(settings: &str) -> Result<String> {
    let settings = Settings::parse(settings)?;
    let (adam, miadam) = (settings.adam(), settings.miadam());
    miadam::cpu::MiAdam::new([ParamGroup::new(miadam.clone(), [Param::new("w", 1)])])
        .map_err(|error| format!("{error}."))?;
    let outlook = Outlook {
        effective_lr: Some(miadam.effective_lr()).filter(|lr| lr.is_finite()),
        adam: effective_steps(&adam, settings.steps),
        miadam: effective_steps(&miadam, settings.steps),
    };
    Ok(json(&outlook))
}

/// A preset's settings for a run of so many steps, as JSON.
///
/// # Errors
/// If there is no such preset.
#[wasm_bindgen]
pub fn preset(name: &str, steps: u32) -> Result<String> {
    let preset = serde_json::from_value(name.into()).map_err(|_| format!("There is no preset {name:?}."))?;
    Ok(json(&Settings::of(preset, steps)))
}

/// Values that are all plain numbers and words always have a JSON form.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn effective_steps_settle_to_the_effective_lr() {
        for scale in [StepScale::Paper, StepScale::Reference, StepScale::UnitGain, StepScale::ExactGain] {
            let hyperparams = Hyperparams { step_scale: scale, order: 2, lr: 0.5, ..Hyperparams::paper() };
            let steps = effective_steps(&hyperparams, 400);
            let (last, expected) = (steps[399], hyperparams.effective_lr());
            assert!((last / expected - 1.0).abs() < 1e-9, "{scale:?}: {last}, not {expected}");
        }
        let hyperparams = Hyperparams { switch_step: 11, ..Hyperparams::paper() };
        let steps = effective_steps(&hyperparams, 12);
        // S₁(10) as a sum of its own: Σ κⁱ·(1 - β1¹⁰⁻ⁱ), i = 0..9.
        let sum: f64 = (0..10).map(|i| 0.5_f64.powi(i) * (1.0 - 0.9_f64.powi(10 - i))).sum();
        let expected = hyperparams.lr * sum / (1.0 - 0.9_f64.powi(10));
        assert!((steps[9] / expected - 1.0).abs() < 1e-12, "{}, not {expected}", steps[9]);
        assert_eq!(steps[10], hyperparams.lr);
    }

    #[wasm_bindgen_test]
    fn presets_are_the_crates() {
        for preset in [Preset::Paper, Preset::Authors, Preset::Recommended] {
            assert_eq!(Settings::of(preset, 600).miadam(), preset.hyperparams(600));
        }
    }

    #[wasm_bindgen_test]
    fn settings_out_of_range_are_sentences() {
        let json = preset("paper", 600).unwrap();
        assert!(outlook(&json).is_ok());
        for (from, to) in
            [("\"lr\":0.001", "\"lr\":-1.0"), ("\"order\":1", "\"order\":99"), ("\"kappa\":0.5", "\"kappa\":2.0")]
        {
            assert!(json.contains(from), "{json}");
            let message = outlook(&json.replace(from, to)).unwrap_err();
            assert!(message.ends_with('.'), "{message}");
        }
    }
}
