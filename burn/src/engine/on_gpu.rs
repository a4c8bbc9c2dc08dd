//! Steps in the buffers behind burn's tensors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn::tensor::{DType, Device, Tensor, TensorData};
use miadam::{
    Binding, Checkpoint, Error as CoreError, Gpu, MiAdam, Optimizer, Param, ParamGroup, Readback, Report, Slice,
};

use super::{Run, Settings, Turn, run::Site};
use crate::cube::{self, Tensors};
use crate::error::Error;
use crate::leaves::Leaf;

/// The optimizer of a wgpu device. burn's own thread records its steps, in the order of burn's operations.
pub struct OnGpu {
    device: Device,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    setup: WgpuSetup,
    run: Option<Run<Gpu>>,
}

/// Where the parameters of a step lie.
struct Buffers<'a> {
    setup: &'a WgpuSetup,
    bindings: HashMap<&'a str, Binding<'a>>,
}

impl<'a> Buffers<'a> {
    fn of<'b>(&self, params: impl IntoIterator<Item = &'b Param>) -> Vec<Binding<'a>> {
        params.into_iter().filter_map(|param| self.bindings.get(&param.name[..]).cloned()).collect()
    }
}

impl Site<Gpu> for Buffers<'_> {
    fn make(&self, groups: Vec<ParamGroup>) -> Result<MiAdam, CoreError> {
        let bindings = self.of(groups.iter().flat_map(|group| &group.params));
        MiAdam::new(&self.setup.device, &self.setup.queue, groups, bindings)
    }

    fn add_group(&self, optimizer: &mut MiAdam, group: ParamGroup) -> Result<(), CoreError> {
        let bindings = self.of(&group.params);
        optimizer.add_group(group, bindings).map(drop)
    }

    fn add_params(&self, optimizer: &mut MiAdam, group: usize, params: Vec<Param>) -> Result<(), CoreError> {
        let bindings = self.of(&params);
        optimizer.add_params(group, params, bindings)
    }
}

