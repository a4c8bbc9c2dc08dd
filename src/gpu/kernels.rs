//! The compiled kernels. They depend on nothing but the device, so that they survive the loading of a checkpoint.

use std::collections::HashMap;
use std::hash::Hash;

use super::memory::Memory;
use super::shader::{self, Judgement, Shader, Unit};
use crate::abi::{self, gather, measure, moves, update};
use crate::error::Error;
use crate::options::StatePrecision;
use crate::plan::{Extras, Form, Format, Kernel, Limits};

/// Every kernel that has been needed so far. Variants are compiled when a plan first needs them.
#[derive(Debug)]
pub(super) struct Kernels {
    limits: Limits,
    /// Bound where a dispatch has fewer windows than its kernel. No two windows overlap in it.
    spare: wgpu::Buffer,
    /// The bindings of the advance kernel.
    pub advance_bindings: wgpu::BindGroupLayout,
    advance: [Option<wgpu::ComputePipeline>; Judgement::ALL.len()],
    moves: Option<wgpu::ComputePipeline>,
    gather: HashMap<Unit, wgpu::ComputePipeline>,
    update: HashMap<Kernel, wgpu::ComputePipeline>,
    adopt: HashMap<Kernel, wgpu::ComputePipeline>,
    /// With whether the parameters go back, and the words of a clock.
    swap: HashMap<(Kernel, bool, usize), wgpu::ComputePipeline>,
    measure: HashMap<Kernel, wgpu::ComputePipeline>,
}

impl Kernels {
    pub fn new(memory: &Memory, limits: Limits) -> Result<Self, Error> {
        use abi::advance::{CLOCKS, COEFS, GROUPS, PARTIALS, PROGRESS, RECORDED, SCALER};
        let entries = [
            storage_entry(GROUPS, true, false),
            storage_entry(RECORDED, true, true),
            storage_entry(PROGRESS, false, false),
            storage_entry(COEFS, false, false),
            storage_entry(PARTIALS, true, false),
            storage_entry(SCALER, false, false),
            storage_entry(CLOCKS, false, false),
        ];
        let device = &memory.device;
        let advance_bindings =
            memory.scoped("lay out the advance kernel", 0, || bind_group_layout(device, "miadam advance", &entries))?;
        let size = limits.windows as u64 * limits.alignment;
        let [spare] = memory.zeros([("miadam spare windows", size)], wgpu::BufferUsages::STORAGE)?;
        let [update, adopt, measure] = Default::default();
        let (advance, moves) = Default::default();
        let (swap, gather) = (HashMap::new(), HashMap::new());
        Ok(Self { limits, spare, advance_bindings, advance, moves, gather, update, adopt, swap, measure })
    }

    /// The kernel that advances the step counter.
    pub fn advance(&mut self, memory: &Memory, judgement: Judgement) -> Result<wgpu::ComputePipeline, Error> {
        let known = &mut self.advance[judgement as usize];
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let shader = shader::advance(judgement);
        let bindings = &self.advance_bindings;
        let made = memory.scoped("compile the advance kernel", 0, || {
            compile(&memory.device, "miadam advance", &shader, "advance", bindings)
        })?;
        Ok(known.insert(made).clone())
    }

    /// The kernel that moves state to other buffers.
    pub fn moves(&mut self, memory: &Memory) -> Result<wgpu::ComputePipeline, Error> {
        if let Some(known) = &self.moves {
            return Ok(known.clone());
        }
        let own = [(moves::MOVES, true), (moves::PROGRESS, true), (moves::BEFORE, true), (moves::AFTER, false)];
        let made = memory.scoped("compile the move kernel", 0, || {
            let bindings = bindings(&memory.device, "miadam move", &own, 0);
            compile(&memory.device, "miadam move", &shader::moves(), "move_state", &bindings)
        })?;
        Ok(self.moves.insert(made).clone())
    }

    /// The kernel that gathers the state of rows.
    pub fn gather(&mut self, memory: &Memory, unit: Unit) -> Result<wgpu::ComputePipeline, Error> {
        use gather::{AFTER, BEFORE, GATHERS, PROGRESS, ROWS};
        let own = [(GATHERS, true), (ROWS, true), (BEFORE, true), (AFTER, false), (PROGRESS, false)];
        get(&mut self.gather, unit, || {
            memory.scoped("compile the gather kernel", 0, || {
                let bindings = bindings(&memory.device, "miadam gather", &own, 0);
                compile(&memory.device, "miadam gather", &shader::gather(unit), "gather_rows", &bindings)
            })
        })
    }

    /// An update kernel.
    pub fn update(&mut self, memory: &Memory, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        let windows = self.window_count(kernel.form);
        get(&mut self.update, kernel, || {
            memory.scoped("compile the update kernel", 0, || {
                let bindings = update_bindings(&memory.device, windows);
                compile(&memory.device, "miadam update", &shader::update(kernel, windows), "each_bundle", &bindings)
            })
        })
    }

    /// The kernel that makes the master copies of an update kernel's parameters. It takes the same bind group.
    pub fn adopt(&mut self, memory: &Memory, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        let windows = self.window_count(kernel.form);
        get(&mut self.adopt, without_extras(kernel), || {
            memory.scoped("compile the adopt kernel", 0, || {
                let bindings = update_bindings(&memory.device, windows);
                compile(&memory.device, "miadam adopt", &shader::adopt(kernel, windows), "each_bundle", &bindings)
            })
        })
    }

