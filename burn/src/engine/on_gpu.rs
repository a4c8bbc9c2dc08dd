//! Steps in the buffers behind burn's tensors.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::tensor::kind::BridgeTensor;
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn::tensor::{DType, Device, Tensor, TensorData};
use miadam::{
    Binding, Checkpoint, Error as CoreError, Gpu, LoadOptions, MiAdam, Optimizer, Param, ParamGroup, Readback, Report,
    Skipped, Slice,
};

use super::{Run, Settings, Turn, run::Site};
use crate::cube::{self, Job, Tensors};
use crate::error::Error;
use crate::leaves::Leaf;
use crate::order::Order;

/// The optimizer of a wgpu device. burn's own thread records its steps, in the order of burn's operations.
pub struct OnGpu {
    device: Device,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    setup: WgpuSetup,
    run: Option<Run<Gpu>>,
    /// The order in which the elements of each parameter and of its state lie. It is that of its first gradient.
    homes: HashMap<Arc<str>, Home>,
}

struct Home {
    shape: Vec<usize>,
    order: Order,
}

impl Home {
    /// Puts a parameter of a checkpoint from row-major order into this one.
    fn bring(&self, checkpoint: &mut Checkpoint, path: &str) -> Result<(), CoreError> {
        checkpoint.permute_param(path, &self.shape, &self.order.axes(self.shape.len()))
    }

    /// Puts a parameter of a checkpoint from this order into row-major.
    fn take_back(&self, checkpoint: &mut Checkpoint, path: &str) -> Result<(), CoreError> {
        let axes = self.order.axes(self.shape.len());
        let shape: Vec<_> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let mut back = vec![0; axes.len()];
        axes.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
        checkpoint.permute_param(path, &shape, &back)
    }
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
        let bindings = self.of(optimizer.params().chain(&group.params));
        optimizer.add_group(group, bindings).map(drop)
    }

    fn add_params(&self, optimizer: &mut MiAdam, group: usize, params: Vec<Param>) -> Result<(), CoreError> {
        let bindings = self.of(optimizer.params().chain(&params));
        optimizer.add_params(group, params, bindings)
    }
}

impl OnGpu {
    pub fn new(device: Device, setup: WgpuSetup) -> Self {
        Self { device, shared: Arc::new(Mutex::new(Shared { setup, run: None, homes: HashMap::new() })) }
    }

    /// Calls `act` with the places of the parameters and of what is read, and puts the parameters back.
    fn in_buffers(
        &self,
        leaves: &mut [&mut Leaf],
        read: Vec<BridgeTensor>,
        act: impl FnOnce(&Tensors<Slice>, &[Order]) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let shared = self.lock();
        let orders = leaves.iter().map(|leaf| shared.homes.get(&leaf.path).map(|home| home.order.clone())).collect();
        let setup = shared.setup.clone();
        drop(shared);
        let written = leaves.iter_mut().filter_map(|leaf| leaf.tensor.take()).collect();
        let (written, result) = cube::run(Tensors { written, read }, Job { setup, orders, work: Box::new(act) });
        for (leaf, tensor) in leaves.iter_mut().zip(written) {
            leaf.tensor = Some(tensor);
        }
        result
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
        let shapes: Vec<_> = leaves.iter().map(|leaf| leaf.shape.to_vec()).collect();
        self.in_buffers(leaves, grads, move |slices, orders| lock(&shared).step(turn, slices, shapes, orders))
    }

    pub fn rest(&mut self, turn: &Turn) -> Result<(), Error> {
        let Shared { setup, run, .. } = &mut *self.lock();
        let Some(run) = run else { return Ok(()) };
        run.rest_all(turn)?;
        let mut encoder = setup.device.create_command_encoder(&Default::default());
        run.optimizer.step(&mut encoder)?;
        setup.queue.submit([encoder.finish()]);
        Ok(())
    }

