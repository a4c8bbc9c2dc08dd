//! On the GPU.

use miadam::wgpu::{Buffer, BufferUsages};
use miadam::{Binding, MiAdam, Report, State};

use super::case::{Case, Tensor};
use super::device::{Device, DeviceError};
use crate::gpu::{Gpu, GpuError};
use crate::values::Values;

/// The GPU optimizer over two buffers a tensor.
pub struct OnGpu<'a> {
    gpu: Gpu,
    case: &'a Case,
    optimizer: MiAdam,
    buffers: Vec<[Buffer; 2]>,
}

impl<'a> OnGpu<'a> {
    /// # Errors
    /// If the optimizer refuses the case, or if the device has no room for it.
    pub fn new(gpu: Gpu, case: &'a Case) -> Result<Self, DeviceError> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        // The gradients' buffer holds anything until the first step.
        let buffers = |tensor: &Tensor| {
            let bytes = Values::new(tensor.dtype, &tensor.values).bytes();
            Ok([gpu.buffer_with("parameter", &bytes, usage)?, gpu.buffer_with("gradient", &bytes, usage)?])
        };
        let buffers: Vec<_> = case.tensors().map(buffers).collect::<Result<_, GpuError>>()?;
        let bindings = case.tensors().zip(&buffers);
        let bindings = bindings
            .map(|(tensor, [param, grad])| Binding::new(&tensor.name, param, grad).with_grad_dtype(tensor.dtype));
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, case.param_groups(), bindings)?;
        optimizer.set_grad_options(case.grad_options)?;
        Ok(Self { gpu, case, optimizer, buffers })
    }
}

impl Device for OnGpu<'_> {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError> {
        Ok(self.optimizer.set_lr(group, lr)?)
    }

    fn step(&mut self, grads: &[Option<Vec<f32>>]) -> Result<(), DeviceError> {
        self.optimizer.skip(self.case.without_grad(grads))?;
        for ((tensor, [_, buffer]), grad) in self.case.tensors().zip(&self.buffers).zip(grads) {
            // Where there is none, the last one stays in the buffer, and must not count.
            if let Some(grad) = grad {
                self.gpu.write(buffer, 0, &Values::new(tensor.dtype, grad).bytes())?;
            }
        }
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder)?;
        // Waits: a queue that runs ahead would hold a copy of every step's gradients.
        self.gpu.run(encoder)?;
        Ok(())
    }

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError> {
        let read = |(tensor, [param, _]): (&Tensor, &[Buffer; 2])| {
            let bytes = self.gpu.read(param)?;
            Ok(Values::from_bytes(tensor.dtype, &bytes, tensor.values.len()).single())
        };
        self.case.tensors().zip(&self.buffers).map(read).collect()
    }

    fn state(&mut self) -> Result<State, DeviceError> {
        let mut encoder = self.gpu.encoder();
        let state = self.optimizer.read_state(&mut encoder)?;
        self.gpu.run(encoder)?;
        Ok(state.wait()?)
    }

    fn report(&mut self) -> Result<Report, DeviceError> {
        let mut encoder = self.gpu.encoder();
        let report = self.optimizer.read_report(&mut encoder)?;
        self.gpu.run(encoder)?;
        Ok(report.wait()?)
    }
}