    /// The kernel that swaps parameters and averages, `out` if the parameters go back. It has the update's bindings, but for the
    /// clocks in place of the integrals, each of so many words.
    pub fn swap(
        &mut self,
        memory: &Memory,
        kernel: Kernel,
        out: bool,
        words: usize,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let windows = self.window_count(kernel.form);
        get(&mut self.swap, (without_extras(kernel), out, words), || {
            memory.scoped("compile the swap kernel", 0, || {
                let bindings = update_bindings(&memory.device, windows);
                let shader = shader::swap(kernel, windows, out, words);
                compile(&memory.device, "miadam swap", &shader, "each_bundle", &bindings)
            })
        })
    }

    /// The kernel that measures the gradients of an update kernel.
    pub fn measure(&mut self, memory: &Memory, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        let windows = self.window_count(kernel.form);
        get(&mut self.measure, without_extras(kernel), || {
            memory.scoped("compile the measure kernel", 0, || {
                let own = [(measure::CHUNKS, true), (measure::PARTIALS, false)];
                let bindings = bindings(&memory.device, "miadam measure", &own, windows);
                compile(&memory.device, "miadam measure", &shader::measure(kernel, windows), "measure", &bindings)
            })
        })
    }

    /// Forgets all that is compiled.
    pub fn forget(&mut self) {
        self.advance = Default::default();
        self.moves = None;
        self.gather.clear();
        self.update.clear();
        self.adopt.clear();
        self.swap.clear();
        self.measure.clear();
    }

    /// Binds a buffer to nothing in particular, to see whether wgpu refuses it.
    pub fn try_buffer(&self, memory: &Memory, buffer: &wgpu::Buffer) -> Result<(), Error> {
        let device = &memory.device;
        memory.scoped("bind a buffer", 0, || {
            let layout = bind_group_layout(device, "miadam buffer check", &[storage_entry(0, false, false)]);
            let range = wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(4) };
            let entry = wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(range) };
            let (label, layout) = (Some("miadam buffer check"), &layout);
            drop(device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &[entry] }));
        })
    }

    /// Ranges to bind in place of the windows that a form's kernel has and a dispatch does not use.
    pub fn spare_windows(&self, form: Form, used: usize) -> impl Iterator<Item = wgpu::BufferBinding<'_>> {
        (used..self.window_count(form)).map(|number| wgpu::BufferBinding {
            buffer: &self.spare,
            offset: number as u64 * self.limits.alignment,
            size: wgpu::BufferSize::new(16),
        })
    }

    /// The number of windows that a form's kernel has.
    fn window_count(&self, form: Form) -> usize {
        match form {
            Form::One => 1,
            Form::Two => 2,
            Form::Pairs | Form::Many => self.limits.windows,
        }
    }
}

fn get<Key: Eq + Hash>(
    known: &mut HashMap<Key, wgpu::ComputePipeline>,
    kernel: Key,
    make: impl FnOnce() -> Result<wgpu::ComputePipeline, Error>,
) -> Result<wgpu::ComputePipeline, Error> {
    if let Some(known) = known.get(&kernel) {
        return Ok(known.clone());
    }
    let pipeline = make()?;
    known.insert(kernel, pipeline.clone());
    Ok(pipeline)
}

/// What matters of a kernel to those beside the update, which look at no moments.
fn without_extras(kernel: Kernel) -> Kernel {
    let format = Format { state: StatePrecision::F32, ..kernel.format };
    Kernel { extras: Extras::default(), format, ..kernel }
}

fn update_bindings(device: &wgpu::Device, windows: usize) -> wgpu::BindGroupLayout {
    let own = [(update::CHUNKS, true), (update::COEFS, true), (update::MOMENTS, false), (update::INTEGRALS, false)];
    bindings(device, "miadam update", &own, windows)
}

/// A kernel's own bindings, each with whether it is read-only, and the windows.
fn bindings(device: &wgpu::Device, label: &str, own: &[(u32, bool)], windows: usize) -> wgpu::BindGroupLayout {
    let windows = (update::WINDOWS..update::WINDOWS + windows as u32).map(|number| (number, false));
    let entries = own.iter().copied().chain(windows);
    let entries: Vec<_> = entries.map(|(number, read_only)| storage_entry(number, read_only, false)).collect();
    bind_group_layout(device, label, &entries)
}

fn bind_group_layout(
    device: &wgpu::Device,
    label: &str,
    entries: &[wgpu::BindGroupLayoutEntry],
) -> wgpu::BindGroupLayout {
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries })
}

fn storage_entry(binding: u32, read_only: bool, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset,
            min_binding_size: None,
        },
        count: None,
    }
}

fn compile(
    device: &wgpu::Device,
    label: &str,
    shader: &Shader,
    entry_point: &str,
    bindings: &wgpu::BindGroupLayout,
) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(shader.source.as_str().into()),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &[Some(bindings)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&layout),
        module: &module,
        entry_point: Some(entry_point),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &shader.constants,
            // All workgroup memory is written before it is read.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}
