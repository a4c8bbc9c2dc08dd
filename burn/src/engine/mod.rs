//! The optimizers of the devices, made at the first step, when their parameters are known.

mod on_cpu;
#[cfg(feature = "wgpu")]
mod on_gpu;
mod run;

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use miadam::{Checkpoint, LoadOptions, Report, Skipped};

pub use run::{Brought, Pending, Settings, Turn};

#[cfg(feature = "wgpu")]
use self::on_gpu::OnGpu;
use self::{on_cpu::OnCpu, run::Run};
use crate::device::{Kind, kind};
use crate::error::Error;
use crate::leaves::Leaf;

/// What runs the steps of each device. A parameter belongs to the device that its first gradient is on.
pub struct Engines {
    all: Vec<(Device, Engine)>,
    /// Which device has the state of each parameter, where there are several.
    owners: HashMap<Arc<str>, Device>,
}

impl Engines {
    /// For these devices, which are without autodiff. The first is the main one.
    pub fn new(devices: &[Device]) -> Result<Self, Error> {
        let engines = devices.iter().map(|device| Ok((device.clone(), Engine::new(device)?)));
        Ok(Self { all: engines.collect::<Result<_, Error>>()?, owners: HashMap::new() })
    }

    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Device> {
        self.all.iter().map(|(device, _)| device)
    }

    /// The device that has the state of a parameter, if there are several and one of them has it.
    pub fn owner(&self, path: &str) -> Option<&Device> {
        self.owners.get(path)
    }

    /// Takes a step over parameters that are out of their module, each device over its own. `turn` brings all of them.
    pub fn step(&mut self, leaves: &mut [Leaf], mut turn: Turn) -> Result<(), Error> {
        let mut pairs: Vec<_> = leaves.iter_mut().zip(std::mem::take(&mut turn.brought)).collect();
        let is_alone = self.all.len() == 1;
        if let (Some(pending), false) = (&turn.pending, is_alone) {
            pending.check_complete(pairs.iter().map(|(_, brought)| &*brought.path))?;
        }
        let brings = |device: &Device| pairs.iter().any(|(leaf, _)| leaf.device == *device);
        let counts = if self.is_late(brings) { Some(self.counts()?) } else { None };
        for (device, engine) in &mut self.all {
            let (own, others) = pairs.into_iter().partition(|(leaf, _)| leaf.device == *device);
            pairs = others;
            let (mut own, brought): (Vec<&mut Leaf>, Vec<_>) = Vec::into_iter(own).unzip();
            if own.is_empty() {
                // All devices count every step.
                engine.rest(turn.clone())?;
            } else {
                // Alone, the optimizer tells what does not fit.
                let part = |pending: &Arc<Pending>| if is_alone { pending.clone() } else { pending.part() };
                let pending = turn.pending.as_ref().map(part);
                let pending = pending.or_else(|| counts.clone().filter(|_| !engine.has_run()));
                engine.step(&mut own, Turn { brought, pending, ..turn.clone() })?;
                if !is_alone {
                    self.owners.extend(own.iter().map(|leaf| (leaf.path.clone(), device.clone())));
                }
            }
        }
        Ok(())
    }

    /// Whether some device gets its first parameter after others have taken steps.
    fn is_late(&self, brings: impl Fn(&Device) -> bool) -> bool {
        let have_run = self.all.iter().any(|(_, engine)| engine.has_run());
        have_run && self.all.iter().any(|(device, engine)| !engine.has_run() && brings(device))
    }

    /// What such a device starts with: the counts of another, without parameters.
    fn counts(&self) -> Result<Arc<Pending>, Error> {
        let known = self.all.iter().map(|(_, engine)| engine).find(|engine| engine.has_run());
        let mut counts = known.ok_or(Error::NoStepYet)?.checkpoint()?;
        counts.retain_params(|_| false);
        let options = LoadOptions { own_hyperparams: true, lenient: true, ..LoadOptions::default() };
        Ok(Arc::new(Pending::new(counts, options)))
    }

    /// Exchanges parameters and their averages.
    pub fn swap_averages(&mut self, leaves: &mut [Leaf]) -> Result<(), Error> {
        for (device, engine) in &mut self.all {
            let mut own: Vec<_> = leaves.iter_mut().filter(|leaf| leaf.device == *device).collect();
            if !own.is_empty() {
                engine.swap_averages(&mut own)?;
            }
        }
        Ok(())
    }

    /// The factor on the loss of the next step, on the main device.
    pub fn loss_scale(&self, before_first: f64) -> Result<Tensor<1>, Error> {
        self.all[0].1.loss_scale(before_first)
    }