    pub fn swap_averages(&mut self, leaves: &mut [&mut Leaf]) -> Result<(), Error> {
        let shared = self.shared.clone();
        let paths: Vec<_> = leaves.iter().map(|leaf| leaf.path.clone()).collect();
        self.in_buffers(leaves, Vec::new(), move |slices, _| lock(&shared).swap_averages(&paths, slices))
    }

    pub fn loss_scale(&self, before_first: f64) -> Result<Tensor<1>, Error> {
        let scale = Tensor::<1>::from_data(TensorData::from([before_first as f32]), (&self.device, DType::F32));
        if self.lock().run.is_none() {
            return Ok(scale);
        }
        let shared = self.shared.clone();
        let tensors = Tensors { written: vec![scale.into_bridge()], read: Vec::new() };
        let work = Box::new(move |slices: &Tensors<Slice>, _: &[Order]| lock(&shared).copy_loss_scale(slices));
        // A guard inside the call would still be held when `work` asks for its own.
        let setup = self.lock().setup.clone();
        let (mut written, result) = cube::run(tensors, Job { setup, orders: vec![None], work });
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
        let mut checkpoint = self.read(|optimizer, encoder| optimizer.read_checkpoint(encoder, false))?;
        for (path, home) in self.lock().homes.iter().filter(|(_, home)| !home.order.is_row_major()) {
            home.take_back(&mut checkpoint, path)?;
        }
        Ok(checkpoint)
    }

    pub fn load(&mut self, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Option<Vec<Skipped>>, Error> {
        let Shared { run, homes, .. } = &mut *self.lock();
        let Some(run) = run else { return Ok(None) };
        let checkpoint = bring(checkpoint, homes)?;
        Ok(Some(run.optimizer.load_with(&checkpoint, options)?))
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

/// The checkpoint with all of its parameters in these orders.
fn bring<'a>(checkpoint: &'a Checkpoint, homes: &HashMap<Arc<str>, Home>) -> Result<Cow<'a, Checkpoint>, Error> {
    let mut brought = Cow::Borrowed(checkpoint);
    for state in checkpoint.states() {
        let home = homes.get(&state.name[..]).filter(|home| !home.order.is_row_major());
        // One of another length shows when it is loaded.
        if let Some(home) = home.filter(|home| home.shape.iter().product::<usize>() == state.len()) {
            home.bring(brought.to_mut(), &state.name)?;
        }
    }
    Ok(brought)
}

impl Shared {
    fn encoder(&self) -> wgpu::CommandEncoder {
        self.setup.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("miadam") })
    }

    fn step(
        &mut self,
        mut turn: Turn,
        slices: &Tensors<Slice>,
        shapes: Vec<Vec<usize>>,
        orders: &[Order],
    ) -> Result<(), Error> {
        for ((brought, shape), order) in turn.brought.iter().zip(shapes).zip(orders) {
            let home = || Home { shape, order: order.clone() };
            self.homes.entry(brought.path.clone()).or_insert_with(home);
        }
        if let Some(pending) = &turn.pending {
            turn.pending = Some(pending.with(bring(pending.checkpoint(), &self.homes)?));
        }
        let start = Instant::now();
        let places = turn.brought.iter().zip(&slices.written).zip(&slices.read);
        let bindings = places.map(|((brought, param), grad)| {
            let dtype = brought.grad.unwrap_or_default();
            (&*brought.path, Binding::new(&brought.path, param.clone(), grad.clone()).with_grad_dtype(dtype))
        });
        let buffers = Buffers { setup: &self.setup, bindings: bindings.collect() };
        let run = Run::prepare(&mut self.run, &turn, &buffers)?;
        run.optimizer.rebind(buffers.bindings.into_values())?;
        let mut encoder = self.setup.device.create_command_encoder(&Default::default());
        run.optimizer.step(&mut encoder)?;
        log::debug!("{} parameters bound, planned and recorded in {:?}", turn.brought.len(), start.elapsed());
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
