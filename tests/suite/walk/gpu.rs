//! The GPU's side of the walk: tensors of all types, scattered over a few buffers.

use std::collections::BTreeMap;

use miadam::{Binding, Checkpoint, Error, Gpu, Hyperparams, MiAdam, Optimizer};
use wgpu::{BufferUsages, CommandEncoder, MapMode};

use super::device::{Device, Found, Named, New, param_group};
use crate::common::{self, Contents, Random, Spot, Values, put};

/// Fills what belongs to no tensor.
const SENTINEL: u32 = 0xa5a5_a5a5;

pub struct OnGpu {
    gpu: common::Gpu,
    optimizer: MiAdam,
    /// What is recorded and not yet submitted.
    encoder: Option<CommandEncoder>,
    buffers: Vec<wgpu::Buffer>,
    /// The words that are expected in the buffers.
    expected: Contents,
    spots: BTreeMap<String, Spot>,
}

/// The words that a tensor takes.
fn words(values: &Values) -> usize {
    values.bytes().len().div_ceil(4)
}

/// Room for tensors, and where they lie.
#[derive(Default)]
struct Layout {
    expected: Contents,
    spots: BTreeMap<String, Spot>,
}

impl Layout {
    /// Tensors in up to four buffers, with and without gaps, and behind each other in any order.
    fn scatter<'a>(tensors: impl Iterator<Item = (&'a str, Spot, Values, Values)>, random: &mut Random) -> Self {
        let mut layout = Self::default();
        let buffers = 1 + random.below(4);
        layout.expected.resize(buffers, Vec::new());
        for (name, spot, param, grad) in tensors {
            let [param_at, grad_at] = [&param, &grad].map(|values| layout.place(random.below(buffers), values, random));
            layout.spots.insert(name.to_owned(), Spot { param: param_at, grad: grad_at, ..spot });
        }
        layout.expected.iter_mut().for_each(|words| words.extend([SENTINEL; 4]));
        layout
    }

    /// Puts a tensor behind the others of a buffer.
    fn place(&mut self, buffer: usize, values: &Values, random: &mut Random) -> (usize, usize) {
        let end = self.expected[buffer].len();
        let start = if random.below(2) == 0 { end.next_multiple_of(4) } else { end + random.below(6) };
        self.expected[buffer].resize(start + words(values), SENTINEL);
        put(&mut self.expected, (buffer, start), values);
        (buffer, start)
    }
}

fn spot_of(new: &New) -> (Spot, Values) {
    let spot = Spot { len: new.len(), dtype: new.dtype(), grad_dtype: new.grad_dtype, ..Spot::default() };
    (spot, Values::new(new.grad_dtype, &vec![0.0; new.len()]))
}

impl OnGpu {
    fn bindings<'a>(
        spots: &'a BTreeMap<String, Spot>,
        buffers: &[wgpu::Buffer],
    ) -> impl Iterator<Item = Binding<'a>> {
        spots.iter().map(|(name, spot)| spot.bind(name, buffers))
    }

    fn buffers(gpu: &common::Gpu, contents: &Contents) -> Vec<wgpu::Buffer> {
        contents.iter().map(|words| gpu.buffer_of(bytemuck::cast_slice(words))).collect()
    }

    fn encoder(&mut self) -> &mut CommandEncoder {
        self.encoder.get_or_insert_with(|| self.gpu.encoder())
    }

    fn submit(&mut self) {
        if let Some(encoder) = self.encoder.take() {
            self.gpu.submit(encoder);
        }
    }

    /// A copy of all buffers, recorded with what is before it.
    fn copies(&mut self) -> Vec<wgpu::Buffer> {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let copies = self.buffers.iter().map(|buffer| self.gpu.buffer("copy", buffer.size(), usage).unwrap());
        let copies: Vec<_> = copies.collect();
        let pairs: Vec<_> = self.buffers.iter().cloned().zip(copies.clone()).collect();
        for (buffer, copy) in pairs {
            self.encoder().copy_buffer_to_buffer(&buffer, 0, &copy, 0, buffer.size());
            self.encoder().map_buffer_on_submit(&copy, MapMode::Read, .., |_| ());
        }
        copies
    }
}

impl Device for OnGpu {
    type On = Gpu;

    fn new(groups: &[(Hyperparams, Vec<New>)], random: &mut Random) -> Option<Self> {
        let gpu = common::gpu()?;
        let all = groups.iter().flat_map(|(_, params)| params);
        let tensors = all.map(|new| {
            let (spot, grad) = spot_of(new);
            (&new.name[..], spot, new.param.clone(), grad)
        });
        let Layout { expected, spots } = Layout::scatter(tensors, random);
        let buffers = Self::buffers(&gpu, &expected);
        let bindings = Self::bindings(&spots, &buffers);
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups.iter().map(param_group), bindings).unwrap();
        Some(Self { gpu, optimizer, encoder: None, buffers, expected, spots })
    }

    fn optimizer(&mut self) -> &mut Optimizer<Gpu> {
        &mut self.optimizer
    }

    fn set_grads(&mut self, grads: &Named) {
        for (name, spot) in &self.spots {
            put(&mut self.expected, spot.grad, &Values::new(spot.grad_dtype, &grads[name]));
        }
        for (buffer, words) in self.buffers.iter().zip(&self.expected) {
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
        for (name, spot) in &self.spots {
            put(&mut self.expected, spot.grad, &Values::new(spot.grad_dtype, &grads[name]));
            put(&mut self.expected, spot.param, &spot.values_in(&found));
        }
        for (buffer, (found, expected)) in found.iter().zip(&self.expected).enumerate() {
            if let Some(word) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
                return Err(format!("no step should have written to word {word} of buffer {buffer}"));
            }
        }
        let params = self.spots.iter().map(|(name, spot)| (name.clone(), spot.param_in(&found).into_owned()));
        Ok(Found { state, report, params: params.collect() })
    }

    fn checkpoint(&mut self) -> Checkpoint {
        self.submit();
        self.gpu.checkpoint(&self.optimizer, true)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.submit();
        self.optimizer.load(checkpoint)?;
        self.optimizer.write_params(checkpoint)?;
        for (name, spot) in &self.spots {
            let (dtype, bytes) = checkpoint.param(name).unwrap();
            put(&mut self.expected, spot.param, &Values::from_bytes(dtype, bytes, spot.len));
        }
        Ok(())
    }

    fn scatter(&mut self, random: &mut Random) {
        self.submit();
        let tensors = self.spots.iter().map(|(name, spot)| {
            let grad = Values::new(spot.grad_dtype, &spot.grad_in(&self.expected));
            (&name[..], *spot, spot.values_in(&self.expected), grad)
        });
        let layout = Layout::scatter(tensors, random);
        self.buffers = Self::buffers(&self.gpu, &layout.expected);
        (self.expected, self.spots) = (layout.expected, layout.spots);
        let bindings: Vec<_> = Self::bindings(&self.spots, &self.buffers).collect();
        self.optimizer.rebind(bindings).unwrap();
    }
}
