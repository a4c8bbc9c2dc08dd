//! An optimizer and its tensors on either device, as the walk drives them.

use std::collections::BTreeMap;

use miadam::{Checkpoint, Dtype, Error, Hyperparams, OnDevice, Optimizer, Param, ParamGroup, Report, State};

use crate::common::Values;

/// A parameter that is new, with its first value.
#[derive(Debug, Clone)]
pub struct New {
    pub name: String,
    pub param: Values,
    /// The type of its gradients.
    pub grad_dtype: Dtype,
}

impl New {
    pub fn len(&self) -> usize {
        self.param.single().len()
    }

    pub fn dtype(&self) -> Dtype {
        match self.param {
            Values::F32(_) => Dtype::F32,
            Values::F16(_) => Dtype::F16,
            Values::Bf16(_) => Dtype::Bf16,
        }
    }

    pub fn to_param(&self) -> Param {
        Param::new(&self.name, self.len()).with_dtype(self.dtype())
    }
}

pub fn param_group((hyperparams, params): &(Hyperparams, Vec<New>)) -> ParamGroup {
    ParamGroup::new(hyperparams.clone(), params.iter().map(New::to_param))
}

/// Values by the names of their parameters, as the model has them.
pub type Named = BTreeMap<String, Vec<f64>>;

/// In a type that can hold them.
pub fn narrow(dtype: Dtype, values: &[f64]) -> Values {
    Values::new(dtype, &values.iter().map(|&value| value as f32).collect::<Vec<_>>())
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// What is read back.
pub struct Found {
    pub state: State,
    pub report: Report,
    pub params: Named,
}

pub trait Device: Sized {
    type On: OnDevice;

    /// Whether it knows its counts and the rows of a remap at once, and not only when they are read back.
    const KNOWS_AT_ONCE: bool;

    /// None where there is no such device. The seed is for what only one of the devices draws: both take the same walk.
    fn new(groups: &[(Hyperparams, Vec<New>)], seed: u64) -> Option<Self>;

    fn optimizer(&mut self) -> &mut Optimizer<Self::On>;

    fn add_group(&mut self, group: (Hyperparams, Vec<New>)) -> Result<usize, Error>;

    fn add_params(&mut self, group: usize, params: &[New]) -> Result<(), Error>;

    /// Drops the tensors of a parameter that the optimizer does not have any more.
    fn forget(&mut self, name: &str);

    /// Other rows of parameters, here with their new values.
    fn remap(&mut self, moved: &[New], before: usize, rows: &[u32]) -> Result<(), Error>;

    /// New gradients for all parameters, those that rest included.
    fn set_grads(&mut self, grads: &Named);

    /// A step, of which these parameters are a part.
    fn step(&mut self, active: &[String]) -> Result<(), Error>;

    /// Lets all steps happen. It fails if a gradient is not what is expected, or if anything between the tensors has changed.
    fn read(&mut self, grads: &Named) -> Result<Found, String>;

    /// With the parameters in it.
    fn checkpoint(&mut self) -> Checkpoint;

    /// State and parameters.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// Moves the tensors to other places, if they have places.
    fn scatter(&mut self);
}
