use bytemuck::Zeroable;

use super::pipelines::{compile, storage_entry};
use super::{Memory, scoped, shader};
use crate::Error;
use crate::layout::{Coefs, Group, Progress, Rates, advance as binding};
use crate::plan::Limits;

/// Bytes of rates that are written ahead of the device, at most, before another buffer takes over.
const RATES_BUFFER: u64 = 1 << 16;

/// The step counter, the groups' coefficients, and the kernel that advances them.
#[derive(Debug)]
pub(crate) struct Advance {
    pipeline: wgpu::ComputePipeline,
    groups: wgpu::Buffer,
    pub progress: wgpu::Buffer,
    pub coefs: wgpu::Buffer,
    rates: RatesBuffer,
    /// Bytes of one step's rates, a multiple of the offset alignment.
    slot: u64,
    group_count: u64,
}

/// A buffer of slots, each written once: a write lands before the whole next submission, so a slot that a
/// recorded step reads must not be written again. A full buffer is replaced, and lives on in the commands
/// that use it.
#[derive(Debug)]
struct RatesBuffer {
    buffer: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
    used: u64,
    /// What the last slot used holds.
    rates: Vec<Rates>,
}

impl Advance {
    pub fn new(memory: &Memory, groups: &[Group], limits: &Limits) -> Result<Self, Error> {
        // An array of no groups cannot be bound; nothing uses the coefficients of this one.
        let groups = if groups.is_empty() { &[Group::zeroed()] } else { groups };
        let group_count = groups.len() as u64;
        let needed = group_count * size_of::<Group>() as u64;
        if needed > limits.binding {
            let limit = "max_storage_buffer_binding_size";
            return Err(Error::LimitTooSmall { limit, needed, available: limits.binding });
        }
        let pipeline = scoped(&memory.device, "compile the advance kernel", 0, || pipeline(&memory.device))?;
        let groups = memory.filled("miadam groups", groups)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let [progress, coefs] = memory.zeros(
            [
                ("miadam progress", size_of::<Progress>() as u64),
                ("miadam coefs", group_count * size_of::<Coefs>() as u64),
            ],
            usage,
        )?;
        let slot = (group_count * size_of::<Rates>() as u64).next_multiple_of(limits.alignment);
        let rates = RatesBuffer::new(memory, &pipeline, [&groups, &progress, &coefs], slot, group_count)?;
        Ok(Self { pipeline, groups, progress, coefs, rates, slot, group_count })
    }

    /// Makes the rates of the step to be recorded known to the device; equal ones in a row share a slot.
    pub fn set_rates(&mut self, memory: &Memory, rates: impl Iterator<Item = Rates> + Clone) -> Result<(), Error> {
        if self.rates.used > 0 && self.rates.rates.iter().copied().eq(rates.clone()) {
            return Ok(());
        }
        if (self.rates.used + 1) * self.slot > self.rates.buffer.size() {
            let buffers = [&self.groups, &self.progress, &self.coefs];
            self.rates = RatesBuffer::new(memory, &self.pipeline, buffers, self.slot, self.group_count)?;
        }
        let rates: Vec<_> = rates.collect();
        memory.write(&self.rates.buffer, self.rates.used * self.slot, bytemuck::cast_slice(&rates))?;
        self.rates.used += 1;
        self.rates.rates = rates;
        Ok(())
    }

    /// One group's coefficients, for a dispatch that needs no other's.
    pub fn coefs_of(&self, group: u32) -> wgpu::BufferBinding<'_> {
        let size = size_of::<Coefs>() as u64;
        wgpu::BufferBinding { buffer: &self.coefs, offset: u64::from(group) * size, size: wgpu::BufferSize::new(size) }
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        let offset = (self.rates.used - 1) * self.slot;
        pass.set_bind_group(0, &self.rates.bind_group, &[offset as u32]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

impl RatesBuffer {
    fn new(
        memory: &Memory,
        pipeline: &wgpu::ComputePipeline,
        [groups, progress, coefs]: [&wgpu::Buffer; 3],
        slot: u64,
        group_count: u64,
    ) -> Result<Self, Error> {
        let size = (RATES_BUFFER / slot).max(1) * slot;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let [buffer] = memory.zeros([("miadam rates", size)], usage)?;
        let one_slot = wgpu::BufferBinding {
            buffer: &buffer,
            offset: 0,
            size: wgpu::BufferSize::new(group_count * size_of::<Rates>() as u64),
        };
        let bind_group = scoped(&memory.device, "bind the advance kernel", 0, || {
            memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("miadam advance"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &[
                    wgpu::BindGroupEntry { binding: binding::GROUPS, resource: groups.as_entire_binding() },
                    wgpu::BindGroupEntry { binding: binding::RATES, resource: wgpu::BindingResource::Buffer(one_slot) },
                    wgpu::BindGroupEntry { binding: binding::PROGRESS, resource: progress.as_entire_binding() },
                    wgpu::BindGroupEntry { binding: binding::COEFS, resource: coefs.as_entire_binding() },
                ],
            })
        })?;
        Ok(Self { buffer, bind_group, used: 0, rates: Vec::new() })
    }
}

fn pipeline(device: &wgpu::Device) -> wgpu::ComputePipeline {
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("miadam advance"),
        entries: &[
            storage_entry(binding::GROUPS, true, false),
            storage_entry(binding::RATES, true, true),
            storage_entry(binding::PROGRESS, false, false),
            storage_entry(binding::COEFS, false, false),
        ],
    });
    compile(device, "miadam advance", &shader::advance_wgsl(), "advance", &bindings)
}
