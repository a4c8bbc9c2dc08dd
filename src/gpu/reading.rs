//! The GPU optimizer's state and numbers, on their way to the host: copies at a point of the caller's encoder.

use std::borrow::Cow;
use std::sync::Arc;

use super::binding::end;
use super::device::Gpu;
use super::device_state::{AVERAGES_IN, ClockBuffers, plane_bytes};
use super::known::{ClockSteps, Known};
use super::readback::{Contents, Copies, Range, Readback, head};
use crate::abi::{Progress, Scaler};
use crate::clock::Clock;
use crate::error::{Error, Role};
use crate::math::packed::unpack;
use crate::optimizer::Optimizer;
use crate::plan::StateLayout;
use crate::planes::{Bank, Planes};
use crate::state::{Checkpoint, ParamState, Report, SavedParam, State};

impl Optimizer<Gpu> {
    /// Records copies of the numbers that a training loop logs, as they are at this point of the encoder: step, skipped
    /// steps, norm of the gradients, loss scale, and each group's learning rate and phase.
    ///
    /// The readback resolves once the encoder is submitted and the caller polls its device; no step waits for it. The norm
    /// is `None` unless steps measure it, as [`Report::grad_norm`](crate::Report::grad_norm) says.
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
        let copies = device.copy(encoder, &device.count_ranges())?;
        let counts = device.counts();
        let (measured, groups) = (course.measured, course.reported_groups().collect::<Vec<_>>());
        Ok(Readback::new(&device.memory, copies, move |contents| {
            let Counted { progress, scaler, clocks, .. } = counts.read(contents)?;
            let steps: Vec<_> = clocks.iter().map(|clock| clock.step).collect();
            Ok(Report::new(&progress, &scaler, measured, &steps, groups.into_iter()))
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
        let copies = device.copy(encoder, &device.state_ranges())?;
        let (assembler, counts) = (self.assembler(), device.counts());
        Ok(Readback::new(&device.memory, copies, move |contents| {
            let Counted { progress, clocks, .. } = counts.read(contents)?;
            Ok(State { step: progress.step, params: assembler.assemble(contents, &clocks) })
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
        let copies = device.copy(encoder, &ranges)?;
        let (assembler, counts) = (self.assembler(), device.counts());
        let (mut header, measured) = (course.header(), course.measured);
        Ok(Readback::new(&device.memory, copies, move |contents| {
            let Counted { progress, scaler, clocks, averages_in } = counts.read(contents)?;
            header.averages_in = averages_in;
            header.set_counts(&progress, &scaler, measured);
            let mut checkpoint = Checkpoint::new(header, assembler.assemble(contents, &clocks));
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
            (param.name.clone(), param.len, member.planes, member.clock)
        });
        Assembler { layout: self.device.state.layout.clone(), params: named.collect() }
    }
}

/// The buffers of counts before the pages of state.
const COUNTS: usize = 3;

/// What the device counts.
struct Counted {
    progress: Progress,
    scaler: Scaler,
    clocks: Vec<Clock>,
    averages_in: bool,
}

/// What a readback of the counts needs once they have come.
struct Counts {
    words: usize,
    orders: Arc<[usize]>,
    known: Arc<Known>,
    clock_steps: Arc<ClockSteps>,
}

impl Counts {
    /// The counts that were copied by [`Gpu::count_ranges`], with the evidence that the device has written them: a loss scale
    /// is never 0, and 0 is all that is there if wgpu has refused the encoder.
    fn read(&self, contents: &Contents) -> Result<Counted, Error> {
        let scaler: Scaler = head(contents.range(1));
        if scaler.scale == 0.0 {
            return Err(Error::ReadbackLost);
        }
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(contents.range(2));
        let (clocks, averages_in) = words.split_at(words.len() - AVERAGES_IN as usize / 4);
        let orders = self.orders.iter().copied();
        let clocks: Vec<_> =
            clocks.chunks_exact(self.words).zip(orders).map(|(words, order)| Clock::from_words(words, order)).collect();
        let progress = head(contents.range(0));
        self.known.raise(&progress);
        self.clock_steps.raise(&clocks.iter().map(|clock| clock.step).collect::<Vec<_>>());
        Ok(Counted { progress, scaler, clocks, averages_in: averages_in[0] == 1 })
    }
}

impl Gpu {
    /// Records copies, after the state has moved to where they are taken from.
    fn copy(&self, encoder: &mut wgpu::CommandEncoder, ranges: &[Range<'_>]) -> Result<Copies, Error> {
        Copies::record(&self.memory, encoder, ranges, |encoder| self.moves.record_alone(encoder))
    }

    fn counts(&self) -> Counts {
        let ClockBuffers { words, orders, .. } = &self.state.clocks;
        let (known, clock_steps) = (self.known.clone(), self.clock_steps.clone());
        Counts { words: *words, orders: orders.clone(), known, clock_steps }
    }

    /// The step counter with what is counted beside it, the loss scale, and the clocks.
    fn count_ranges(&self) -> Vec<Range<'_>> {
        [&self.state.progress, &self.state.scaler.own, &self.state.clocks.counts].map(Range::whole).to_vec()
    }

    /// The counts and, after them, the banks of every page of state.
    fn state_ranges(&self) -> Vec<Range<'_>> {
        let pages = self.state.pages.iter().flat_map(|page| Bank::ALL.map(|bank| page.bank(bank)));
        self.count_ranges().into_iter().chain(pages.map(|page| Range::whole(page))).collect()
    }
}

/// Puts pages of state together to the state of every parameter.
struct Assembler {
    layout: StateLayout,
    /// Each parameter's name, length, planes and clock.
    params: Vec<(String, usize, Planes, usize)>,
}

impl Assembler {
    /// `contents` has the counts and the banks of every page.
    fn assemble(&self, contents: &Contents, clocks: &[Clock]) -> Vec<ParamState> {
        let params = self.params.iter();
        let zeros = params.map(|(name, len, planes, clock)| ParamState::zeros(name, *len, *planes, &clocks[*clock]));
        let mut states: Vec<_> = zeros.collect();
        for segment in &self.layout.segments {
            let first = COUNTS + Bank::ALL.len() * segment.page;
            let within = segment.start as usize..(segment.start + segment.len) as usize;
            let (_, _, planes, _) = self.params[segment.tensor];
            for (plane, values) in states[segment.tensor].planes_mut() {
                let bytes = plane_bytes(segment, planes, plane);
                let bank = contents.range(first + plane.bank() as usize);
                let bytes = &bank[bytes.start as usize..bytes.end as usize];
                let words: Cow<'_, [f32]> = bytemuck::try_cast_slice(bytes)
                    .map_or_else(|_| bytemuck::pod_collect_to_vec(bytes).into(), Cow::Borrowed);
                unpack(planes.precision_of(plane), plane.is_signed(), &words, &mut values[within.clone()]);
            }
        }
        states
    }
}
