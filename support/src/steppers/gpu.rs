//! The GPU optimizer over buffers of the caller's.

use miadam::wgpu::BufferUsages;
use miadam::{Binding, MiAdam};

use super::{GRAD, Setup};
use crate::cases::{Case, Place};
use crate::gpu::Gpu;
use crate::values::Values;

pub struct GpuStepper<'a> {
    gpu: &'a Gpu,
    pub optimizer: MiAdam,
}

impl<'a> GpuStepper<'a> {
    /// # Errors
    /// Why the case does not fit this adapter.
    pub fn new(gpu: &'a Gpu, case: &Case, setup: &Setup) -> Result<Self, String> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let width = setup.dtype.width();
        let (lens, places) = case.places();
        let buffers = lens.into_iter().map(|len| gpu.buffer("tensors", width * len as u64, usage));
        let buffers: Vec<_> = buffers.collect::<Result<_, _>>().map_err(text)?;
        let at = |(buffer, first): Place| (&buffers[buffer], width * first as u64);
        let group = setup.group(case);
        let mut bindings = Vec::new();
        for (param, [home, grad_home]) in group.params.iter().zip(places) {
            let (buffer, offset) = at(grad_home);
            // Numbers as a gradient has them: zeros may be faster.
            gpu.write(buffer, offset, &Values::new(setup.dtype, &vec![GRAD; param.len]).bytes()).map_err(text)?;
            // Each at once: all copies together would take as much memory as the gradients.
            gpu.queue.submit([]);
            bindings.push(Binding::new(&param.name, at(home), at(grad_home)).with_grad_dtype(param.dtype));
        }
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [setup.group(case)], bindings).map_err(text)?;
        optimizer.set_grad_options(setup.grad_options).map_err(text)?;
        Ok(Self { gpu, optimizer })
    }

    /// One step: recorded, submitted and waited for.
    ///
    /// # Errors
    /// If the optimizer or the device refuses it.
    pub fn step(&mut self) -> Result<(), String> {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).map_err(text)?;
        self.gpu.run(encoder).map(drop).map_err(text)
    }

    /// The parameters of the first and the last tensor.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn ends(&self) -> Result<Vec<f32>, String> {
        let mut params = self.optimizer.params().zip(self.optimizer.bindings());
        let mut values = Vec::new();
        for (param, Binding { param: slice, .. }) in params.next().into_iter().chain(params.last()) {
            let size = param.dtype.width() * param.len as u64;
            let bytes = self.gpu.read_part(&slice.buffer, slice.offset, size).map_err(text)?;
            values.extend(Values::from_bytes(param.dtype, &bytes, param.len).single());
        }
        Ok(values)
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
