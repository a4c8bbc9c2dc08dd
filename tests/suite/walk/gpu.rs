//! The GPU's side of the walk.

use miadam::{Binding, Checkpoint, Error, Gpu, Hyperparams, MiAdam, Optimizer, Rows};
use wgpu::{BufferUsages, CommandEncoder, MapMode};

use super::device::{Device, Found, Named, New, param_group};
use super::layout::Layout;
use crate::common::{self, Contents, Random};

pub struct OnGpu {
    gpu: common::Gpu,
    optimizer: MiAdam,
    /// What is recorded and not yet submitted.
    encoder: Option<CommandEncoder>,
    buffers: Vec<wgpu::Buffer>,
    /// Where tensors lie in the buffers, and what is expected there.
    layout: Layout,
    random: Random,
}

fn new_buffers(gpu: &common::Gpu, contents: &[Vec<u32>]) -> Vec<wgpu::Buffer> {
    contents.iter().map(|words| gpu.buffer_of(bytemuck::cast_slice(words))).collect()
}

impl OnGpu {
    fn submit(&mut self) {
        if let Some(encoder) = self.encoder.take() {
            self.gpu.submit(encoder);
        }
    }

    /// Makes room for new tensors, in a buffer of their own, for a call that may fail.
    fn with_room<T>(
        &mut self,
        params: &[New],
        call: impl FnOnce(&mut Self, Vec<Binding<'_>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut layout, mut buffers) = (self.layout.clone(), self.buffers.clone());
        layout.add(params, &mut self.random);
        buffers.extend(new_buffers(&self.gpu, &layout.expected[buffers.len()..]));
        let done = call(self, layout.bindings(&buffers, |name| params.iter().any(|new| new.name == name)))?;
        (self.layout, self.buffers) = (layout, buffers);
        Ok(done)
    }

    /// A copy of all buffers, recorded with what is before it.
    fn copies(&mut self) -> Vec<wgpu::Buffer> {
        let encoder = self.encoder.get_or_insert_with(|| self.gpu.encoder());
        let copy = |buffer: &wgpu::Buffer| {
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            let copy = self.gpu.buffer("copy", buffer.size(), usage).unwrap();
            encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size());
            encoder.map_buffer_on_submit(&copy, MapMode::Read, .., |_| ());
            copy
        };
        self.buffers.iter().map(copy).collect()
    }
}

impl Device for OnGpu {
    type On = Gpu;

    const KNOWS_AT_ONCE: bool = false;

    fn new(groups: &[(Hyperparams, Vec<New>)], seed: u64) -> Option<Self> {
        let gpu = common::gpu()?;
        let mut random = Random(seed);
        let params: Vec<_> = groups.iter().flat_map(|(_, params)| params).cloned().collect();
        let layout = Layout::new(&params, &mut random);
        let buffers = new_buffers(&gpu, &layout.expected);
        let bindings = layout.bindings(&buffers, |_| true);
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups.iter().map(param_group), bindings).unwrap();
        Some(Self { gpu, optimizer, encoder: None, buffers, layout, random })
    }

    fn optimizer(&mut self) -> &mut Optimizer<Gpu> {
        &mut self.optimizer
    }

    fn add_group(&mut self, group: (Hyperparams, Vec<New>)) -> Result<usize, Error> {
        self.with_room(&group.1, |device, bindings| device.optimizer.add_group(param_group(&group), bindings))
    }

    fn add_params(&mut self, group: usize, params: &[New]) -> Result<(), Error> {
        let all = params.iter().map(New::to_param);
        self.with_room(params, |device, bindings| device.optimizer.add_params(group, all, bindings))
    }

    fn remap(&mut self, moved: &[New], before: usize, rows: &[u32]) -> Result<(), Error> {
        let mut encoder = self.encoder.take().unwrap_or_else(|| self.gpu.encoder());
        // Numbers may lie behind others, at a multiple of what the device asks for.
        let first = 64 * self.random.below(2);
        let words: Vec<_> = (0..first as u32).chain(rows.iter().copied()).collect();
        let indices = self.gpu.buffer_with("rows", bytemuck::cast_slice(&words), BufferUsages::STORAGE).unwrap();
        let rows = Rows::new(before, (&indices, 4 * first as u64), rows.len());
        let done = self.with_room(moved, |device, bindings| device.optimizer.remap(&mut encoder, bindings, &rows));
        self.encoder = Some(encoder);
        done
    }

    fn forget(&mut self, name: &str) {
        self.layout.remove(name);
    }

    fn set_grads(&mut self, grads: &Named) {
        self.layout.set_grads(grads);
        for (buffer, words) in self.buffers.iter().zip(&self.layout.expected) {
            self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
        }
    }

    fn step(&mut self, _: &[String]) -> Result<(), Error> {
        let encoder = self.encoder.get_or_insert_with(|| self.gpu.encoder());
        self.optimizer.step(encoder)
    }

    fn read(&mut self, grads: &Named) -> Result<Found, String> {
        let encoder = self.encoder.get_or_insert_with(|| self.gpu.encoder());
        let state = self.optimizer.read_state(encoder).unwrap();
        let report = self.optimizer.read_report(encoder).unwrap();
        let copies = self.copies();
        self.submit();
        let (state, report) = (state.wait().unwrap(), report.wait().unwrap());
        self.gpu.wait();
        let words = |copy: &wgpu::Buffer| bytemuck::pod_collect_to_vec(&copy.get_mapped_range(..).unwrap());
        let found: Contents = copies.iter().map(words).collect();
        self.layout.set_grads(grads);
        let params = self.layout.take_params(&found);
        for (buffer, (found, expected)) in found.iter().zip(&self.layout.expected).enumerate() {
            if let Some(word) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
                let (found, expected) = (found[word], expected[word]);
                let owner = self.layout.owner(buffer, word);
                return Err(format!("word {word} of buffer {buffer}, {owner}, is {found:08x}, not {expected:08x}"));
            }
        }
        Ok(Found { state, report, params })
    }

    fn checkpoint(&mut self) -> Checkpoint {
        self.submit();
        self.gpu.checkpoint(&self.optimizer, true)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.submit();
        self.optimizer.load(checkpoint)?;
        self.optimizer.write_params(checkpoint)?;
        self.layout.write_params(checkpoint);
        Ok(())
    }

    fn scatter(&mut self) {
        self.submit();
        self.layout = self.layout.scattered(&mut self.random);
        self.buffers = new_buffers(&self.gpu, &self.layout.expected);
        self.optimizer.rebind(self.layout.bindings(&self.buffers, |_| true)).unwrap();
    }
}
