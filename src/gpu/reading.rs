//! The GPU optimizer's state and numbers, on their way to the host: copies at a point of the caller's encoder.

use super::binding::end;
use super::device::Gpu;
use super::device_state::{plane_bytes, plane_offset};
use super::readback::{Contents, Copies, Range, Readback, head};
use crate::abi::{Progress, Scaler};
use crate::error::{Error, Role};
use crate::optimizer::Optimizer;
use crate::plan::StateLayout;
use crate::planes::{Bank, Planes};
use crate::state::{Checkpoint, ParamState, Report, SavedParam, State};

impl Optimizer<Gpu> {
    /// Records copies of the numbers that a training loop logs, as they are at this point of the encoder: step, skipped
    /// steps, norm of the gradients, loss scale, and each group's learning rate and phase.
    ///
    /// The readback resolves once the encoder is submitted and the caller polls its device; no step waits for it. The norm
    /// is `None` unless steps measure it: set [`measure_norm`](crate::GradOptions::measure_norm).
    ///
    /// ```
    /// # use miadam::{Binding, GradOptions, Hyperparams, MiAdam, Param, ParamGroup};
    /// # fn main() -> Result<(), miadam::Error> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let pool = device.create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 8000, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false
    /// # });
    /// # let group = ParamGroup::new(Hyperparams::default(), [Param::new("weights", 1000)]);
    /// # let bindings = [Binding::new("weights", &pool, (&pool, 4000))];
    /// # let mut optimizer = MiAdam::new(device, queue, [group], bindings)?;
    /// optimizer.set_grad_options(GradOptions { measure_norm: true, ..GradOptions::default() })?;
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?;
    /// let report = optimizer.read_report(&mut encoder)?;
    /// queue.submit([encoder.finish()]);
    /// // … later steps can be recorded and submitted meanwhile.
    /// let report = report.wait()?;
    /// assert_eq!((report.step, report.grad_norm, report.groups[0].lr), (1, Some(0.0), 1e-3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`read_state`](Self::read_state).
    pub fn read_report(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Readback<Report>, Error> {
        let Self { course, device } = self;
        device.memory.check_alive()?;
        let copies = Copies::record(&device.memory, encoder, &device.count_ranges())?;
        let known = device.known.clone();
        let (measured, groups) = (course.measured, course.reported_groups().collect::<Vec<_>>());
        Ok(Readback::new(&device.memory, copies, move |contents| {
            let (progress, scaler) = counts(contents)?;
            known.raise(&progress);
            Ok(Report::new(&progress, &scaler, measured, groups.into_iter()))
        }))
    }

    /// Records copies of the step counter and the whole state, as they are at this point of the encoder.
    ///
    /// The readback resolves once the encoder is submitted and the caller polls its device.
    ///
    /// # Errors
    /// If the device has no memory for the copies, or is lost. Nothing is recorded then. The readback itself is
    /// [`Error::ReadbackLost`] if the encoder is dropped or the device is lost later.
    pub fn read_state(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Readback<State>, Error> {
        let device = &self.device;
        device.memory.check_alive()?;
        let copies = Copies::record(&device.memory, encoder, &device.state_ranges())?;
        let (assembler, known) = (self.assembler(), device.known.clone());
        Ok(Readback::new(&device.memory, copies, move |contents| {
            let (progress, _) = counts(contents)?;
            known.raise(&progress);
            Ok(State { step: progress.step, params: assembler.assemble(contents) })
        }))
    }

    /// Records copies of everything that the optimizer remembers, as it is at this point of the encoder. With `with_params`
    /// the parameters themselves are in it, too; their buffers then need `COPY_SRC`.
    ///
    /// The readback resolves once the encoder is submitted and the caller polls its device. Steps recorded later go on
    /// meanwhile.
    ///
    /// # Errors
    /// As for [`read_state`](Self::read_state), and if a parameter cannot be copied.
    pub fn read_checkpoint(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        with_params: bool,
    ) -> Result<Readback<Checkpoint>, Error> {
        let Self { course, device } = self;
        device.memory.check_alive()?;
        let mut ranges = device.state_ranges();
        let states = ranges.len();
        let mut params = Vec::new();
        for (member, bound) in course.members.iter().zip(&device.bound).filter(|_| with_params) {
            let (param, slice) = (&member.param, &bound.param);
            if !slice.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
                let (name, role) = (param.name.clone(), Role::Param);
                return Err(Error::MissingCopyUsage { name, role, usage: "COPY_SRC" });
            }
            let size = end(slice, param.dtype, param.len) - slice.offset;
            ranges.push(Range { buffer: &slice.buffer, offset: slice.offset, size });
            params.push(param.clone());
        }
        let copies = Copies::record(&device.memory, encoder, &ranges)?;
        let (assembler, known) = (self.assembler(), device.known.clone());
        let (mut header, measured) = (course.header(), course.measured);
        Ok(Readback::new(&device.memory, copies, move |contents| {
            let (progress, scaler) = counts(contents)?;
            known.raise(&progress);
            header.set_counts(&progress, &scaler, measured);
            let mut checkpoint = Checkpoint::new(header, assembler.assemble(contents));
            for (number, param) in (states..).zip(params) {
                let bytes = contents.range(number)[..param.len * param.dtype.width() as usize].to_vec();
                checkpoint.params.insert(param.name, SavedParam { dtype: param.dtype, bytes });
            }
            Ok(checkpoint)
        }))
    }

    fn assembler(&self) -> Assembler {
        let named = self.course.members.iter().map(|member| {
            let param = &member.param;
            (param.name.clone(), param.len, member.planes)
        });
        Assembler { layout: self.device.state.layout.clone(), params: named.collect() }
    }
}

/// The buffers of counts before the pages of state.
const COUNTS: usize = 2;

/// The counts that were copied by [`Gpu::count_ranges`], with the evidence that the device has written them: a loss scale is
/// never 0, and 0 is all that is there if wgpu has refused the encoder.
fn counts(contents: &Contents) -> Result<(Progress, Scaler), Error> {
    let scaler: Scaler = head(contents.range(1));
    if scaler.scale == 0.0 { Err(Error::ReadbackLost) } else { Ok((head(contents.range(0)), scaler)) }
}

impl Gpu {
    /// The step counter with what is counted beside it, and the loss scale.
    fn count_ranges(&self) -> Vec<Range<'_>> {
        [&self.state.progress, &self.state.scaler].map(Range::whole).to_vec()
    }

