use super::pipelines::window_count;
use super::{Advance, Memory, Pipelines, scoped};
use crate::Error;
use crate::layout::Partial;
use crate::plan::{self, Dispatch, Limits, Page, Plan, Rounding, Shape, StateLayout, Window};

/// The state's buffers, the update's kernels, and the dispatches of the current plan.
#[derive(Debug)]
pub(crate) struct Update {
    pub pages: Vec<PageBuffers>,
    pipelines: Pipelines,
    /// Bound where a dispatch has fewer windows than its shader: ranges that no other binding overlaps.
    spare: wgpu::Buffer,
    dispatches: Vec<Prepared>,
    /// What the measure kernels find, and which part of it belongs to which dispatch.
    partials: Option<(wgpu::Buffer, Vec<Span>)>,
}

/// Bytes of a buffer: the first, and how many.
type Span = (u64, u64);

/// The moments and the integrals of a page of state.
#[derive(Debug)]
pub(crate) struct PageBuffers {
    pub moments: wgpu::Buffer,
    pub integrals: wgpu::Buffer,
}

/// A dispatch with everything that recording it needs, and everything to tell whether a later plan's is the same.
#[derive(Debug, Clone)]
struct Prepared {
    dispatch: Dispatch,
    /// The buffers of the windows.
    buffers: Vec<wgpu::Buffer>,
    /// Where the dispatch's chunks lie.
    chunks: (wgpu::Buffer, u64),
    update: Bound,
    /// What makes the master copies, if there are any, bound as the update.
    adopt: Option<wgpu::ComputePipeline>,
    /// What looks at the gradients before the first is used, if the step needs that.
    measure: Option<Bound>,
}

/// A kernel with what it is bound to.
#[derive(Debug, Clone)]
struct Bound {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

impl Update {
    pub fn new(memory: &Memory, layout: &StateLayout, limits: &Limits) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let make = |page: &Page| {
            let [moments, integrals] =
                memory.zeros([("miadam moments", page.moments), ("miadam integrals", page.integrals)], usage)?;
            Ok(PageBuffers { moments, integrals })
        };
        let pages = layout.pages.iter().map(make).collect::<Result<_, _>>().map_err(|error| match error {
            Error::OutOfMemory { .. } => Error::OutOfMemory { bytes: layout.bytes() },
            other => other,
        })?;
        let spare = ("miadam spare windows", limits.windows as u64 * limits.alignment);
        let [spare] = memory.zeros([spare], wgpu::BufferUsages::STORAGE)?;
        Ok(Self { pages, pipelines: Pipelines::default(), spare, dispatches: Vec::new(), partials: None })
    }

