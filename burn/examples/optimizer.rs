//! The flags that choose an optimizer, and the two that there are.

use std::error::Error;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use miadam_burn::miadam::{Hyperparams, StepScale};
use miadam_burn::{MiAdam, MiAdamConfig};
use miadam_support::command_line::number;
use miadam_support::state::State;

// No doc comment: clap would put it in place of what the program says of itself.
#[derive(Debug, Clone, Args)]
pub struct OptimizerFlags {
    /// burn's own Adam, or MIAdam
    #[arg(long, value_enum, default_value_t = Kind::Miadam)]
    pub optimizer: Kind,
    /// Learning rate α
    #[arg(long, default_value_t = 1e-3, value_parser = number(0.0..=1e3))]
    pub lr: f64,
    /// Number of MIAdam's integrals n
    #[arg(long, default_value_t = 1, value_parser = number(0..=64_u32))]
    pub order: u32,
    /// Discount κ of MIAdam's integrals
    #[arg(long, default_value_t = 0.5, value_parser = number(0.0..=1.0))]
    pub kappa: f64,
    /// How MIAdam keeps its moments and integrals
    #[arg(long, value_enum, default_value_t = State::F32)]
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Adam,
    Miadam,
}

pub enum Optimizer {
    Adam(ModuleOptimizer),
    MiAdam(Box<MiAdam>),
}

impl OptimizerFlags {
    /// The optimizer, which after four fifths of the steps is plain Adam in any case.
    pub fn init(&self, steps: usize, device: &Device) -> Result<Optimizer, Box<dyn Error>> {
        let Self { order, kappa, .. } = *self;
        // At unit gain a step is as long as Adam's, whatever the order, so that one learning rate serves both.
        let hyperparams = Hyperparams {
            order,
            kappa,
            switch_step: (steps * 4 / 5).max(1).try_into()?,
            step_scale: StepScale::UnitGain,
            state_precision: self.state.into(),
            ..Hyperparams::default()
        };
        Ok(match self.optimizer {
            // burn's own ε is 1e-5.
            Kind::Adam => Optimizer::Adam(AdamConfig::new().with_epsilon(hyperparams.eps as f32).init()),
            Kind::Miadam => Optimizer::MiAdam(Box::new(MiAdamConfig::new(hyperparams).init(device)?)),
        })
    }

    /// The name that people know it by.
    pub fn name(&self) -> String {
        match self.optimizer {
            Kind::Adam => format!("Adam, lr {}", self.lr),
            Kind::Miadam => {
                let state =
                    if self.state == State::F32 { String::new() } else { format!(", state in {:?}", self.state) };
                format!("MIAdam, n {}, κ {}, lr {}{state}", self.order, self.kappa, self.lr)
            }
        }
    }
}

impl Optimizer {
    pub fn step<M: Module>(&mut self, lr: f64, module: M, grads: GradientsParams) -> Result<M, Box<dyn Error>> {
        match self {
            Self::Adam(optimizer) => Ok(optimizer.step(lr, module, grads)),
            Self::MiAdam(optimizer) => optimizer.step(lr, module, grads).map_err(|refused| refused.error.into()),
        }
    }
}
