//! The optimizer of one device, made at the first step, when its parameters are known.

mod on_cpu;
#[cfg(feature = "wgpu")]
mod on_gpu;
mod run;

use burn::tensor::{Device, Tensor};
use miadam::{Checkpoint, Report};

pub use run::{Brought, Pending, Settings, Turn};

#[cfg(feature = "wgpu")]
use self::on_gpu::OnGpu;
use self::{on_cpu::OnCpu, run::Run};
use crate::device::{Kind, kind};
use crate::error::Error;
use crate::leaves::Leaf;

/// What runs the steps of a device.
pub enum Engine {
    /// In the buffers behind burn's tensors.
    #[cfg(feature = "wgpu")]
    Gpu(OnGpu),
    /// In host memory.
    Cpu(OnCpu),
}

impl Engine {
    pub fn new(device: &Device) -> Result<Self, Error> {
        Ok(match kind(device)? {
            #[cfg(feature = "wgpu")]
            Kind::Gpu(setup) => Self::Gpu(OnGpu::new(device.clone(), setup)),
            Kind::Host => Self::Cpu(OnCpu::new(device.clone())),
        })
    }

    /// Takes a step over parameters that are out of their module.
    pub fn step(&mut self, leaves: &mut [Leaf], turn: Turn) -> Result<(), Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.step(leaves, turn),
            Self::Cpu(cpu) => cpu.step(leaves, &turn),
        }
    }

    /// Exchanges parameters and their averages.
    pub fn swap_averages(&mut self, leaves: &mut [Leaf]) -> Result<(), Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.swap_averages(leaves),
            Self::Cpu(cpu) => cpu.swap_averages(leaves),
        }
    }

    /// The factor on the loss of the next step, on the device.
    pub fn loss_scale(&self, before_first: f64) -> Result<Tensor<1>, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.loss_scale(before_first),
            Self::Cpu(cpu) => Ok(cpu.loss_scale(before_first)),
        }
    }

    pub fn report(&self) -> Result<Report, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.report(),
            Self::Cpu(cpu) => cpu.report(),
        }
    }

    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.checkpoint(),
            Self::Cpu(cpu) => cpu.checkpoint(),
        }
    }

    /// Calls `act` with the optimizer, if there is one.
    pub fn with<T>(&mut self, act: impl FnOnce(&mut dyn Settings) -> T) -> Option<T> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.with(act),
            Self::Cpu(cpu) => cpu.run.as_mut().map(|run| act(&mut run.optimizer)),
        }
    }
}