impl OnGpu {
    pub fn new(device: Device, setup: WgpuSetup) -> Self {
        Self { device, shared: Arc::new(Mutex::new(Shared { setup, run: None })) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    pub fn step(&mut self, leaves: &mut [&mut Leaf], turn: Turn) -> Result<(), Error> {
        // A parameter without a gradient is bound to zeros that no step reads.
        let zeros =
            |leaf: &Leaf| Tensor::<1>::zeros([leaf.shape.num_elements()], (&self.device, DType::F32)).into_bridge();
        let grads = leaves.iter_mut().map(|leaf| {
            let grad = leaf.grad.as_mut().and_then(|grad| grad.tensor.take());
            grad.unwrap_or_else(|| zeros(leaf))
        });
        let grads = grads.collect();
        let shared = self.shared.clone();
        in_buffers(leaves, grads, move |slices| lock(&shared).step(&turn, slices))
    }

    pub fn swap_averages(&mut self, leaves: &mut [&mut Leaf]) -> Result<(), Error> {
        let shared = self.shared.clone();
        let paths: Vec<_> = leaves.iter().map(|leaf| leaf.path.clone()).collect();
        in_buffers(leaves, Vec::new(), move |slices| lock(&shared).swap_averages(&paths, slices))
    }

    pub fn loss_scale(&self, before_first: f64) -> Result<Tensor<1>, Error> {
        let scale = Tensor::<1>::from_data(TensorData::from([before_first as f32]), (&self.device, DType::F32));
        if self.lock().run.is_none() {
            return Ok(scale);
        }
        let shared = self.shared.clone();
        let tensors = Tensors { written: vec![scale.into_bridge()], read: Vec::new() };
        let (mut written, result) = cube::run(tensors, Box::new(move |slices| lock(&shared).copy_loss_scale(slices)));
        result?;
        let scale = written.pop().ok_or_else(|| Error::Burn("a tensor is lost".to_owned()))?;
        Ok(Tensor::from_bridge(scale))
    }

    pub fn has_run(&self) -> bool {
        self.lock().run.is_some()
    }

    pub fn report(&self) -> Result<Report, Error> {
        self.read(|optimizer, encoder| optimizer.read_report(encoder))
    }

    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.read(|optimizer, encoder| optimizer.read_checkpoint(encoder, false))
    }

    pub fn with<T>(&mut self, act: impl FnOnce(&mut dyn Settings) -> T) -> Option<T> {
        self.lock().run.as_mut().map(|run| act(&mut run.optimizer))
    }

    fn read<T>(
        &self,
        record: impl FnOnce(&Optimizer<Gpu>, &mut wgpu::CommandEncoder) -> Result<Readback<T>, CoreError>,
    ) -> Result<T, Error> {
        let shared = self.lock();
        let run = shared.run.as_ref().ok_or(Error::NoStepYet)?;
        let mut encoder = shared.encoder();
        let readback = record(&run.optimizer, &mut encoder)?;
        shared.setup.queue.submit([encoder.finish()]);
        drop(shared);
        Ok(readback.wait()?)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `act` with the places of the parameters and of what is read, and puts the parameters back.
fn in_buffers(
    leaves: &mut [&mut Leaf],
    read: Vec<burn::tensor::kind::BridgeTensor>,
    act: impl FnOnce(&Tensors<Slice>) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    let written = leaves.iter_mut().filter_map(|leaf| leaf.tensor.take()).collect();
    let (written, result) = cube::run(Tensors { written, read }, Box::new(act));
    for (leaf, tensor) in leaves.iter_mut().zip(written) {
        leaf.tensor = Some(tensor);
    }
    result
}

impl Shared {
    fn encoder(&self) -> wgpu::CommandEncoder {
        self.setup.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("miadam") })
    }

    fn step(&mut self, turn: &Turn, slices: &Tensors<Slice>) -> Result<(), Error> {
        let places = turn.brought.iter().zip(&slices.written).zip(&slices.read);
        let bindings = places.map(|((brought, param), grad)| {
            let dtype = brought.grad.unwrap_or_default();
            (&*brought.path, Binding::new(&brought.path, param.clone(), grad.clone()).with_grad_dtype(dtype))
        });
        let buffers = Buffers { setup: &self.setup, bindings: bindings.collect() };
        let run = Run::prepare(&mut self.run, turn, &buffers)?;
        run.optimizer.rebind(buffers.bindings.into_values())?;
        let mut encoder = self.setup.device.create_command_encoder(&Default::default());
        run.optimizer.step(&mut encoder)?;
        self.setup.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn swap_averages(&mut self, paths: &[Arc<str>], slices: &Tensors<Slice>) -> Result<(), Error> {
        let mut encoder = self.encoder();
        let run = self.run.as_mut().ok_or(Error::NoStepYet)?;
        let known = run.optimizer.bindings().map(|binding| (binding.name, (binding.grad, binding.grad_dtype)));
        let mut grads: HashMap<_, _> = known.map(|(name, grad)| (name.to_owned(), grad)).collect();
        let places = paths.iter().zip(&slices.written).filter_map(|(path, param)| {
            let (grad, grad_dtype) = grads.remove(&**path)?;
            Some(Binding { name: path, param: param.clone(), grad, grad_dtype })
        });
        let places: Vec<_> = places.collect();
        run.optimizer.rebind(places)?;
        run.optimizer.swap_averages(&mut encoder)?;
        self.setup.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn copy_loss_scale(&self, slices: &Tensors<Slice>) -> Result<(), Error> {
        let (Some(run), [target]) = (&self.run, &slices.written[..]) else { return Err(Error::NoStepYet) };
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(run.optimizer.loss_scale(), 0, &target.buffer, target.offset, 4);
        self.setup.queue.submit([encoder.finish()]);
        Ok(())
    }
}
