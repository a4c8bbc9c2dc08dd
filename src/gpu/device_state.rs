//! The optimizer's memory on the device: pages of state, counts, coefficients, the loss scale.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::memory::Memory;
use super::owned::Owned;
use super::upload::Upload;
use crate::abi::{CELL_BYTES, Coefs, Group, Progress, QUAD, Scaler};
use crate::clock::Clock;
use crate::course::Course;
use crate::error::Error;
use crate::math::packed::pack;
use crate::options::{Hyperparams, StatePrecision};
use crate::param::Member;
use crate::plan::{Limits, Page, Segment, StateLayout};
use crate::planes::{Bank, Plane, Planes};
use crate::state::ParamState;

/// The optimizer's own buffers.
#[derive(Debug)]
pub(super) struct DeviceState {
    pub layout: StateLayout,
    pub pages: Vec<PageBuffers>,
    /// The groups' constants.
    pub groups: wgpu::Buffer,
    pub progress: wgpu::Buffer,
    /// The clocks' counts, and the coefficients that come of them.
    pub clocks: ClockBuffers,
    pub scaler: ScalerBuffers,
}

/// The buffers of the loss scale and the verdict on the gradients. The caller's kernels are bound to them, so that they outlive
/// a loading.
#[derive(Debug, Clone)]
pub(super) struct ScalerBuffers {
    pub own: wgpu::Buffer,
    /// The one that somebody else writes, while the optimizer follows.
    pub leader: Option<wgpu::Buffer>,
}

impl ScalerBuffers {
    fn new(memory: &Memory) -> Result<Self, Error> {
        // The caller's kernels may bind it either way.
        let usage = STATE | wgpu::BufferUsages::UNIFORM;
        let [own] = memory.zeros([("miadam loss scale", size_of::<Scaler>() as u64)], usage)?;
        memory.write(&own, 0, bytemuck::bytes_of(&Scaler::starting_at(1.0)))?;
        Ok(Self { own, leader: None })
    }

    /// The one that steps go by.
    pub fn current(&self) -> &wgpu::Buffer {
        self.leader.as_ref().unwrap_or(&self.own)
    }
}

/// The buffers of a page of state.
#[derive(Debug, Clone)]
pub(super) struct PageBuffers {
    pub moments: Owned,
    pub integrals: Owned,
}

/// The buffers of what there is for each clock.
#[derive(Debug, Clone)]
pub(super) struct ClockBuffers {
    /// Words from a clock to the next.
    pub words: usize,
    /// The number of gains of each clock.
    pub orders: Arc<[usize]>,
    /// All clocks, and [`AVERAGES_IN`] bytes behind them.
    pub counts: Owned,
    pub coefs: wgpu::Buffer,
}

impl ClockBuffers {
    /// Clocks with so many gains each, at 0.
    pub fn new(memory: &Memory, limits: &Limits, orders: impl Iterator<Item = usize>) -> Result<Self, Error> {
        let orders: Arc<[usize]> = orders.collect();
        let words = Clock::words(orders.iter().copied().max().unwrap_or(0));
        let size = (orders.len() * size_of::<Coefs>()) as u64;
        check_binding(limits, size)?;
        let counts = 4 * orders.len() as u64 * words as u64 + AVERAGES_IN;
        check_binding(limits, counts)?;
        let [counts] = memory.owned_zeros([("miadam clocks", counts)], STATE)?;
        let [coefs] = memory.zeros([("miadam coefs", size)], STATE)?;
        Ok(Self { words, orders, counts, coefs })
    }

    /// One clock's coefficients, for a dispatch that needs no other's.
    pub fn coefs_of(&self, clock: u32) -> wgpu::BufferBinding<'_> {
        let size = size_of::<Coefs>() as u64;
        wgpu::BufferBinding { buffer: &self.coefs, offset: u64::from(clock) * size, size: wgpu::BufferSize::new(size) }
    }
}

/// Bytes behind the clocks' counts: a quad whose first word is 1 while averages are in the parameters' place.
pub(super) const AVERAGES_IN: u64 = 4 * QUAD;

/// The usage of buffers that hold state: kernels and copies reach them.
pub(super) const STATE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

fn check_binding(limits: &Limits, needed: u64) -> Result<(), Error> {
    let limit = "max_storage_buffer_binding_size";
    if needed <= limits.binding {
        Ok(())
    } else {
        Err(Error::LimitTooSmall { limit, needed, available: limits.binding })
    }
}

/// The groups' constants, on the device.
pub(super) fn constants(memory: &Memory, limits: &Limits, groups: &[Hyperparams]) -> Result<wgpu::Buffer, Error> {
    let constants: Vec<_> = groups.iter().map(Group::new).collect();
    check_binding(limits, size_of_val(&constants[..]) as u64)?;
    memory.filled("miadam groups", &constants)
}

impl PageBuffers {
    pub fn new(memory: &Memory, page: &Page) -> Result<Self, Error> {
        let [moments, integrals] =
            memory.owned_zeros([("miadam moments", page.moments), ("miadam integrals", page.integrals)], STATE)?;
        Ok(Self { moments, integrals })
    }

