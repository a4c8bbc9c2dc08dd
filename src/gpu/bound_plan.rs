//! A plan with everything that recording it needs.

use super::device_state::DeviceState;
use super::kernels::Kernels;
use super::memory::Memory;
use super::shader::Judgement;
use crate::abi::{Partial, measure, swap, update};
use crate::error::Error;
use crate::plan::{Dispatch, Limits, Plan, Shape, Window, grid};
use crate::planes::Rounding;

/// The dispatches of the current plan, bound.
#[derive(Debug)]
pub(super) struct BoundPlan {
    /// The kernel that advances the step counter.
    pub advance: wgpu::ComputePipeline,
    dispatches: Vec<BoundDispatch>,
    partials: Option<Partials>,
}

/// The buffer of what the measure kernels find, and the bytes of each dispatch in it: the first, and how many.
#[derive(Debug, Clone, PartialEq)]
struct Partials {
    buffer: wgpu::Buffer,
    spans: Vec<(u64, u64)>,
}

/// A dispatch with its kernels, and everything to tell whether one of a later plan is the same.
#[derive(Debug, Clone)]
struct BoundDispatch {
    dispatch: Dispatch,
    /// The buffers of the windows.
    buffers: Vec<wgpu::Buffer>,
    /// The buffer that the dispatch's chunks lie in, and their first byte.
    chunks: (wgpu::Buffer, u64),
    /// The kernel that updates, unless the gradients are of tensors that somebody else updates.
    update: Option<BoundKernel>,
    /// The kernel that makes master copies, if there are any, with its grid. It has the update's bind group.
    adopt: Option<(wgpu::ComputePipeline, [u32; 2])>,
    /// The kernel that looks at the gradients before the first is used, if the step needs that.
    measure: Option<BoundKernel>,
}

/// A kernel with its bind group and its grid.
#[derive(Debug, Clone)]
struct BoundKernel {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

/// A plan, and the caller's buffers by the numbers that it has for them.
#[derive(Default)]
pub(super) struct Placed {
    pub plan: Plan,
    pub buffers: Vec<wgpu::Buffer>,
}

impl Placed {
    /// The dispatches, each with the buffers of its windows.
    fn dispatches(self) -> impl Iterator<Item = (Dispatch, Vec<wgpu::Buffer>)> {
        let Self { plan, buffers } = self;
        plan.dispatches.into_iter().map(move |dispatch| {
            let windows = dispatch.windows.iter().map(|window| buffers[window.buffer].clone()).collect();
            (dispatch, windows)
        })
    }
}

/// Everything that a plan is bound to.
pub(super) struct Binder<'a> {
    pub memory: &'a Memory,
    pub limits: &'a Limits,
    pub kernels: &'a mut Kernels,
    pub state: &'a DeviceState,
    /// Where steps have the verdict on their gradients from.
    pub judgement: Judgement,
}

