use bytemuck::Zeroable;

use super::pipelines::{compile, storage_entry};
use super::{Memory, scoped, shader};
use crate::Error;
use crate::layout::{Coefs, Gradients, Group, Partial, Progress, Rates, Scaler, advance as binding};
use crate::plan::Limits;

/// Bytes of recorded numbers that are written ahead of the device, at most, before another buffer takes over.
const RECORDED_BUFFER: u64 = 1 << 16;

/// The step counter, the groups' coefficients, the loss scale, and the kernel that advances them.
#[derive(Debug)]
pub(crate) struct Advance {
    bindings: wgpu::BindGroupLayout,
    plain: wgpu::ComputePipeline,
    /// For steps that measure their gradients; compiled when the first does.
    measuring: Option<wgpu::ComputePipeline>,
    pub buffers: Buffers,
    recorded: RecordedBuffer,
    measures: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    groups: wgpu::Buffer,
    pub progress: wgpu::Buffer,
    pub coefs: wgpu::Buffer,
    /// What the measure kernels find; a dummy where there are none.
    partials: wgpu::Buffer,
    pub scaler: wgpu::Buffer,
}

/// A buffer of slots, each written once with what the host sets for a step: a write lands before the whole next
/// submission, so a slot that a recorded step reads must not be written again. A full buffer is replaced, and lives on
/// in the commands that use it.
#[derive(Debug)]
struct RecordedBuffer {
    buffer: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
    /// Bytes of a slot's contents.
    len: u64,
    /// Bytes from a slot to the next, a multiple of the offset alignment.
    slot: u64,
    used: u64,
    /// What the last slot used holds.
    last: Vec<u8>,
    /// What is to be recorded next; kept for its memory.
    next: Vec<u8>,
}

impl Advance {
    /// `scaler` holds the loss scale, if there is such a buffer already: the caller's kernels are bound to it.
    pub fn new(
        memory: &Memory,
        groups: &[Group],
        limits: &Limits,
        scaler: Option<wgpu::Buffer>,
    ) -> Result<Self, Error> {
        // An array of no groups cannot be bound; nothing uses the coefficients of this one.
        let groups = if groups.is_empty() { &[Group::zeroed()] } else { groups };
        let needed = size_of_val(groups) as u64;
        if needed > limits.binding {
            let limit = "max_storage_buffer_binding_size";
            return Err(Error::LimitTooSmall { limit, needed, available: limits.binding });
        }
        let (bindings, plain) = scoped(&memory.device, "compile the advance kernel", 0, || {
            let bindings = bind_group_layout(&memory.device);
            let plain = pipeline(&memory.device, &bindings, false);
            (bindings, plain)
        })?;
        let buffers = Buffers::new(memory, groups, scaler)?;
        let len = (size_of::<Gradients>() + size_of_val(groups) / size_of::<Group>() * size_of::<Rates>()) as u64;
        let recorded = RecordedBuffer::new(memory, &bindings, &buffers, len, len.next_multiple_of(limits.alignment))?;
        Ok(Self { bindings, plain, measuring: None, buffers, recorded, measures: false })
    }

    /// From the next recorded step on, uses what measure kernels leave in `partials`, or none.
    pub fn set_partials(&mut self, memory: &Memory, partials: Option<&wgpu::Buffer>) -> Result<(), Error> {
        let measures = partials.is_some();
        if measures && self.measuring.is_none() {
            let compile = || pipeline(&memory.device, &self.bindings, true);
            self.measuring = Some(scoped(&memory.device, "compile the advance kernel", 0, compile)?);
        }
        if let Some(partials) = partials.filter(|&partials| *partials != self.buffers.partials) {
            let buffers = Buffers { partials: partials.clone(), ..self.buffers.clone() };
            let RecordedBuffer { buffer, len, .. } = &self.recorded;
            self.recorded.bind_group = bind(memory, &self.bindings, &buffers, buffer, *len)?;
            self.buffers = buffers;
        }
        self.measures = measures;
        Ok(())
    }

    /// Makes what the host sets for the step to be recorded known to the device; equal numbers in a row share a slot.
    pub fn set(
        &mut self,
        memory: &Memory,
        gradients: &Gradients,
        rates: impl Iterator<Item = Rates>,
    ) -> Result<(), Error> {
        let recorded = &mut self.recorded;
        recorded.next.clear();
        recorded.next.extend(bytemuck::bytes_of(gradients));
        rates.for_each(|rates| recorded.next.extend(bytemuck::bytes_of(&rates)));
        if recorded.used > 0 && recorded.next == recorded.last {
            return Ok(());
        }
        if (recorded.used + 1) * recorded.slot > recorded.buffer.size() {
            let fresh = RecordedBuffer::new(memory, &self.bindings, &self.buffers, recorded.len, recorded.slot)?;
            let next = std::mem::take(&mut recorded.next);
            *recorded = RecordedBuffer { next, ..fresh };
        }
        memory.write(&recorded.buffer, recorded.used * recorded.slot, &recorded.next)?;
        recorded.used += 1;
        std::mem::swap(&mut recorded.last, &mut recorded.next);
        Ok(())
    }

