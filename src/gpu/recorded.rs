//! The host's word to the device with each recorded step: settings for the gradients, and each clock's numbers.

use super::device_state::DeviceState;
use super::kernels::Kernels;
use super::memory::Memory;
use crate::abi::{Partial, Recorded, Tick, advance as binding};
use crate::error::Error;

/// Bytes of a buffer of slots, at most. Then another buffer takes over.
const BUFFER: u64 = 1 << 16;

/// Slots of a buffer, at least.
const SLOTS: u64 = 16;

/// A buffer of slots, and the advance kernel bound to it.
///
/// Each slot is written once: a write lands before the whole next submission, so a slot that a recorded step reads must
/// not be written again. A full buffer is replaced, and lives on in the commands that use it.
#[derive(Debug)]
pub(super) struct RecordedSteps {
    buffer: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
    /// The finds of the measure kernels, or a dummy where there are none.
    partials: wgpu::Buffer,
    /// Bytes of a slot's contents.
    len: u64,
    /// Bytes from one slot to the next, a multiple of the offset alignment.
    slot: u64,
    used: u64,
    /// The contents of the last slot used.
    last: Vec<u8>,
    /// The contents of the next one, kept for their memory.
    next: Vec<u8>,
}

impl RecordedSteps {
    /// Slots for so many clocks. `partials` is `None` where steps do not measure.
    pub fn new(
        memory: &Memory,
        kernels: &Kernels,
        state: &DeviceState,
        clocks: usize,
        alignment: u64,
        partials: Option<&wgpu::Buffer>,
    ) -> Result<Self, Error> {
        let partials = match partials {
            Some(partials) => partials.clone(),
            None => {
                let [dummy] =
                    memory.zeros([("miadam no partials", size_of::<Partial>() as u64)], wgpu::BufferUsages::STORAGE)?;
                dummy
            }
        };
        let len = (size_of::<Recorded>() + clocks * size_of::<Tick>()) as u64;
        let slot = len.next_multiple_of(alignment);
        let (buffer, bind_group) = slots(memory, kernels, state, &partials, len, slot)?;
        Ok(Self { buffer, bind_group, partials, len, slot, used: 0, last: Vec::new(), next: Vec::new() })
    }

    /// Whether it is bound to these partials.
    pub fn has_partials(&self, partials: &wgpu::Buffer) -> bool {
        self.partials == *partials
    }

    /// The same slots, bound to the state as it is now. `partials` is `None` where they stay.
    pub fn rebound(
        &self,
        memory: &Memory,
        kernels: &Kernels,
        state: &DeviceState,
        partials: Option<&wgpu::Buffer>,
    ) -> Result<Self, Error> {
        let (buffer, partials) = (self.buffer.clone(), partials.unwrap_or(&self.partials).clone());
        let bind_group = bind(memory, kernels, state, &partials, &buffer, self.len)?;
        let &Self { len, slot, used, .. } = self;
        Ok(Self { buffer, bind_group, partials, len, slot, used, last: self.last.clone(), next: Vec::new() })
    }

    /// Tells the device about the step that is recorded next. Equal steps in a row share a slot.
    pub fn set(
        &mut self,
        memory: &Memory,
        kernels: &Kernels,
        state: &DeviceState,
        recorded: &Recorded,
        ticks: impl Iterator<Item = Tick>,
    ) -> Result<(), Error> {
        self.next.clear();
        self.next.extend(bytemuck::bytes_of(recorded));
        ticks.for_each(|tick| self.next.extend(bytemuck::bytes_of(&tick)));
        if self.used > 0 && self.next == self.last {
            return Ok(());
        }
        if (self.used + 1) * self.slot > self.buffer.size() {
            (self.buffer, self.bind_group) = slots(memory, kernels, state, &self.partials, self.len, self.slot)?;
            self.used = 0;
        }
        memory.write(&self.buffer, self.used * self.slot, &self.next)?;
        self.used += 1;
        std::mem::swap(&mut self.last, &mut self.next);
        Ok(())
    }

    pub fn record(&self, pipeline: &wgpu::ComputePipeline, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.bind_group, &[((self.used - 1) * self.slot) as u32]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

fn slots(
    memory: &Memory,
    kernels: &Kernels,
    state: &DeviceState,
    partials: &wgpu::Buffer,
    len: u64,
    slot: u64,
) -> Result<(wgpu::Buffer, wgpu::BindGroup), Error> {
    let size = (BUFFER / slot).max(SLOTS) * slot;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
    let [buffer] = memory.zeros([("miadam recorded", size)], usage)?;
    let bind_group = bind(memory, kernels, state, partials, &buffer, len)?;
    Ok((buffer, bind_group))
}

fn bind(
    memory: &Memory,
    kernels: &Kernels,
    DeviceState { groups, progress, clocks, scaler, .. }: &DeviceState,
    partials: &wgpu::Buffer,
    recorded: &wgpu::Buffer,
    len: u64,
) -> Result<wgpu::BindGroup, Error> {
    let slot = wgpu::BufferBinding { buffer: recorded, offset: 0, size: wgpu::BufferSize::new(len) };
    let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
    memory.scoped("bind the advance kernel", 0, || {
        memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("miadam advance"),
            layout: &kernels.advance_bindings,
            entries: &[
                entry(binding::GROUPS, groups.as_entire_binding()),
                entry(binding::RECORDED, wgpu::BindingResource::Buffer(slot)),
                entry(binding::PROGRESS, progress.as_entire_binding()),
                entry(binding::COEFS, clocks.coefs.as_entire_binding()),
                entry(binding::PARTIALS, partials.as_entire_binding()),
                entry(binding::SCALER, scaler.current().as_entire_binding()),
                entry(binding::CLOCKS, clocks.counts.as_entire_binding()),
            ],
        })
    })
}
