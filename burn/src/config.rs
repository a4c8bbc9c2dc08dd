//! The user asks for hyperparameters, for groups of parameters, and for options of the gradients. This file takes them.

use burn::config::Config;
use burn::module::{ParamGroup, ParamId};
use burn::tensor::Device;
use miadam::{GradOptions, Hyperparams};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::optimizer::MiAdam;

/// The configuration of [`MiAdam`], in the way of burn's own: [`Config::save`] writes it as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiAdamConfig {
    hyperparams: Hyperparams,
    groups: Vec<Group>,
    grad_options: GradOptions,
}

impl Config for MiAdamConfig {}

/// Parameters of their own hyperparameters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    params: ParamGroup,
    hyperparams: Hyperparams,
}

impl MiAdamConfig {
    /// The same hyperparameters for all parameters.
    #[must_use]
    pub fn new(hyperparams: Hyperparams) -> Self {
        Self { hyperparams, ..Self::default() }
    }

    /// Gives the parameters of a group hyperparameters of their own. Groups are chosen in burn's way: by paths, by a part of the
    /// path, by regular expression, by id. The last one that matches a parameter has it.
    #[must_use]
    pub fn with_group(mut self, params: ParamGroup, hyperparams: Hyperparams) -> Self {
        self.groups.push(Group { params, hyperparams });
        self
    }

    /// Sets what happens to the gradients: accumulation, clipping over the whole module, loss scale, skipping.
    #[must_use]
    pub fn with_grad_options(mut self, options: GradOptions) -> Self {
        self.grad_options = options;
        self
    }

    /// The optimizer for modules on `device`, or on its autodiff twin.
    ///
    /// # Errors
    /// For hyperparameters or options out of range, and for a device that no optimizer works on.
    pub fn init(&self, device: &Device) -> Result<MiAdam, Error> {
        self.init_multi(std::slice::from_ref(device))
    }

    /// The optimizer for a module whose gradients come from several devices, by [`MiAdam::step_multi`]. Each device keeps the
    /// state of its own parameters. The first one is the main device.
    ///
    /// # Errors
    /// As for [`init`](Self::init), if there is no device, and for options that need all gradients on one device.
    pub fn init_multi(&self, devices: &[Device]) -> Result<MiAdam, Error> {
        for (group, hyperparams) in self.hyperparams().enumerate() {
            hyperparams.validate(group)?;
        }
        MiAdam::new(self.clone(), devices)
    }

    /// The hyperparameters of the groups, group 0 being that of all parameters.
    pub(crate) fn hyperparams(&self) -> impl Iterator<Item = &Hyperparams> {
        std::iter::once(&self.hyperparams).chain(self.groups.iter().map(|group| &group.hyperparams))
    }

    pub(crate) fn grad_options(&self) -> GradOptions {
        self.grad_options
    }

    /// The number of a parameter's group.
    pub(crate) fn group_of(&self, id: &ParamId, path: &str) -> usize {
        self.groups.iter().rposition(|group| group.params.matches(id, Some(path))).map_or(0, |number| number + 1)
    }
}

/// Checks options for the gradients, which come from so many devices.
pub fn check_grad_options(options: &GradOptions, devices: usize) -> Result<(), Error> {
    if devices == 0 {
        return Err(Error::Option("an optimizer needs a device"));
    }
    if options.zero {
        const REASON: &str =
            "`zero` has no meaning in burn, where every backward pass makes new gradients: leave it out";
        return Err(Error::Option(REASON));
    }
    let needs_all =
        options.clip_norm.is_some() || options.measure_norm || options.skip_non_finite || options.scaler.is_some();
    if devices > 1 && needs_all {
        const REASON: &str = "`clip_norm`, `measure_norm`, `skip_non_finite` and `scaler` look at all gradients, which lie on \
                              several devices: leave them out, or optimize on the main device alone (`OptimMainDevice`)";
        return Err(Error::Option(REASON));
    }
    Ok(options.validate()?)
}
