use super::pipelines::window_count;
use super::{Advance, Memory, Pipelines, scoped};
use crate::Error;
use crate::plan::{Dispatch, Limits, Page, Plan, Shape, StateLayout, Window};

/// The state's buffers, the update's kernels, and the dispatches of the current plan.
#[derive(Debug)]
pub(crate) struct Update {
    pub pages: Vec<PageBuffers>,
    pipelines: Pipelines,
    /// Bound where a dispatch has fewer windows than its shader: ranges that no other binding overlaps.
    spare: wgpu::Buffer,
    dispatches: Vec<Prepared>,
}

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
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
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
        Ok(Self { pages, pipelines: Pipelines::default(), spare, dispatches: Vec::new() })
    }

    /// Makes the dispatches of a plan, or leaves those of the last one if that fails. What the two plans have in
    /// common is kept: engines move a few tensors, or all gradients to the same offsets in other buffers.
    pub fn prepare(
        &mut self,
        memory: &Memory,
        limits: &Limits,
        plan: Plan,
        buffers: &[wgpu::Buffer],
        advance: &Advance,
    ) -> Result<(), Error> {
        let pipelines = plan.dispatches.iter().map(|dispatch| self.pipelines.get(memory, limits, dispatch.kernel));
        let pipelines: Vec<_> = pipelines.collect::<Result<_, _>>()?;
        let known = |number: usize, dispatch: &Dispatch| {
            self.dispatches.get(number).filter(|prepared| prepared.has_work_of(dispatch))
        };
        let fresh = plan.dispatches.iter().enumerate().filter(|(number, dispatch)| known(*number, dispatch).is_none());
        let mut tables = tables(memory, limits, fresh.map(|(_, dispatch)| dispatch))?.into_iter();

        let mut prepared = Vec::with_capacity(pipelines.len());
        for (number, (dispatch, pipeline)) in plan.dispatches.into_iter().zip(pipelines).enumerate() {
            let windows: Vec<_> = dispatch.windows.iter().map(|window| buffers[window.buffer].clone()).collect();
            let known = known(number, &dispatch);
            if let Some(known) = known.filter(|known| known.has_windows_of(&dispatch, &windows)) {
                prepared.push(known.clone());
                continue;
            }
            let chunks = match known {
                Some(known) => known.chunks.clone(),
                None => tables.next().unwrap_or_else(|| unreachable!("a table was made for each fresh dispatch")),
            };
            let bind_group = scoped(&memory.device, "bind the parameters", 0, || {
                self.bind(memory, limits, &dispatch, &windows, &chunks, &pipeline, advance)
            })?;
            prepared.push(Prepared { dispatch, buffers: windows, chunks, pipeline, bind_group });
        }
        self.dispatches = prepared;
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn bind(
        &self,
        memory: &Memory,
        limits: &Limits,
        dispatch: &Dispatch,
        buffers: &[wgpu::Buffer],
        chunks: &(wgpu::Buffer, u64),
        pipeline: &wgpu::ComputePipeline,
        advance: &Advance,
    ) -> wgpu::BindGroup {
        let range = |buffer, offset, size| wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) };
        let page = &self.pages[dispatch.page];
        let coefs = match dispatch.kernel.shape {
            Shape::Run => advance.coefs_of(dispatch.chunks[0].group),
            Shape::Table => advance.coefs.as_entire_buffer_binding(),
        };
        let own = [
            range(&chunks.0, chunks.1, size_of_val(&dispatch.chunks[..]) as u64),
            coefs,
            page.moments.as_entire_buffer_binding(),
            page.integrals.as_entire_buffer_binding(),
        ];
        let windows = dispatch.windows.iter().zip(buffers);
        let windows = windows.map(|(&Window { offset, size, .. }, buffer)| range(buffer, offset, size));
        let spare = (dispatch.windows.len()..window_count(dispatch.kernel.form, limits))
            .map(|number| range(&self.spare, number as u64 * limits.alignment, 16));
        let entries: Vec<_> = (0..)
            .zip(own.into_iter().chain(windows).chain(spare))
            .map(|(binding, range)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) })
            .collect();
        memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("miadam update"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for Prepared { dispatch, pipeline, bind_group, .. } in &self.dispatches {
            let [x, y] = dispatch.workgroups;
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(x, y, 1);
        }
    }

    pub fn dispatches(&self) -> usize {
        self.dispatches.len()
    }
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
        if contents.last().is_none_or(|last| (last.len() + chunks.len()) as u64 > limits.buffer) {
            contents.push(Vec::new());
        }
        let number = contents.len() - 1;
        let table = &mut contents[number];
        places.push((number, table.len() as u64));
        table.extend(chunks);
        table.resize(table.len().next_multiple_of(limits.alignment as usize), 0);
    }
    let buffers = contents.iter().map(|contents| memory.filled("miadam chunks", contents));
    let buffers: Vec<_> = buffers.collect::<Result<_, _>>()?;
    Ok(places.into_iter().map(|(number, offset)| (buffers[number].clone(), offset)).collect())
}