    /// Starts loss scaling anew.
    pub fn set_scale(&self, memory: &Memory, scale: f32) -> Result<(), Error> {
        memory.write(&self.buffers.scaler, 0, bytemuck::bytes_of(&Scaler { scale, ..Scaler::zeroed() }))
    }

    /// One group's coefficients, for a dispatch that needs no other's.
    pub fn coefs_of(&self, group: u32) -> wgpu::BufferBinding<'_> {
        let size = size_of::<Coefs>() as u64;
        let buffer = &self.buffers.coefs;
        wgpu::BufferBinding { buffer, offset: u64::from(group) * size, size: wgpu::BufferSize::new(size) }
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(self.measuring.as_ref().filter(|_| self.measures).unwrap_or(&self.plain));
        let offset = (self.recorded.used - 1) * self.recorded.slot;
        pass.set_bind_group(0, &self.recorded.bind_group, &[offset as u32]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

impl Buffers {
    fn new(memory: &Memory, groups: &[Group], scaler: Option<wgpu::Buffer>) -> Result<Self, Error> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let [progress, coefs, partials] = memory.zeros(
            [
                ("miadam progress", size_of::<Progress>() as u64),
                ("miadam coefs", size_of_val(groups) as u64 / size_of::<Group>() as u64 * size_of::<Coefs>() as u64),
                ("miadam partials", size_of::<Partial>() as u64),
            ],
            usage,
        )?;
        let scaler = match scaler {
            Some(scaler) => scaler,
            None => {
                // The caller's kernels may bind it either way.
                let size = size_of::<Scaler>() as u64;
                let [scaler] = memory.zeros([("miadam loss scale", size)], usage | Usage::UNIFORM)?;
                memory.write(&scaler, 0, bytemuck::bytes_of(&Scaler { scale: 1.0, ..Scaler::zeroed() }))?;
                scaler
            }
        };
        Ok(Self { groups: memory.filled("miadam groups", groups)?, progress, coefs, partials, scaler })
    }
}

impl RecordedBuffer {
    fn new(
        memory: &Memory,
        bindings: &wgpu::BindGroupLayout,
        buffers: &Buffers,
        len: u64,
        slot: u64,
    ) -> Result<Self, Error> {
        let size = (RECORDED_BUFFER / slot).max(1) * slot;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let [buffer] = memory.zeros([("miadam recorded", size)], usage)?;
        let bind_group = bind(memory, bindings, buffers, &buffer, len)?;
        Ok(Self { buffer, bind_group, len, slot, used: 0, last: Vec::new(), next: Vec::new() })
    }
}

fn bind(
    memory: &Memory,
    bindings: &wgpu::BindGroupLayout,
    Buffers { groups, progress, coefs, partials, scaler }: &Buffers,
    recorded: &wgpu::Buffer,
    len: u64,
) -> Result<wgpu::BindGroup, Error> {
    let slot = wgpu::BufferBinding { buffer: recorded, offset: 0, size: wgpu::BufferSize::new(len) };
    let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
    scoped(&memory.device, "bind the advance kernel", 0, || {
        memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("miadam advance"),
            layout: bindings,
            entries: &[
                entry(binding::GROUPS, groups.as_entire_binding()),
                entry(binding::RECORDED, wgpu::BindingResource::Buffer(slot)),
                entry(binding::PROGRESS, progress.as_entire_binding()),
                entry(binding::COEFS, coefs.as_entire_binding()),
                entry(binding::PARTIALS, partials.as_entire_binding()),
                entry(binding::SCALER, scaler.as_entire_binding()),
            ],
        })
    })
}

fn bind_group_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("miadam advance"),
        entries: &[
            storage_entry(binding::GROUPS, true, false),
            storage_entry(binding::RECORDED, true, true),
            storage_entry(binding::PROGRESS, false, false),
            storage_entry(binding::COEFS, false, false),
            storage_entry(binding::PARTIALS, true, false),
            storage_entry(binding::SCALER, false, false),
        ],
    })
}

fn pipeline(device: &wgpu::Device, bindings: &wgpu::BindGroupLayout, measures: bool) -> wgpu::ComputePipeline {
    compile(device, "miadam advance", &shader::advance_wgsl(measures), "advance", bindings)
}