impl Binder<'_> {
    /// Binds a plan, and after it the measure kernels of `others`, whose tensors are not the optimizer's. What it has in common
    /// with the last one is kept: engines move a few tensors, or all gradients to the same offsets in other buffers.
    pub fn bind(mut self, plan: Placed, others: Placed, last: Option<&BoundPlan>) -> Result<BoundPlan, Error> {
        let advance = self.kernels.advance(self.memory, self.judgement)?;
        let own = plan.plan.dispatches.len();
        let plan: Vec<_> = plan.dispatches().chain(others.dispatches()).collect();
        let partials = if self.judgement.measures() { Some(self.partials(&plan, last)?) } else { None };
        let keeps_partials = last.is_some_and(|last| last.partials == partials);
        let known = |number: usize, dispatch: &Dispatch| {
            let known = last.and_then(|last| last.dispatches.get(number));
            known.filter(|known| known.update.is_some() == (number < own) && known.has_work_of(dispatch))
        };
        let dispatches = plan.iter().map(|(dispatch, _)| dispatch).enumerate();
        let fresh = dispatches.filter(|(number, dispatch)| known(*number, dispatch).is_none());
        let mut tables = tables(self.memory, self.limits, fresh.map(|(_, dispatch)| dispatch))?.into_iter();

        let mut dispatches = Vec::with_capacity(plan.len());
        for (number, (dispatch, buffers)) in plan.into_iter().enumerate() {
            let known = known(number, &dispatch);
            let placed = known.filter(|known| known.has_windows_of(&dispatch, &buffers));
            if let Some(placed) = placed.filter(|_| keeps_partials) {
                dispatches.push(placed.clone());
                continue;
            }
            let chunks = match known {
                Some(known) => known.chunks.clone(),
                None => tables.next().unwrap_or_else(|| unreachable!("a table was made for each fresh dispatch")),
            };
            let windows = Windows { dispatch: &dispatch, buffers: &buffers, chunks: &chunks };
            let update = match placed {
                Some(placed) => placed.update.clone(),
                None if number < own => Some(self.update(&windows)?),
                None => None,
            };
            let adopt = match dispatch.kernel.format.rounding {
                Rounding::Master if number < own => {
                    Some((self.kernels.adopt(self.memory, dispatch.kernel)?, dispatch.quad_workgroups(self.limits)))
                }
                _ => None,
            };
            let measure = match &partials {
                Some(Partials { buffer, spans }) => Some(self.measure(&windows, buffer, spans[number])?),
                None => None,
            };
            dispatches.push(BoundDispatch { dispatch, buffers, chunks, update, adopt, measure });
        }
        Ok(BoundPlan { advance, dispatches, partials })
    }

    /// Binds a swap of averages, `out` if the parameters go back.
    pub fn bind_swap(self, plan: Placed, out: bool) -> Result<BoundSwap, Error> {
        let tables = tables(self.memory, self.limits, plan.plan.dispatches.iter())?;
        let mut kernels = Vec::with_capacity(tables.len());
        for ((dispatch, buffers), chunks) in plan.dispatches().zip(&tables) {
            let dispatch = &dispatch;
            let clocks = &self.state.clocks;
            let pipeline = self.kernels.swap(self.memory, dispatch.kernel, out, clocks.words)?;
            let own = [
                (update::COEFS, self.coefs(dispatch)),
                (update::MOMENTS, self.state.pages[dispatch.page].moments.as_entire_buffer_binding()),
                (swap::CLOCKS, clocks.counts.as_entire_buffer_binding()),
            ];
            let windows = Windows { dispatch, buffers: &buffers, chunks };
            kernels.push(self.bind_kernel(pipeline, &windows, &own, dispatch.quad_workgroups(self.limits))?);
        }
        Ok(BoundSwap(kernels))
    }

    /// The coefficients that a dispatch needs.
    fn coefs(&self, dispatch: &Dispatch) -> wgpu::BufferBinding<'_> {
        match dispatch.kernel.shape {
            Shape::Run => self.state.clocks.coefs_of(dispatch.chunks[0].clock),
            Shape::Table => self.state.clocks.coefs.as_entire_buffer_binding(),
        }
    }

    /// Room for what the measure kernels of a plan find. The partials of another plan would count as found, so that a new
    /// division takes a new buffer. What lies between two spans stays 0.
    fn partials(&self, plan: &[(Dispatch, Vec<wgpu::Buffer>)], last: Option<&BoundPlan>) -> Result<Partials, Error> {
        let mut end = 0;
        let span = |(dispatch, _): &(Dispatch, Vec<wgpu::Buffer>)| {
            let span = (end, dispatch.partials() * size_of::<Partial>() as u64);
            end = (span.0 + span.1).next_multiple_of(self.limits.alignment);
            span
        };
        let spans: Vec<_> = plan.iter().map(span).collect();
        if let Some(known) = last.and_then(|last| last.partials.as_ref()).filter(|known| known.spans == spans) {
            return Ok(known.clone());
        }
        let [buffer] = self.memory.zeros([("miadam partials", end)], wgpu::BufferUsages::STORAGE)?;
        Ok(Partials { buffer, spans })
    }

    fn update(&mut self, windows: &Windows<'_>) -> Result<BoundKernel, Error> {
        let dispatch = windows.dispatch;
        let pipeline = self.kernels.update(self.memory, dispatch.kernel)?;
        let page = &self.state.pages[dispatch.page];
        let own = [
            (update::COEFS, self.coefs(dispatch)),
            (update::MOMENTS, page.moments.as_entire_buffer_binding()),
            (update::INTEGRALS, page.integrals.as_entire_buffer_binding()),
        ];
        self.bind_kernel(pipeline, windows, &own, dispatch.workgroups)
    }

    fn measure(
        &mut self,
        windows: &Windows<'_>,
        partials: &wgpu::Buffer,
        (offset, size): (u64, u64),
    ) -> Result<BoundKernel, Error> {
        let pipeline = self.kernels.measure(self.memory, windows.dispatch.kernel)?;
        let own = [(measure::PARTIALS, range(partials, offset, size))];
        let workgroups = grid(windows.dispatch.partials(), self.limits);
        self.bind_kernel(pipeline, windows, &own, workgroups)
    }

    /// Binds the chunks, the windows, and the buffers that are the kernel's own.
    fn bind_kernel(
        &self,
        pipeline: wgpu::ComputePipeline,
        &Windows { dispatch, buffers, chunks }: &Windows<'_>,
        own: &[(u32, wgpu::BufferBinding<'_>)],
        workgroups: [u32; 2],
    ) -> Result<BoundKernel, Error> {
        let chunks = range(&chunks.0, chunks.1, size_of_val(&dispatch.chunks[..]) as u64);
        let windows = dispatch.windows.iter().zip(buffers);
        let windows = windows.map(|(&Window { offset, size, .. }, buffer)| range(buffer, offset, size));
        let spare = self.kernels.spare_windows(dispatch.kernel.form, dispatch.windows.len());
        let entries: Vec<_> = [(update::CHUNKS, chunks)]
            .into_iter()
            .chain(own.iter().cloned())
            .chain((update::WINDOWS..).zip(windows.chain(spare)))
            .map(|(binding, range)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) })
            .collect();
        let bind_group = self.memory.scoped("bind the parameters", 0, || {
            self.memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("miadam parameters"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            })
        })?;
        Ok(BoundKernel { pipeline, bind_group, workgroups })
    }
}