    /// The counts and, after them, the banks of every page of state.
    fn state_ranges(&self) -> Vec<Range<'_>> {
        let pages = self.state.pages.iter().flat_map(|page| Bank::ALL.map(|bank| page.bank(bank)));
        self.count_ranges().into_iter().chain(pages.map(Range::whole)).collect()
    }
}

/// Puts pages of state together to the state of every parameter.
struct Assembler {
    layout: StateLayout,
    /// Each parameter's name, length and planes.
    params: Vec<(String, usize, Planes)>,
}

impl Assembler {
    /// `contents` has the counts and the banks of every page.
    fn assemble(&self, contents: &Contents) -> Vec<ParamState> {
        let zeros = |(name, len, planes): &(String, usize, Planes)| ParamState::zeros(name, *len, *planes);
        let mut states: Vec<_> = self.params.iter().map(zeros).collect();
        for segment in &self.layout.segments {
            let first = COUNTS + Bank::ALL.len() * segment.page;
            let within = segment.start as usize..(segment.start + segment.len) as usize;
            let mut indices = [0; Bank::ALL.len()];
            for (plane, values) in states[segment.tensor].planes_mut() {
                let bank = plane.bank();
                let index = &mut indices[bank as usize];
                let bytes = plane_bytes(plane, plane_offset(segment, bank, *index), segment.len);
                bytemuck::cast_slice_mut(&mut values[within.clone()])
                    .copy_from_slice(&contents.range(first + bank as usize)[bytes]);
                *index += 1;
            }
        }
        states
    }
}
