//! What is trained, and how: everything that decides on a run, in one row of a table.

use std::fmt;

use ::miadam::{Average, Hyperparams, Schedule, StatePrecision, StepScale, WeightDecay};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::optimizers::{AdaBound, Adai, Adam, AdamW, Adamax, MiAdam, NAdam, NdAdam, Optimizer, Swats};

/// The optimizers of the paper's tables. MIAdam is one: its order is a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    Adam,
    #[value(name = "nadam")]
    #[serde(rename = "nadam")]
    NAdam,
    #[value(name = "adamw")]
    #[serde(rename = "adamw")]
    AdamW,
    NdAdam,
    Adamax,
    #[value(name = "adabound")]
    #[serde(rename = "adabound")]
    AdaBound,
    Swats,
    Adai,
    #[value(name = "miadam")]
    #[serde(rename = "miadam")]
    MiAdam,
}

/// α before the switch, by the names of [`StepScale`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    Paper,
    Reference,
    UnitGain,
    ExactGain,
}

/// How the learning rate goes over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    Constant,
    /// A tenth after a third of the run, and again after half: the paper's, epochs 50 and 75 of 150.
    Steps,
    /// Up over the first twentieth, then along a half cosine to 0.
    Cosine,
}

/// An optimizer and all of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub name: Name,
    pub lr: f64,
    pub course: Course,
    /// Not Adai's, which chooses its own.
    pub beta1: f64,
    /// λ of coupled decay (L2), for Adam and MIAdam alone; AdamW has its own 0.01.
    pub decay: f64,
    /// The decay of an exponential average of the weights, which is what is tested; 0 for none.
    pub average: f64,
    /// MIAdam's n.
    pub order: u32,
    /// MIAdam's κ.
    pub kappa: f64,
    /// MIAdam's rule for α.
    pub scale: Scale,
    /// Divides the learning rate before the switch: the control for MIAdam's smaller step, without its integrals.
    pub slow: f64,
    /// The switch to plain Adam, as a part of the run; 1 is never.
    pub switch: f64,
    /// How MIAdam keeps its state.
    pub state: StatePrecision,
}

impl Setting {
    /// The optimizer with its own defaults at a learning rate.
    pub fn new(name: Name, lr: f64) -> Self {
        Self {
            name,
            lr,
            course: Course::Constant,
            beta1: 0.9,
            decay: 0.0,
            average: 0.0,
            order: 0,
            kappa: 0.0,
            scale: Scale::UnitGain,
            slow: 1.0,
            switch: 1.0,
            state: StatePrecision::F32,
        }
    }

    /// MIAdam.
    pub fn miadam(order: u32, kappa: f64, scale: Scale, lr: f64) -> Self {
        Self { order, kappa, scale, switch: 0.8, ..Self::new(Name::MiAdam, lr) }
    }

    /// The optimizer of a run of so many steps, switch and all. [`rates`](Self::rates) has its learning rates.
    pub fn optimizer(&self, steps: u32) -> Box<dyn Optimizer> {
        let beta1 = self.beta1;
        match self.name {
            // The crate keeps the averages.
            Name::Adam if self.average == 0.0 => {
                let mut adam = Adam::new(beta1);
                adam.decay = self.decay;
                Box::new(adam)
            }
            Name::Adam | Name::MiAdam => Box::new(MiAdam::new(self.hyperparams(steps))),
            Name::NAdam => Box::new(NAdam::new(beta1)),
            Name::AdamW => Box::new(AdamW::new(beta1)),
            Name::NdAdam => Box::new(NdAdam::new(beta1)),
            Name::Adamax => Box::new(Adamax::new(beta1)),
            Name::AdaBound => Box::new(AdaBound::new(beta1, self.lr)),
            Name::Swats => Box::new(Swats::new(beta1)),
            Name::Adai => Box::new(Adai::new()),
        }
    }

    /// The learning rates of all steps of a run.
    pub fn rates(&self, steps: u32) -> Vec<f64> {
        let hyperparams = self.hyperparams(steps);
        let slow = |step| if step + 1 < hyperparams.switch_step { self.slow } else { 1.0 };
        (0..steps).map(|step| hyperparams.lr_at(step) / slow(step)).collect()
    }

    /// MIAdam's hyperparameters in a run of so many steps.
    pub fn hyperparams(&self, steps: u32) -> Hyperparams {
        let schedule = match self.course {
            Course::Constant => Schedule::Constant,
            Course::Steps => Schedule::MultiStep { at: vec![steps / 3, steps / 2], gamma: 0.1 },
            Course::Cosine => Schedule::warmup_cosine(steps / 20, steps, 0.0),
        };
        Hyperparams {
            lr: self.lr,
            schedule,
            beta1: self.beta1,
            order: self.order,
            kappa: self.kappa,
            state_precision: self.state,
            switch_step: self.switch_step(steps),
            step_scale: match self.scale {
                Scale::Paper => StepScale::Paper,
                Scale::Reference => StepScale::Reference,
                Scale::UnitGain => StepScale::UnitGain,
                Scale::ExactGain => StepScale::ExactGain,
            },
            weight_decay: if self.decay > 0.0 { WeightDecay::Coupled(self.decay) } else { WeightDecay::None },
            average: match self.average {
                0.0 => Average::None,
                decay => Average::Ema { decay, warmup: true },
            },
            ..Hyperparams::default()
        }
    }

    /// ζ, the first step of plain Adam.
    fn switch_step(&self, steps: u32) -> u32 {
        if self.switch >= 1.0 { Hyperparams::NEVER } else { (self.switch * f64::from(steps)).round() as u32 + 1 }
    }
}

impl fmt::Display for Setting {
    /// The optimizer and what is not its default, the learning rate left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.name {
            Name::Adam => "Adam",
            Name::NAdam => "NAdam",
            Name::AdamW => "AdamW",
            Name::NdAdam => "ND-Adam",
            Name::Adamax => "Adamax",
            Name::AdaBound => "AdaBound",
            Name::Swats => "SWATS",
            Name::Adai => "Adai",
            Name::MiAdam => "MIAdam",
        };
        f.write_str(name)?;
        if self.name == Name::MiAdam {
            let scale = self.scale.to_possible_value();
            let scale = scale.as_ref().map_or("", |value| value.get_name());
            write!(f, "{} κ {} {scale}", self.order, self.kappa)?;
        }
        if self.slow != 1.0 {
            write!(f, " at lr/{}", self.slow)?;
        }
        if (self.name == Name::MiAdam || self.slow != 1.0) && self.switch < 1.0 {
            write!(f, " to {:.0} %", 100.0 * self.switch)?;
        }
        if self.beta1 != 0.9 {
            write!(f, " β1 {}", self.beta1)?;
        }
        if self.decay > 0.0 {
            write!(f, " L2 {:e}", self.decay)?;
        }
        if self.average > 0.0 {
            write!(f, " EMA {}", self.average)?;
        }
        if self.state != StatePrecision::F32 {
            write!(f, " in {:?}", self.state)?;
        }
        match self.course {
            Course::Constant => Ok(()),
            Course::Steps => f.write_str(" steps"),
            Course::Cosine => f.write_str(" cosine"),
        }
    }
}