    /// Of the first device that has taken a step.
    pub fn report(&self) -> Result<Report, Error> {
        let known = self.all.iter().map(|(_, engine)| engine).find(|engine| engine.has_run());
        known.ok_or(Error::NoStepYet)?.report()
    }

    /// Learns how many steps each device has taken.
    pub fn read_counts(&self) -> Result<(), Error> {
        self.report()?;
        self.all.iter().filter(|(_, engine)| engine.has_run()).try_for_each(|(_, engine)| engine.report().map(drop))
    }

    /// Of all devices together.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let known = self.all.iter().map(|(_, engine)| engine).filter(|engine| engine.has_run());
        let parts = known.map(Engine::checkpoint).collect::<Result<Vec<_>, _>>()?;
        if parts.is_empty() { Err(Error::NoStepYet) } else { Ok(Checkpoint::merge(parts)?) }
    }

    /// Loads a checkpoint into the optimizers that there are, each its own part. Gives whether there are any.
    pub fn load(&mut self, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<bool, Error> {
        let is_alone = self.all.len() == 1;
        let known = self.each(|settings| settings.params());
        if !is_alone && !known.is_empty() {
            let known = known.iter().flatten().map(|param| &param.name[..]);
            run::check_complete(checkpoint.groups().flat_map(|(_, names)| names), options, known)?;
        }
        let options = LoadOptions { partial: options.partial || !is_alone, ..*options };
        let mut any = false;
        for (_, engine) in &mut self.all {
            let skipped = engine.load(checkpoint, &options)?;
            any |= skipped.is_some();
            skipped.iter().flatten().for_each(|skipped| log::warn!("{skipped}"));
        }
        Ok(any)
    }

    /// Calls `act` with each optimizer that there is.
    pub fn each<T>(&mut self, mut act: impl FnMut(&mut dyn Settings) -> T) -> Vec<T> {
        self.all.iter_mut().filter_map(|(_, engine)| engine.with(&mut act)).collect()
    }
}

/// What runs the steps of a device.
enum Engine {
    /// In the buffers behind burn's tensors.
    #[cfg(feature = "wgpu")]
    Gpu(OnGpu),
    /// In host memory.
    Cpu(Box<OnCpu>),
}

impl Engine {
    fn new(device: &Device) -> Result<Self, Error> {
        Ok(match kind(device)? {
            #[cfg(feature = "wgpu")]
            Kind::Gpu(setup) => Self::Gpu(OnGpu::new(device.clone(), setup)),
            Kind::Host => Self::Cpu(Box::new(OnCpu::new(device.clone()))),
        })
    }

    fn has_run(&self) -> bool {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.has_run(),
            Self::Cpu(cpu) => cpu.run.is_some(),
        }
    }

    /// Takes a step over parameters that are out of their module.
    fn step(&mut self, leaves: &mut [&mut Leaf], turn: Turn) -> Result<(), Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.step(leaves, turn),
            Self::Cpu(cpu) => cpu.step(leaves, &turn),
        }
    }

    /// Counts a step in which none of its parameters takes part, if it has any.
    fn rest(&mut self, turn: Turn) -> Result<(), Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.rest(&turn),
            Self::Cpu(cpu) => cpu.rest(&turn),
        }
    }

    /// Exchanges parameters and their averages.
    fn swap_averages(&mut self, leaves: &mut [&mut Leaf]) -> Result<(), Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.swap_averages(leaves),
            Self::Cpu(cpu) => cpu.swap_averages(leaves),
        }
    }

    /// The factor on the loss of the next step, on the device.
    fn loss_scale(&self, before_first: f64) -> Result<Tensor<1>, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.loss_scale(before_first),
            Self::Cpu(cpu) => Ok(cpu.loss_scale(before_first)),
        }
    }

    fn report(&self) -> Result<Report, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.report(),
            Self::Cpu(cpu) => cpu.report(),
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.checkpoint(),
            Self::Cpu(cpu) => cpu.checkpoint(),
        }
    }

    /// Loads into the optimizer, if there is one.
    fn load(&mut self, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Option<Vec<Skipped>>, Error> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.load(checkpoint, options),
            Self::Cpu(cpu) => cpu.load(checkpoint, options),
        }
    }

    /// Calls `act` with the optimizer, if there is one.
    fn with<T>(&mut self, act: impl FnOnce(&mut dyn Settings) -> T) -> Option<T> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.with(act),
            Self::Cpu(cpu) => cpu.run.as_mut().map(|run| act(&mut run.optimizer)),
        }
    }
}