    /// Makes the dispatches of a plan, or leaves those of the last one if that fails. What the two plans have in
    /// common is kept: engines move a few tensors, or all gradients to the same offsets in other buffers.
    pub fn prepare(
        &mut self,
        memory: &Memory,
        limits: &Limits,
        plan: Plan,
        buffers: &[wgpu::Buffer],
        advance: &mut Advance,
        measures: bool,
    ) -> Result<(), Error> {
        let partials = if measures { Some(self.partials(memory, limits, &plan)?) } else { None };
        let same_partials = self.partials == partials;
        let known = |number: usize, dispatch: &Dispatch| {
            self.dispatches.get(number).filter(|prepared| prepared.has_work_of(dispatch))
        };
        let fresh = plan.dispatches.iter().enumerate().filter(|(number, dispatch)| known(*number, dispatch).is_none());
        let mut tables = tables(memory, limits, fresh.map(|(_, dispatch)| dispatch))?.into_iter();

        let mut prepared = Vec::with_capacity(plan.dispatches.len());
        for (number, dispatch) in plan.dispatches.into_iter().enumerate() {
            let windows: Vec<_> = dispatch.windows.iter().map(|window| buffers[window.buffer].clone()).collect();
            let known = known(number, &dispatch);
            let placed = known.filter(|known| known.has_windows_of(&dispatch, &windows));
            if let Some(placed) = placed.filter(|_| same_partials) {
                prepared.push(placed.clone());
                continue;
            }
            let chunks = match known {
                Some(known) => known.chunks.clone(),
                None => tables.next().unwrap_or_else(|| unreachable!("a table was made for each fresh dispatch")),
            };
            let binder =
                Binder { memory, limits, dispatch: &dispatch, buffers: &windows, chunks: &chunks, spare: &self.spare };
            let update = match placed {
                Some(placed) => placed.update.clone(),
                None => {
                    let pipeline = self.pipelines.update(memory, limits, dispatch.kernel)?;
                    binder.update(pipeline, &self.pages[dispatch.page], advance)?
                }
            };
            let adopt = match dispatch.kernel.format.rounding {
                Rounding::Master => Some(self.pipelines.adopt(memory, limits, dispatch.kernel)?),
                Rounding::Exact | Rounding::Stochastic => None,
            };
            let measure = match &partials {
                Some((buffer, spans)) => {
                    let pipeline = self.pipelines.measure(memory, limits, dispatch.kernel)?;
                    Some(binder.measure(pipeline, buffer, spans[number])?)
                }
                None => None,
            };
            prepared.push(Prepared { dispatch, buffers: windows, chunks, update, adopt, measure });
        }
        advance.set_partials(memory, partials.as_ref().map(|(buffer, _)| buffer))?;
        (self.dispatches, self.partials) = (prepared, partials);
        Ok(())
    }

    /// Room for what the measure kernels of a plan find. Another plan's partials would count as found, so that a new
    /// division takes a new buffer; what lies between two spans stays 0.
    fn partials(&self, memory: &Memory, limits: &Limits, plan: &Plan) -> Result<(wgpu::Buffer, Vec<Span>), Error> {
        let mut end = 0;
        let span = |dispatch: &Dispatch| {
            let span = (end, dispatch.partials() * size_of::<Partial>() as u64);
            end = (span.0 + span.1).next_multiple_of(limits.alignment);
            span
        };
        let spans: Vec<_> = plan.dispatches.iter().map(span).collect();
        if let Some(known) = self.partials.as_ref().filter(|(_, known)| *known == spans) {
            return Ok(known.clone());
        }
        let [buffer] = memory.zeros([("miadam partials", end)], wgpu::BufferUsages::STORAGE)?;
        Ok((buffer, spans))
    }

    /// Takes another's state, and forgets all that is bound to its own.
    pub fn replace(&mut self, other: Self) {
        self.pages = other.pages;
        self.dispatches.clear();
        self.partials = None;
    }

    /// Replaces the integrals' buffers by dummies, and forgets all that is bound to them.
    pub fn drop_integrals(&mut self, memory: &Memory) -> Result<(), Error> {
        let dummy = |page: &PageBuffers| {
            let [integrals] = memory
                .zeros([("miadam no integrals", 0)], wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)?;
            Ok(PageBuffers { integrals, moments: page.moments.clone() })
        };
        self.pages = self.pages.iter().map(dummy).collect::<Result<_, Error>>()?;
        self.dispatches.clear();
        Ok(())
    }

    /// What comes before the coefficients are advanced.
    pub fn record_measure(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches.iter().filter_map(|prepared| prepared.measure.as_ref()).for_each(|bound| bound.record(pass));
    }

    /// What makes the master copies that are still to be made; 0 or more dispatches, after the coefficients are advanced.
    pub fn record_adopt(&self, pass: &mut wgpu::ComputePass<'_>) {
        for (pipeline, update) in self.adopting() {
            update.record_with(pipeline, pass);
        }
    }

    /// Each dispatch of parameters with master copies: the kernel that makes them, and what it is bound to.
    fn adopting(&self) -> impl Iterator<Item = (&wgpu::ComputePipeline, &Bound)> {
        self.dispatches.iter().filter_map(|prepared| Some((prepared.adopt.as_ref()?, &prepared.update)))
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches.iter().for_each(|prepared| prepared.update.record(pass));
    }

    pub fn adopt_dispatches(&self) -> usize {
        self.adopting().count()
    }

