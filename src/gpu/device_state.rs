//! The optimizer's memory on the device: pages of state, counts, coefficients, the loss scale.

use super::memory::Memory;
use super::upload::Upload;
use crate::abi::{Coefs, Group, Progress, QUAD, Scaler};
use crate::error::Error;
use crate::options::Hyperparams;
use crate::param::Member;
use crate::plan::{Limits, Page, Segment, StateLayout};
use crate::planes::{Bank, Plane};
use crate::state::ParamState;

/// The optimizer's own buffers.
#[derive(Debug)]
pub(super) struct DeviceState {
    pub layout: StateLayout,
    pub pages: Vec<PageBuffers>,
    /// The groups' constants.
    pub groups: wgpu::Buffer,
    pub progress: wgpu::Buffer,
    pub coefs: wgpu::Buffer,
    /// The loss scale. The caller's kernels are bound to it, so that it outlives a loading.
    pub scaler: wgpu::Buffer,
}

/// The buffers of a page of state.
#[derive(Debug, Clone)]
pub(super) struct PageBuffers {
    pub moments: wgpu::Buffer,
    pub integrals: wgpu::Buffer,
}

impl PageBuffers {
    pub fn bank(&self, bank: Bank) -> &wgpu::Buffer {
        match bank {
            Bank::Moments => &self.moments,
            Bank::Integrals => &self.integrals,
        }
    }
}

/// The first byte of a plane of a segment in its page's bank. `index` counts the planes of that bank.
pub(super) fn plane_offset(segment: &Segment, bank: Bank, index: usize) -> u64 {
    let first = match bank {
        Bank::Moments => segment.moments,
        Bank::Integrals => segment.integrals,
    };
    (first + index as u64 * segment.stride) * QUAD * 4
}

/// The bytes of `len` elements of a plane that begins at `offset`.
pub(super) fn plane_bytes(plane: Plane, offset: u64, len: u64) -> std::ops::Range<usize> {
    offset as usize..(offset + plane.bytes(len)) as usize
}

impl DeviceState {
    /// State of 0 in the given layout. `scaler` is the loss scale's buffer, if there is one already.
    pub fn new(
        memory: &Memory,
        limits: &Limits,
        layout: StateLayout,
        groups: &[Hyperparams],
        scaler: Option<wgpu::Buffer>,
    ) -> Result<Self, Error> {
        let constants: Vec<_> = groups.iter().map(Group::new).collect();
        let needed = size_of_val(&constants[..]) as u64;
        if needed > limits.binding {
            let limit = "max_storage_buffer_binding_size";
            return Err(Error::LimitTooSmall { limit, needed, available: limits.binding });
        }
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let make = |page: &Page| {
            let [moments, integrals] =
                memory.zeros([("miadam moments", page.moments), ("miadam integrals", page.integrals)], usage)?;
            Ok(PageBuffers { moments, integrals })
        };
        let pages = layout.pages.iter().map(make).collect::<Result<_, _>>().map_err(|error| match error {
            Error::OutOfMemory { .. } => Error::OutOfMemory { bytes: layout.bytes() },
            other => other,
        })?;
        // An array of no groups could not be bound.
        let count = groups.len().max(1) as u64;
        let [progress, coefs] = memory.zeros(
            [("miadam progress", size_of::<Progress>() as u64), ("miadam coefs", count * size_of::<Coefs>() as u64)],
            usage,
        )?;
        let [groups] = memory.zeros([("miadam groups", count * size_of::<Group>() as u64)], usage)?;
        memory.write(&groups, 0, bytemuck::cast_slice(&constants))?;
        let scaler = match scaler {
            Some(scaler) => scaler,
            None => {
                // The caller's kernels may bind it either way.
                let size = size_of::<Scaler>() as u64;
                let [scaler] = memory.zeros([("miadam loss scale", size)], usage | Usage::UNIFORM)?;
                memory.write(&scaler, 0, bytemuck::bytes_of(&Scaler::starting_at(1.0)))?;
                scaler
            }
        };
        Ok(Self { layout, pages, groups, progress, coefs, scaler })
    }

    /// Puts the counts and every plane of a checkpoint where they belong, in pages that are 0. The loss scale is left as it
    /// is.
    pub fn fill(
        &self,
        memory: &Memory,
        members: &[Member],
        states: &[Option<&ParamState>],
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut upload = Upload::new(memory);
        let planes = |segment: &Segment| members[segment.tensor].planes;
        let slab = |segment: &Segment| (segment.page, Bank::ALL.map(|bank| planes(segment).count(bank)));
        for slab in self.layout.segments.chunk_by(|a, b| slab(a) == slab(b)) {
            for bank in Bank::ALL {
                // Plane after plane, each of which is contiguous over the slab.
                for index in 0..planes(&slab[0]).count(bank) {
                    for segment in slab {
                        let plane = planes(segment).within(bank).nth(index);
                        let state = states[segment.tensor];
                        // Integrals that the checkpoint lacks are not needed.
                        if let Some(values) = state.zip(plane).and_then(|(state, plane)| state.plane(plane)) {
                            let values = &values[segment.start as usize..(segment.start + segment.len) as usize];
                            let (buffer, offset) =
                                (self.pages[segment.page].bank(bank), plane_offset(segment, bank, index));
                            upload.push(buffer, offset, bytemuck::cast_slice(values))?;
                        }
                    }
                }
            }
        }
        upload.flush()?;
        memory.write(&self.progress, 0, bytemuck::bytes_of(progress))
    }

    pub fn set_scaler(&self, memory: &Memory, scaler: &Scaler) -> Result<(), Error> {
        memory.write(&self.scaler, 0, bytemuck::bytes_of(scaler))
    }

    /// The pages with dummies in place of the integrals' buffers.
    pub fn pages_without_integrals(&self, memory: &Memory) -> Result<Vec<PageBuffers>, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let without = |page: &PageBuffers| {
            let [integrals] = memory.zeros([("miadam no integrals", 0)], usage)?;
            Ok(PageBuffers { integrals, moments: page.moments.clone() })
        };
        self.pages.iter().map(without).collect()
    }

    /// One group's coefficients, for a dispatch that needs no other's.
    pub fn coefs_of(&self, group: u32) -> wgpu::BufferBinding<'_> {
        let size = size_of::<Coefs>() as u64;
        wgpu::BufferBinding { buffer: &self.coefs, offset: u64::from(group) * size, size: wgpu::BufferSize::new(size) }
    }
}
