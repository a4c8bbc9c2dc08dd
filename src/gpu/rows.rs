//! Rows of parameters that are split, pruned, duplicated or put in another order, on the GPU.

use bytemuck::Zeroable;

use super::binding::{Binding, Bound, Slice};
use super::device::Gpu;
use super::device_state::{DeviceState, plane_bytes};
use super::overlap::check_overlap;
use super::shader::Unit;
use crate::abi::{CELL_BYTES, CHUNK, Gather, QUAD, gather as binding};
use crate::error::Error;
use crate::optimizer::Optimizer;
use crate::options::StatePrecision;
use crate::plan::{Segment, grid};
use crate::planes::{Plane, Planes};

/// The rows that parameters go on with.
///
/// Their numbers lie on the device, 4 bytes each: row i goes on with the state of the row before whose number is the i-th, or
/// starts at 0 if that is [`FRESH_ROW`](crate::FRESH_ROW).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Rows that each of the parameters has now.
    pub before: usize,
    /// The numbers: `u32`, in a buffer with `BufferUsages::STORAGE`. Here [`Slice::offset`] must be a multiple of 16 and of the device's
    /// `min_storage_buffer_offset_alignment`, 256 under `Limits::default()`. The buffer and one storage binding must have room for
    /// `4 * count` bytes. They are read when the encoder runs.
    pub indices: Slice,
    /// How many numbers there are: the rows that each parameter has afterwards.
    pub count: usize,
}

impl Rows {
    /// `count` rows, whose numbers among the `before` rows of now are in `indices`.
    #[must_use]
    pub fn new(before: usize, indices: impl Into<Slice>, count: usize) -> Self {
        Self { before, indices: indices.into(), count }
    }

    /// Checks the numbers' place, but not the numbers, which only the device knows.
    fn check(&self, binding: u64, alignment: u64) -> Result<u64, Error> {
        let Slice { ref buffer, offset } = self.indices;
        let wrong = |reason: &str| Err(Error::RowBuffer { reason: reason.to_owned() });
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return wrong("lacks BufferUsages::STORAGE; create it with that usage");
        }
        if !offset.is_multiple_of(alignment) {
            return wrong(&format!("is to be read from byte {offset}; move that to a multiple of {alignment}"));
        }
        let size = (self.count as u64).saturating_mul(4);
        if size.saturating_add(offset) > buffer.size() || size > binding {
            return wrong(&format!("has no room for {} numbers, 4 bytes each; make it larger", self.count));
        }
        Ok(size)
    }
}