    pub fn dispatches(&self) -> usize {
        let of = |prepared: &Prepared| 1 + usize::from(prepared.measure.is_some());
        self.dispatches.iter().map(of).sum()
    }
}

impl Bound {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.record_with(&self.pipeline, pass);
    }

    fn record_with(&self, pipeline: &wgpu::ComputePipeline, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y] = self.workgroups;
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

/// What both kernels of a dispatch are bound to.
struct Binder<'a> {
    memory: &'a Memory,
    limits: &'a Limits,
    dispatch: &'a Dispatch,
    /// The buffers of the windows.
    buffers: &'a [wgpu::Buffer],
    chunks: &'a (wgpu::Buffer, u64),
    spare: &'a wgpu::Buffer,
}

impl Binder<'_> {
    fn update(&self, pipeline: wgpu::ComputePipeline, page: &PageBuffers, advance: &Advance) -> Result<Bound, Error> {
        use crate::layout::update::{COEFS, INTEGRALS, MOMENTS};
        let coefs = match self.dispatch.kernel.shape {
            Shape::Run => advance.coefs_of(self.dispatch.chunks[0].group),
            Shape::Table => advance.buffers.coefs.as_entire_buffer_binding(),
        };
        let moments = page.moments.as_entire_buffer_binding();
        let integrals = page.integrals.as_entire_buffer_binding();
        self.bind(pipeline, &[(COEFS, coefs), (MOMENTS, moments), (INTEGRALS, integrals)], self.dispatch.workgroups)
    }

    fn measure(
        &self,
        pipeline: wgpu::ComputePipeline,
        partials: &wgpu::Buffer,
        (offset, size): Span,
    ) -> Result<Bound, Error> {
        let partials = range(partials, offset, size);
        let workgroups = plan::grid(self.dispatch.partials(), self.limits);
        self.bind(pipeline, &[(crate::layout::measure::PARTIALS, partials)], workgroups)
    }

    /// Binds the chunks, the windows and what is the kernel's own.
    fn bind(
        &self,
        pipeline: wgpu::ComputePipeline,
        own: &[(u32, wgpu::BufferBinding<'_>)],
        workgroups: [u32; 2],
    ) -> Result<Bound, Error> {
        use crate::layout::update::{CHUNKS, WINDOWS};
        let Self { dispatch, buffers, limits, .. } = *self;
        let chunks = range(&self.chunks.0, self.chunks.1, size_of_val(&dispatch.chunks[..]) as u64);
        let windows = dispatch.windows.iter().zip(buffers);
        let windows = windows.map(|(&Window { offset, size, .. }, buffer)| range(buffer, offset, size));
        let spare = (dispatch.windows.len()..window_count(dispatch.kernel.form, limits))
            .map(|number| range(self.spare, number as u64 * limits.alignment, 16));
        let entries: Vec<_> = [(CHUNKS, chunks)]
            .into_iter()
            .chain(own.iter().cloned())
            .chain((WINDOWS..).zip(windows.chain(spare)))
            .map(|(binding, range)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) })
            .collect();
        let device = &self.memory.device;
        let bind_group = scoped(device, "bind the parameters", 0, || {
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("miadam parameters"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            })
        })?;
        Ok(Bound { pipeline, bind_group, workgroups })
    }
}

fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) }
}

impl Prepared {
    /// Whether the same kernel does the same to the windows, wherever they are.
    fn has_work_of(&self, other: &Dispatch) -> bool {
        let Dispatch { page, kernel, chunks, .. } = &self.dispatch;
        *page == other.page && *kernel == other.kernel && *chunks == other.chunks
    }

    fn has_windows_of(&self, other: &Dispatch, buffers: &[wgpu::Buffer]) -> bool {
        let same = |(own, other): (&Window, &Window)| own.offset == other.offset && own.size == other.size;
        self.buffers == buffers && self.dispatch.windows.iter().zip(&other.windows).all(same)
    }
}

/// The chunks of all dispatches in as few buffers as the limits allow, and where each one's lie.
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