/// The bindings that all kernels of a dispatch have.
struct Windows<'a> {
    dispatch: &'a Dispatch,
    buffers: &'a [wgpu::Buffer],
    chunks: &'a (wgpu::Buffer, u64),
}

fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) }
}

/// The chunks of all dispatches in as few buffers as the limits allow: for each dispatch its buffer and first byte.
fn tables<'a>(
    memory: &Memory,
    limits: &Limits,
    dispatches: impl Iterator<Item = &'a Dispatch>,
) -> Result<Vec<(wgpu::Buffer, u64)>, Error> {
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut places = Vec::new();
    for dispatch in dispatches {
        let chunks: &[u8] = bytemuck::cast_slice(&dispatch.chunks);
        let aligned = |table: &Vec<u8>| table.len().next_multiple_of(limits.alignment as usize);
        if contents.last().is_none_or(|last| (aligned(last) + chunks.len()) as u64 > limits.buffer) {
            contents.push(Vec::new());
        }
        let number = contents.len() - 1;
        let table = &mut contents[number];
        table.resize(aligned(table), 0);
        places.push((number, table.len() as u64));
        table.extend(chunks);
    }
    let buffers = contents.iter().map(|contents| memory.filled("miadam chunks", contents));
    let buffers: Vec<_> = buffers.collect::<Result<_, _>>()?;
    Ok(places.into_iter().map(|(number, offset)| (buffers[number].clone(), offset)).collect())
}

impl BoundPlan {
    /// The buffer of what the measure kernels find, if there are any.
    pub fn partials(&self) -> Option<&wgpu::Buffer> {
        self.partials.as_ref().map(|partials| &partials.buffer)
    }

    /// Records the measure kernels, which come before the coefficients are advanced.
    pub fn record_measure(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches.iter().filter_map(|dispatch| dispatch.measure.as_ref()).for_each(|bound| bound.record(pass));
    }

    /// Records the kernels that make master copies, after the coefficients are advanced.
    pub fn record_adopt(&self, pass: &mut wgpu::ComputePass<'_>) {
        for dispatch in &self.dispatches {
            if let (Some((adopt, workgroups)), Some(update)) = (&dispatch.adopt, &dispatch.update) {
                update.record_with(adopt, *workgroups, pass);
            }
        }
    }

    /// Records the update kernels.
    pub fn record_update(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches.iter().filter_map(|dispatch| dispatch.update.as_ref()).for_each(|bound| bound.record(pass));
    }

    /// Dispatches that make master copies.
    pub fn adopt_dispatches(&self) -> usize {
        self.dispatches.iter().filter(|dispatch| dispatch.adopt.is_some()).count()
    }

    /// Dispatches that measure or update.
    pub fn dispatches(&self) -> usize {
        let kernels = |dispatch: &BoundDispatch| [&dispatch.update, &dispatch.measure].into_iter().flatten().count();
        self.dispatches.iter().map(kernels).sum()
    }
}

/// The dispatches of a swap of averages, bound.
#[derive(Debug)]
pub(super) struct BoundSwap(Vec<BoundKernel>);

impl BoundSwap {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.0.iter().for_each(|kernel| kernel.record(pass));
    }
}

impl BoundDispatch {
    /// Whether another dispatch does the same to its windows, wherever they are.
    fn has_work_of(&self, other: &Dispatch) -> bool {
        let Dispatch { page, kernel, chunks, .. } = &self.dispatch;
        *page == other.page && *kernel == other.kernel && *chunks == other.chunks
    }

    fn has_windows_of(&self, other: &Dispatch, buffers: &[wgpu::Buffer]) -> bool {
        let same = |(own, other): (&Window, &Window)| own.offset == other.offset && own.size == other.size;
        self.buffers == buffers && self.dispatch.windows.iter().zip(&other.windows).all(same)
    }
}

impl BoundKernel {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.record_with(&self.pipeline, self.workgroups, pass);
    }

    fn record_with(&self, pipeline: &wgpu::ComputePipeline, [x, y]: [u32; 2], pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}
