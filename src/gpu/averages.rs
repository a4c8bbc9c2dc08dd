//! Averages of the weights in the parameters' place, and back, on the GPU.

use super::binding::number_buffers;
use super::bound_plan::{Binder, BoundSwap, Placed};
use super::device::Gpu;
use super::device_state::{AVERAGES_IN, ClockBuffers};
use super::shader::Judgement;
use crate::abi::Progress;
use crate::error::Error;
use crate::optimizer::Optimizer;
use crate::plan::{Extras, Format, Placement, Plan, Tensor};

impl Optimizer<Gpu> {
    /// Records a swap: the averages of the weights take the parameters' place, rounded to their type. The next call puts the
    /// parameters back, to the bit. It takes no memory to speak of, reads and writes parameters and averages once, and takes
    /// no gradient. Parameters without an average, and those that no step has averaged yet, stay as they are.
    ///
    /// While the averages are in, parameters may be read as always: evaluate with them, or read them back. Steps are errors, and
    /// so are calls that change parameters or groups. A [`State`](crate::State) then has θ as
    /// [`Plane::Average`](crate::Plane::Average) where it has no master copy. A checkpoint remembers that the averages are in.
    ///
    /// An encoder that is dropped swaps nothing, and the next call, which would undo it, does nothing.
    ///
    /// ```
    /// # use miadam::{Average, Binding, Hyperparams, MiAdam, Param, ParamGroup};
    /// # fn main() -> Result<(), miadam::Error> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let pool = device.create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 8000, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false
    /// # });
    /// let average = Average::Ema { decay: 0.999, warmup: true };
    /// let group = ParamGroup::new(Hyperparams { average, ..Hyperparams::default() }, [Param::new("weights", 1000)]);
    /// let mut optimizer = MiAdam::new(device, queue, [group], [Binding::new("weights", &pool, (&pool, 4000))])?;
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?;
    /// optimizer.swap_averages(&mut encoder)?;
    /// // … record the evaluation, then:
    /// optimizer.swap_averages(&mut encoder)?;
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoAverages`] if no group keeps an average, or if the device has no memory for the bindings, or is lost. Nothing
    /// is recorded then.
    pub fn swap_averages(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let Self { course, device } = self;
        device.memory.check_alive()?;
        let out = course.averages_in;
        let swap = device.bind_swap(out)?;
        let flag = device.memory.filled("miadam averages in", &[u32::from(!out), device.generation])?;
        device.memory.check_alive()?;
        device.memory.hold(encoder);
        if !out {
            device.end_moves(encoder, &flag);
        }
        let label = Some("miadam swap");
        swap.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None }));
        let ClockBuffers { counts, .. } = &device.state.clocks;
        encoder.copy_buffer_to_buffer(&flag, 0, counts, counts.size() - AVERAGES_IN, 4);
        course.averages_in = !out;
        Ok(())
    }
}

impl Gpu {
    /// Plans and binds a swap of all parameters with an average, whether they take part in steps or not. Their gradients are
    /// not looked at.
    fn bind_swap(&mut self, out: bool) -> Result<BoundSwap, Error> {
        let alone = |tensor: &Tensor| Tensor {
            rests: !tensor.average,
            format: Format { grad: tensor.format.param, ..tensor.format },
            extras: Extras::default(),
            ..*tensor
        };
        let tensors: Vec<_> = self.tensors.iter().map(alone).collect();
        if tensors.iter().all(|tensor| tensor.rests) {
            return Err(Error::NoAverages);
        }
        let (placements, buffers) = number_buffers(&self.bound, |number| !tensors[number].rests);
        let placements: Vec<_> =
            placements.iter().map(|&Placement { param, .. }| Placement { param, grad: param }).collect();
        let plan = Placed { plan: Plan::new(&tensors, &placements, &self.state.layout, &self.limits), buffers };
        let binder = Binder {
            memory: &self.memory,
            limits: &self.limits,
            kernels: &mut self.kernels,
            state: &self.state,
            judgement: Judgement::Blind,
        };
        binder.bind_swap(plan, out)
    }

    /// Lets the state that is still to move do so now, once and for all: a later move would bring the averages back that a
    /// swap takes away. The second word of `flag` is the present generation.
    fn end_moves(&mut self, encoder: &mut wgpu::CommandEncoder, flag: &wgpu::Buffer) {
        self.moves.forget(&self.known);
        if self.moves.is_empty() {
            return;
        }
        self.moves.record_alone(encoder);
        let generation = std::mem::offset_of!(Progress, generation) as u64;
        encoder.copy_buffer_to_buffer(flag, 4, &self.state.progress, generation, 4);
        // Master copies that are still to be made are not made by this.
        self.generation = self.generation.saturating_add(1);
        self.adoption.ask(&self.tensors, self.generation);
    }
}
