//! Steps in host memory: the CPU twin, on copies of burn's tensors.

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};
use miadam::cpu::{self, Binding, Cpu};
use miadam::{Checkpoint, Error as CoreError, LoadOptions, Param, ParamGroup, Report, Skipped, ValuesMut};

use super::{Brought, Run, Turn, run::Site};
use crate::error::Error;
use crate::leaves::Leaf;

/// The optimizer of a device whose tensors come to the host.
pub struct OnCpu {
    device: Device,
    pub run: Option<Run<Cpu>>,
}

/// The CPU takes parameters in without asking where they lie.
struct Host;

impl Site<Cpu> for Host {
    fn make(&self, groups: Vec<ParamGroup>) -> Result<cpu::MiAdam, CoreError> {
        cpu::MiAdam::new(groups)
    }

    fn add_group(&self, optimizer: &mut cpu::MiAdam, group: ParamGroup) -> Result<(), CoreError> {
        optimizer.add_group(group).map(drop)
    }

    fn add_params(&self, optimizer: &mut cpu::MiAdam, group: usize, params: Vec<Param>) -> Result<(), CoreError> {
        optimizer.add_params(group, params)
    }
}

impl OnCpu {
    pub fn new(device: Device) -> Self {
        Self { device, run: None }
    }

    pub fn step(&mut self, leaves: &mut [&mut Leaf], turn: &Turn) -> Result<(), Error> {
        let run = Run::prepare(&mut self.run, turn, &Host)?;
        let mut grads = Vec::new();
        for leaf in leaves.iter_mut() {
            let grad = leaf.grad.as_mut().and_then(|grad| grad.tensor.take());
            grads.push(grad.map(|grad| Tensor::<1>::from_bridge(grad).try_into_data()).transpose().map_err(reading)?);
        }
        on_host(leaves, &self.device, |params| {
            let pairs = turn.brought.iter().zip(params).zip(&mut grads);
            let bindings = pairs.filter_map(|((brought, param), grad)| Some((brought, param, grad.as_mut()?)));
            let bindings = bindings.map(|(Brought { path, .. }, param, grad)| {
                Ok(Binding { name: path, param: values(param)?, grad: values(grad)? })
            });
            let bindings = bindings.collect::<Result<Vec<_>, Error>>()?;
            Ok(run.optimizer.step(bindings)?)
        })
    }

    pub fn rest(&mut self, turn: &Turn) -> Result<(), Error> {
        let Some(run) = &mut self.run else { return Ok(()) };
        run.rest_all(turn)?;
        Ok(run.optimizer.step([])?)
    }

    pub fn swap_averages(&mut self, leaves: &mut [&mut Leaf]) -> Result<(), Error> {
        let run = known(self.run.as_mut())?;
        let paths: Vec<_> = leaves.iter().map(|leaf| leaf.path.clone()).collect();
        on_host(leaves, &self.device, |params| {
            let none = || ValuesMut::from(&mut [0.0_f32; 0]);
            let bindings = paths.iter().zip(params);
            let bindings =
                bindings.map(|(path, param)| Ok(Binding { name: path, param: values(param)?, grad: none() }));
            let bindings = bindings.collect::<Result<Vec<_>, Error>>()?;
            Ok(run.optimizer.swap_averages(bindings)?)
        })
    }

    pub fn loss_scale(&self, before_first: f64) -> Tensor<1> {
        let scale = self.run.as_ref().map_or(before_first, |run| run.optimizer.read_report().loss_scale.into());
        Tensor::from_data(TensorData::from([scale as f32]), (&self.device, DType::F32))
    }

    pub fn report(&self) -> Result<Report, Error> {
        Ok(known(self.run.as_ref())?.optimizer.read_report())
    }

    pub fn load(&mut self, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Option<Vec<Skipped>>, Error> {
        Ok(self.run.as_mut().map(|run| run.optimizer.load_with(checkpoint, options)).transpose()?)
    }

    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        Ok(known(self.run.as_ref())?.optimizer.read_checkpoint())
    }
}

fn known<T>(run: Option<T>) -> Result<T, Error> {
    run.ok_or(Error::NoStepYet)
}

/// Calls `act` with the parameters in host memory, and makes tensors of them again, whether it succeeds or not.
fn on_host(
    leaves: &mut [&mut Leaf],
    device: &Device,
    act: impl FnOnce(&mut [TensorData]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut params = Vec::with_capacity(leaves.len());
    for leaf in leaves.iter() {
        // A clone, so that nothing is lost if a later one cannot be read.
        let Some(tensor) = leaf.tensor.clone() else { return Err(Error::Burn(format!("`{}` is away", leaf.path))) };
        params.push(Tensor::<1>::from_bridge(tensor).try_into_data().map_err(reading)?);
    }
    act(&mut params)?;
    for (leaf, param) in leaves.iter_mut().zip(params) {
        let (bytes, shape, dtype) = param.into_parts();
        let flat = TensorData::from_bytes(bytes, [shape.num_elements()], dtype);
        leaf.tensor = Some(Tensor::<1>::from_data(flat, (device, dtype)).into_bridge());
    }
    Ok(())
}

fn reading(error: impl std::fmt::Debug) -> Error {
    Error::Burn(format!("a tensor cannot be read: {error:?}"))
}

fn values(data: &mut TensorData) -> Result<ValuesMut<'_>, Error> {
    Ok(match data.dtype() {
        DType::F16 => data.as_mut_slice::<f16>().map_err(reading)?.into(),
        DType::BF16 => data.as_mut_slice::<bf16>().map_err(reading)?.into(),
        _ => data.as_mut_slice::<f32>().map_err(reading)?.into(),
    })
}
