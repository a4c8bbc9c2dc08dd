//! State on its way to other buffers.

use super::kernels::Kernels;
use super::known::Known;
use super::memory::Memory;
use super::owned::Owned;
use crate::abi::{CHUNK, Move, QUAD, moves as binding};
use crate::error::Error;
use crate::plan::{Limits, grid};

/// Quads that one workgroup moves, at most.
const MOST: u32 = (CHUNK / QUAD) as u32;

/// The moves that are not known to have run.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves(Vec<Batch>);

/// The moves of one change. Each is bound to its buffers, which live as long as it.
#[derive(Debug, Clone)]
struct Batch {
    generation: u32,
    kernel: wgpu::ComputePipeline,
    dispatches: Vec<(wgpu::BindGroup, [u32; 2])>,
    /// The state's buffers that the bind groups have.
    #[expect(dead_code, reason = "they live as long as it")]
    kept: Vec<[Owned; 2]>,
}

/// The moves from one buffer to another.
pub(super) struct Route {
    pub before: Owned,
    pub after: Owned,
    pub list: Vec<Move>,
}

impl Moves {
    /// These moves, and after them those of a change that is the one of this generation.
    pub fn with(
        &self,
        memory: &Memory,
        limits: &Limits,
        kernels: &mut Kernels,
        progress: &wgpu::Buffer,
        generation: u32,
        routes: Vec<Route>,
    ) -> Result<Self, Error> {
        let mut moves = self.clone();
        if routes.is_empty() {
            return Ok(moves);
        }
        let kernel = kernels.moves(memory)?;
        let (mut dispatches, mut kept) = (Vec::new(), Vec::new());
        for Route { before, after, list } in routes {
            let list: Vec<_> = list.into_iter().flat_map(cut).collect();
            let words: &[u32] = bytemuck::cast_slice(&list);
            // The generation stands before the list.
            let most = (limits.binding.min(limits.buffer) as usize - 4) / size_of::<Move>() * (size_of::<Move>() / 4);
            for words in words.chunks(most) {
                let table = memory.filled("miadam moves", &[&[generation], words].concat())?;
                let entry = |binding, buffer: &wgpu::Buffer| (binding, buffer.clone());
                let entries = [
                    entry(binding::MOVES, &table),
                    entry(binding::PROGRESS, progress),
                    entry(binding::BEFORE, &before),
                    entry(binding::AFTER, &after),
                ];
                let entries = entries.each_ref().map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding: *binding,
                    resource: buffer.as_entire_binding(),
                });
                let bind_group = memory.scoped("bind the state", 0, || {
                    memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some("miadam move"),
                        layout: &kernel.get_bind_group_layout(0),
                        entries: &entries,
                    })
                })?;
                let workgroups = words.len() * 4 / size_of::<Move>();
                dispatches.push((bind_group, grid(workgroups as u64, limits)));
            }
            kept.push([before, after]);
        }
        moves.0.push(Batch { generation, kernel, dispatches, kept });
        Ok(moves)
    }

    /// Forgets those that have run.
    pub fn forget(&mut self, known: &Known) {
        self.0.retain(|batch| batch.generation > known.generation());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for Batch { kernel, dispatches, .. } in &self.0 {
            pass.set_pipeline(kernel);
            for (bind_group, [x, y]) in dispatches {
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(*x, *y, 1);
            }
        }
    }

    /// Records them before a readback. They run again with the next step, with the same result: nobody writes the state
    /// before, and only a step writes the state after.
    pub fn record_alone(&self, encoder: &mut wgpu::CommandEncoder) {
        if !self.is_empty() {
            let label = Some("miadam moves");
            self.record(
                &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None }),
            );
        }
    }

    /// Dispatches that they take.
    pub fn dispatches(&self) -> usize {
        self.0.iter().map(|batch| batch.dispatches.len()).sum()
    }
}

/// Moves of at most as many quads as one workgroup copies.
fn cut(Move { before, after, len }: Move) -> impl Iterator<Item = Move> {
    (0..len).step_by(MOST as usize).map(move |start| Move {
        before: before + start,
        after: after + start,
        len: MOST.min(len - start),
    })
}