    pub fn bank(&self, bank: Bank) -> &Owned {
        match bank {
            Bank::Moments => &self.moments,
            Bank::Integrals => &self.integrals,
        }
    }
}

/// The bytes of a plane of a segment in its page's bank. They are whole words of the plane, and may end within its last cell if that is
/// `f32`.
pub(super) fn plane_bytes(segment: &Segment, planes: Planes, plane: Plane) -> Range<u64> {
    let number =
        planes.within(plane.bank()).take_while(|own| *own != plane).filter(|own| own.is_exact() == plane.is_exact());
    let (number, stride) = (number.count() as u64, segment.stride);
    let first = match plane.bank() {
        Bank::Integrals => segment.integrals + number * stride,
        Bank::Moments if plane.is_exact() => segment.exact + number * stride * planes.precision.width(),
        Bank::Moments => segment.moments + number * stride,
    };
    let words = planes.words(plane, segment.len as usize) as u64;
    first * CELL_BYTES..first * CELL_BYTES + 4 * words
}

/// The words of a plane with these elements.
fn packed(planes: Planes, plane: Plane, values: &[f32]) -> Cow<'_, [f32]> {
    let precision = planes.precision_of(plane);
    if precision == StatePrecision::F32 {
        return values.into();
    }
    let mut words = vec![0.0; planes.words(plane, values.len())];
    pack(precision, plane.is_signed(), values, &mut words);
    words.into()
}

impl DeviceState {
    /// State of 0 in the given layout. `scaler` has the loss scale's buffers, if there are any already.
    pub fn new(
        memory: &Memory,
        limits: &Limits,
        layout: StateLayout,
        course: &Course,
        scaler: Option<ScalerBuffers>,
    ) -> Result<Self, Error> {
        let groups = constants(memory, limits, &course.groups)?;
        let pages = layout.pages.iter().map(|page| PageBuffers::new(memory, page)).collect::<Result<_, _>>();
        let pages = pages.map_err(|error| match error {
            Error::OutOfMemory { .. } => Error::OutOfMemory { bytes: layout.bytes() },
            other => other,
        })?;
        let [progress] = memory.zeros([("miadam progress", size_of::<Progress>() as u64)], STATE)?;
        let clocks = ClockBuffers::new(memory, limits, course.orders())?;
        let scaler = match scaler {
            Some(scaler) => scaler,
            None => ScalerBuffers::new(memory)?,
        };
        Ok(Self { layout, pages, groups, progress, clocks, scaler })
    }

    /// Puts the counts and every plane of a checkpoint where they belong, in pages that are 0. The loss scale is left as it
    /// is.
    pub fn fill(
        &self,
        memory: &Memory,
        members: &[Member],
        states: &[Option<&ParamState>],
        clocks: &[Clock],
        averages_in: bool,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut upload = Upload::new(memory);
        let planes = |segment: &Segment| members[segment.tensor].planes;
        let slab = |segment: &Segment| {
            let planes = planes(segment);
            (segment.page, planes.precision, Bank::ALL.map(|bank| planes.count(bank)))
        };
        for slab in self.layout.segments.chunk_by(|a, b| slab(a) == slab(b)) {
            for bank in Bank::ALL {
                // Plane after plane, each of which is contiguous over the slab.
                for index in 0..planes(&slab[0]).count(bank) {
                    for segment in slab {
                        let (planes, state) = (planes(segment), states[segment.tensor]);
                        let Some(plane) = planes.within(bank).nth(index) else { continue };
                        let Some(values) = state.and_then(|state| state.source(plane)) else { continue };
                        let values = &values[segment.start as usize..(segment.start + segment.len) as usize];
                        let words = packed(planes, plane, values);
                        let offset = plane_bytes(segment, planes, plane).start;
                        upload.push(self.pages[segment.page].bank(bank), offset, bytemuck::cast_slice(&words))?;
                    }
                }
            }
        }
        upload.flush()?;
        let words = clocks.iter().flat_map(|clock| clock.to_words(self.clocks.words));
        let words: Vec<_> = words.chain([u32::from(averages_in)]).collect();
        memory.write(&self.clocks.counts, 0, bytemuck::cast_slice(&words))?;
        memory.write(&self.progress, 0, bytemuck::bytes_of(progress))
    }

    pub fn set_scaler(&self, memory: &Memory, scaler: &Scaler) -> Result<(), Error> {
        memory.write(&self.scaler.own, 0, bytemuck::bytes_of(scaler))
    }

    /// The pages with dummies in place of the integrals' buffers.
    pub fn pages_without_integrals(&self, memory: &Memory) -> Result<Vec<PageBuffers>, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let without = |page: &PageBuffers| {
            let [integrals] = memory.owned_zeros([("miadam no integrals", 0)], usage)?;
            Ok(PageBuffers { integrals, moments: page.moments.clone() })
        };
        self.pages.iter().map(without).collect()
    }
}