/// A dispatch of the gather kernel that is not recorded yet.
struct Gathering {
    kernel: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

impl Optimizer<Gpu> {
    /// Records the change to other rows of parameters, after they have been split, pruned, duplicated or put in another order,
    /// as in Gaussian splatting.
    ///
    /// All of their state follows, on the device: moments, integrals, master copy and average. The parameters themselves are
    /// the caller's: gather them alike, and give fresh rows a value. `bindings` names the parameters, with their new places, each of
    /// [`Rows::count`] rows of the width that it had. Their counts of steps stay, so that fresh rows have no bias correction of
    /// their own. The average of a fresh row starts with its first averaging, and is NaN before. Parameters of the same rows are
    /// best named in one call.
    ///
    /// State in [fewer bits](crate::StatePrecision) is rounded to nearest once more where an element comes to share a scale with a
    /// larger one than before.
    ///
    /// A number that is neither that of a row nor [`FRESH_ROW`](crate::FRESH_ROW) is found on the device: nothing is read for
    /// it, its row starts at 0, and [`Report::bad_rows`](crate::Report::bad_rows) counts it.
    ///
    /// The encoder must be submitted before the next step runs. If it is dropped, the state of these parameters is 0.
    ///
    /// ```
    /// # use miadam::{Binding, FRESH_ROW, Hyperparams, MiAdam, Param, ParamGroup, Plane, Rows};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    /// # let buffer = |contents: &[u8]| gpu.buffer_with("tensor", contents, usage);
    /// # let ones = [1.0_f32; 8].map(f32::to_ne_bytes).concat();
    /// # let (points, gradients) = (buffer(&ones[..24])?, buffer(&ones[..24])?);
    /// # let group = ParamGroup::new(Hyperparams::default(), [Param::new("points", 6)]);
    /// # let mut optimizer = MiAdam::new(device, queue, [group], [Binding::new("points", &points, &gradients)])?;
    /// # gpu.queue.submit([{ let mut encoder = gpu.encoder(); optimizer.step(&mut encoder)?; encoder.finish() }]);
    /// // Of 3 points with 2 coordinates the first is pruned, the last one is split, and one is new.
    /// let rows = buffer(&[1, 2, 2, FRESH_ROW].map(u32::to_ne_bytes).concat())?;
    /// let (more_points, more_gradients) = (buffer(&ones)?, buffer(&ones)?);
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let moved = Binding::new("points", &more_points, &more_gradients);
    /// optimizer.remap(&mut encoder, [moved], &Rows::new(3, &rows, 4))?;
    /// let state = optimizer.read_state(&mut encoder)?;
    /// queue.submit([encoder.finish()]);
    /// let state = state.wait()?;
    /// let means = state.params[0].plane(Plane::FirstMoment).unwrap();
    /// assert_eq!(means.iter().map(|m| (m * 10.0).round()).collect::<Vec<_>>(), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no parameter has such a name, one is named twice, its length is no multiple of [`Rows::before`], a tensor or the
    /// numbers cannot be bound, tensors overlap, or the device has no memory or is lost. Nothing is changed then, and nothing
    /// recorded.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn remap<'a>(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        bindings: impl IntoIterator<Item = Binding<'a>>,
        rows: &Rows,
    ) -> Result<(), Error> {
        self.course.check_averages_out()?;
        self.device.memory.check_alive()?;
        let limits = self.device.limits;
        let size = rows.check(limits.binding, limits.alignment)?;
        let bindings = self.course.sort_bindings(bindings, |binding| binding.name)?;
        let numbers: Vec<_> = (0..bindings.len()).filter(|&number| bindings[number].is_some()).collect();
        let (course, change, widths) = self.course.with_rows(&numbers, rows.before, rows.count)?;
        let bound = bindings.into_iter().zip(&course.members).zip(&self.device.bound);
        let bound = bound.map(|((binding, member), bound)| match binding {
            Some(binding) => Bound::new(&member.param, binding),
            None => Ok(bound.clone()),
        });
        let bound: Vec<_> = bound.collect::<Result<_, _>>()?;
        let members = course.members.iter().zip(&bound).filter(|(member, _)| member.takes_part());
        check_overlap(members.map(|(member, bound)| (&member.param, bound)), &self.device.others.grads)?;

        let changed = self.device.make_change(&self.course, &course, &change, bound)?;
        let mut gatherings = Vec::new();
        for (number, width) in numbers.into_iter().zip(widths) {
            let planes = [&self.course, &course].map(|course| course.members[number].planes);
            gatherings.extend(self.device.gatherings(&changed.state, (number, planes), width, rows, size)?);
        }
        self.device.memory.check_alive()?;
        self.device.memory.hold(encoder);
        self.device.take_change(changed);
        self.course.replace(course);
        let label = Some("miadam remap");
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None });
        self.device.moves.record(&mut pass);
        for Gathering { kernel, bind_group, workgroups: [x, y] } in &gatherings {
            pass.set_pipeline(kernel);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
        Ok(())
    }
}

impl Gpu {
    /// The dispatches that gather all planes of a parameter from the state before, which is the present one.
    fn gatherings(
        &mut self,
        after: &DeviceState,
        (number, planes): (usize, [Planes; 2]),
        width: usize,
        rows: &Rows,
        size: u64,
    ) -> Result<Vec<Gathering>, Error> {
        let mut by_unit: Vec<(Unit, Vec<Plane>)> = Vec::new();
        for plane in planes[0].iter() {
            let unit = unit(planes.map(|planes| planes.precision_of(plane)), width);
            // Of the same bank, too, since a dispatch binds one.
            match by_unit.last_mut() {
                Some((last, list)) if *last == unit && list[0].bank() == plane.bank() => list.push(plane),
                _ => by_unit.push((unit, vec![plane])),
            }
        }
        let mut gatherings = Vec::new();
        let own = |segment: &&Segment| segment.tensor == number;
        // Each pair of a segment before and one after; the first of each takes its part in counting.
        for (first, from) in self.state.layout.segments.iter().filter(own).enumerate() {
            for to in after.layout.segments.iter().filter(own) {
                for (unit, list) in &by_unit {
                    let kernel = self.kernels.gather(&self.memory, *unit)?;
                    let parts = list.iter().flat_map(|&plane| {
                        let is_first = first == 0;
                        let [before, after] = [(from, planes[0]), (to, planes[1])]
                            .map(|(segment, planes)| plane_bytes(segment, planes, plane).start);
                        parts(*unit, (from, before), (to, after), width).map(move |part| Gather {
                            count: rows.before as u32,
                            counts: u32::from(is_first && plane == Plane::FirstMoment),
                            fills: u32::from(is_first && plane == Plane::Average),
                            is_signed: u32::from(plane.is_signed()),
                            ..part
                        })
                    });
                    let parts: Vec<_> = parts.collect();
                    let bank = list[0].bank();
                    let [before, after] =
                        [&self.state.pages[from.page], &after.pages[to.page]].map(|page| &**page.bank(bank));
                    gatherings.push(self.gathering(&kernel, &parts, (rows, size), [before, after])?);
                }
            }
        }
        Ok(gatherings)
    }

