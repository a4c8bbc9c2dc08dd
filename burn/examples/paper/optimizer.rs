//! The paper's eleven optimizers, and a control: Adam that is as slow as MIAdam until the switch.

use std::error::Error;
use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use clap::ValueEnum;
use miadam_burn::miadam::{Hyperparams, WeightDecay};
use miadam_burn::{MiAdam, MiAdamConfig};
use miadam_paper::optimizers::{AdaBound, Adai, Adamax, NAdam, NdAdam, Swats};
use serde::{Deserialize, Serialize};

use crate::paper::args::Recipe;
use crate::paper::host::Host;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Kind {
    Adam,
    Nadam,
    Adamw,
    NdAdam,
    Adamax,
    Adabound,
    Swats,
    Adai,
    Miadam1,
    Miadam2,
    Miadam3,
    /// A control: Adam at the rate that MIAdam1 settles to, until the switch
    Slow1,
    /// A control: Adam at the rate that MIAdam2 settles to, until the switch
    Slow2,
    /// A control: Adam at the rate that MIAdam3 settles to, until the switch
    Slow3,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::Adam,
        Self::Nadam,
        Self::Adamw,
        Self::NdAdam,
        Self::Adamax,
        Self::Adabound,
        Self::Swats,
        Self::Adai,
        Self::Miadam1,
        Self::Miadam2,
        Self::Miadam3,
        Self::Slow1,
        Self::Slow2,
        Self::Slow3,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adam => "Adam",
            Self::Nadam => "NAdam",
            Self::Adamw => "AdamW",
            Self::NdAdam => "ND-Adam",
            Self::Adamax => "Adamax",
            Self::Adabound => "AdaBound",
            Self::Swats => "SWATS",
            Self::Adai => "Adai",
            Self::Miadam1 => "MIAdam1",
            Self::Miadam2 => "MIAdam2",
            Self::Miadam3 => "MIAdam3",
            Self::Slow1 => "Adam, as slow as MIAdam1",
            Self::Slow2 => "Adam, as slow as MIAdam2",
            Self::Slow3 => "Adam, as slow as MIAdam3",
        }
    }

    /// The name among the flags.
    pub fn flag(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub fn from_flag(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// n of MIAdam, and whether it is the control for it.
    fn order(self) -> (u32, bool) {
        match self {
            Self::Miadam1 => (1, false),
            Self::Miadam2 => (2, false),
            Self::Miadam3 => (3, false),
            Self::Slow1 => (1, true),
            Self::Slow2 => (2, true),
            Self::Slow3 => (3, true),
            _ => (0, false),
        }
    }

    /// Its hyperparameters at learning rate `lr`, with ζ after so many steps of an epoch.
    fn hyperparams(self, recipe: &Recipe, lr: f64, epoch_steps: usize) -> Result<Hyperparams, Box<dyn Error>> {
        let weight_decay = match self {
            Self::Adamw => WeightDecay::Decoupled(recipe.decoupled_decay),
            _ => WeightDecay::Coupled(recipe.weight_decay),
        };
        Ok(Hyperparams {
            lr,
            order: self.order().0,
            kappa: recipe.kappa,
            step_scale: recipe.step_scale.rule(),
            // The first step that is plain Adam.
            switch_step: u32::try_from(recipe.switch_epoch * epoch_steps + 1)?,
            weight_decay,
            ..Hyperparams::default()
        })
    }
}

/// One of them, in a run.
pub struct Optimizer {
    kind: Kind,
    recipe: Recipe,
    engine: Engine,
}

enum Engine {
    /// miadam-burn, on the device. Order 0 is Adam or AdamW.
    Device(Box<MiAdam>),
    /// A baseline of miadam-paper, on the host.
    Host(Host),
}

impl Optimizer {
    pub fn new(kind: Kind, recipe: &Recipe, epoch_steps: usize, device: &Device) -> Result<Self, Box<dyn Error>> {
        const BETA1: f64 = 0.9;
        let host = match kind {
            Kind::Nadam => Some(Host::new(NAdam::new(BETA1))),
            Kind::NdAdam => Some(Host::new(NdAdam::new(BETA1))),
            Kind::Adamax => Some(Host::new(Adamax::new(BETA1))),
            Kind::Adabound => Some(Host::new(AdaBound::new(BETA1, recipe.lr))),
            Kind::Swats => Some(Host::new(Swats::new(BETA1))),
            Kind::Adai => Some(Host::new(Adai::new())),
            _ => None,
        };
        let engine = match host {
            Some(host) => Engine::Host(host),
            None => {
                let mut hyperparams = kind.hyperparams(recipe, recipe.lr, epoch_steps)?;
                if let (_, true) = kind.order() {
                    hyperparams.order = 0;
                }
                Engine::Device(Box::new(MiAdamConfig::new(hyperparams).init(device)?))
            }
        };
        Ok(Self { kind, recipe: recipe.clone(), engine })
    }

    /// The learning rate in an epoch, counted from 1.
    pub fn lr_in(&self, epoch: usize) -> Result<f64, Box<dyn Error>> {
        let lr = if self.kind == Kind::Adai { self.recipe.adai_lr } else { self.recipe.lr };
        let lr = self.recipe.lr_in(epoch, lr);
        Ok(match self.kind.order() {
            (_, true) if epoch <= self.recipe.switch_epoch => {
                self.kind.hyperparams(&self.recipe, lr, 1)?.effective_lr()
            }
            _ => lr,
        })
    }

    pub fn step<M: Module>(&mut self, lr: f64, module: M, grads: GradientsParams) -> Result<M, Box<dyn Error>> {
        match &mut self.engine {
            Engine::Device(optimizer) => optimizer.step(lr, module, grads).map_err(|refused| refused.error.into()),
            Engine::Host(optimizer) => optimizer.step(lr, module, grads),
        }
    }

    /// Saves all that a resumed run needs.
    pub fn save(&mut self, file: &Path) -> Result<(), Box<dyn Error>> {
        match &mut self.engine {
            Engine::Device(optimizer) => Ok(optimizer.save(file)?),
            Engine::Host(optimizer) => optimizer.save(file),
        }
    }

    /// Goes on from what was saved.
    pub fn load(&mut self, file: &Path) -> Result<(), Box<dyn Error>> {
        match &mut self.engine {
            Engine::Device(optimizer) => Ok(optimizer.load(file)?),
            Engine::Host(optimizer) => optimizer.load(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::task::seeded;
    use burn::nn::{Linear, LinearConfig};
    use burn::prelude::*;

    fn recipe() -> Recipe {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            recipe: Recipe,
        }
        let flags = <Flags as clap::Parser>::parse_from(["program", "--switch-epoch=2", "--drop-after=3"]);
        flags.recipe
    }

    fn step(optimizer: &mut Optimizer, net: Linear, epoch: usize, device: &Device) -> Linear {
        let inputs = Tensor::<2>::from_data([[1.0, -2.0, epoch as f32], [0.5, 1.0, -1.0]], device);
        let grads = GradientsParams::from_grads(net.forward(inputs).square().mean().backward(), &net);
        optimizer.step(optimizer.lr_in(epoch).unwrap(), net, grads).unwrap()
    }

    fn bits(net: &Linear) -> Vec<u32> {
        let values = net.weight.val().into_data().try_into_vec::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn each_goes_on_with_the_same_bits() {
        let (device, recipe) = (Device::flex().autodiff(), recipe());
        let _seeded = seeded(&device);
        let file = tempfile::NamedTempFile::new().unwrap();
        for kind in Kind::ALL {
            // Before the switch of MIAdam, and after it.
            for epochs in [1, 3] {
                let mut optimizer = Optimizer::new(kind, &recipe, 1, &device).unwrap();
                let mut net = LinearConfig::new(3, 2).init(&device);
                for epoch in 1..=epochs {
                    net = step(&mut optimizer, net, epoch, &device);
                }
                optimizer.save(file.path()).unwrap();
                let mut other = Optimizer::new(kind, &recipe, 1, &device).unwrap();
                other.load(file.path()).unwrap();
                let goes_on = |mut optimizer, mut net: Linear| {
                    for epoch in epochs + 1..epochs + 4 {
                        net = step(&mut optimizer, net, epoch, &device);
                    }
                    bits(&net)
                };
                let before = bits(&net);
                let after = goes_on(optimizer, net.clone());
                assert_eq!(after, goes_on(other, net), "{kind:?} after {epochs}");
                assert_ne!(after, before, "{kind:?} stands still");
            }
        }
    }

    #[test]
    fn a_control_is_as_slow_as_its_miadam() {
        let recipe = recipe();
        let lr = |kind, epoch| Optimizer::new(kind, &recipe, 10, &Device::flex()).unwrap().lr_in(epoch).unwrap();
        // lr²/(1-κ) is lr/20, and so on; after two epochs the switch, after three the drop.
        for (kind, factor) in [(Kind::Slow1, 20.0), (Kind::Slow2, 400.0), (Kind::Slow3, 8000.0)] {
            assert!((lr(kind, 2) * factor / 1e-3 - 1.0).abs() < 1e-9);
            assert_eq!((lr(kind, 3), lr(kind, 4)), (1e-3, 1e-4));
        }
        assert_eq!((lr(Kind::Miadam1, 1), lr(Kind::Adai, 1), lr(Kind::Adai, 4)), (1e-3, 1.0, 0.1));
    }

    #[test]
    fn the_switch_comes_after_its_epochs() {
        let hyperparams = Kind::Miadam2.hyperparams(&recipe(), 1e-3, 391).unwrap();
        // Two epochs of 391 steps integrate.
        assert_eq!((hyperparams.order, hyperparams.switch_step), (2, 783));
    }
}