    fn gathering(
        &self,
        kernel: &wgpu::ComputePipeline,
        list: &[Gather],
        (rows, size): (&Rows, u64),
        [before, after]: [&wgpu::Buffer; 2],
    ) -> Result<Gathering, Error> {
        let needed = size_of_val(list) as u64;
        if needed > self.limits.binding.min(self.limits.buffer) {
            let limit = "max_storage_buffer_binding_size";
            return Err(Error::LimitTooSmall { limit, needed, available: self.limits.binding });
        }
        let table = self.memory.filled("miadam gather", list)?;
        let numbers = wgpu::BufferBinding {
            buffer: &rows.indices.buffer,
            offset: rows.indices.offset,
            size: wgpu::BufferSize::new(size),
        };
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let bind_group = self.memory.scoped("bind the row numbers", 0, || {
            self.memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("miadam gather"),
                layout: &kernel.get_bind_group_layout(0),
                entries: &[
                    entry(binding::GATHERS, table.as_entire_binding()),
                    entry(binding::ROWS, wgpu::BindingResource::Buffer(numbers)),
                    entry(binding::BEFORE, before.as_entire_binding()),
                    entry(binding::AFTER, after.as_entire_binding()),
                    entry(binding::PROGRESS, self.state.progress.as_entire_binding()),
                ],
            })
        })?;
        Ok(Gathering { kernel: kernel.clone(), bind_group, workgroups: grid(list.len() as u64, &self.limits) })
    }
}

/// What is gathered at once of a plane with these precisions before and after.
fn unit([before, after]: [StatePrecision; 2], width: usize) -> Unit {
    match (before, after) {
        (StatePrecision::F32, StatePrecision::F32) if width.is_multiple_of(QUAD as usize) => Unit::Quad,
        (StatePrecision::F32, StatePrecision::F32) => Unit::Word,
        _ => Unit::Bundle { before, after },
    }
}

/// A plane's parts of at most as many units as one workgroup gathers, from a segment before to one after, with the plane's first
/// byte in each.
fn parts(
    unit: Unit,
    (from, before): (&Segment, u64),
    (to, after): (&Segment, u64),
    width: usize,
) -> impl Iterator<Item = Gather> {
    // Elements of a unit, those that the other numbers count, bytes of what is read and written at once, and how often for a unit.
    let (each, counted, bytes, times) = match unit {
        Unit::Word => (1, 1, 4, 1),
        Unit::Quad => (QUAD, QUAD, CELL_BYTES, 1),
        Unit::Bundle { after, .. } => (QUAD * after.bundle(), 1, CELL_BYTES, after.bundle() / after.width()),
    };
    let whole = Gather {
        before: (before / bytes) as u32,
        from_start: (from.start / counted) as u32,
        from_end: ((from.start + from.len) / counted) as u32,
        width: (width as u64 / counted) as u32,
        ..Gather::zeroed()
    };
    let start = to.start;
    let len = match unit {
        Unit::Bundle { after, .. } => after.bundles(to.len),
        _ => to.len.div_ceil(each),
    };
    (0..len).step_by(CHUNK as usize).map(move |first| Gather {
        after: (after / bytes + first * times) as u32,
        start: ((start + first * each) / counted) as u32,
        len: (len - first).min(CHUNK) as u32,
        ..whole
    })
}
