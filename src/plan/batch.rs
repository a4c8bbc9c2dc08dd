//! Pieces gathered into dispatches.

use std::collections::HashMap;
use std::hash::Hash;

use super::chunks::{Stride, after, split};
use super::format::Format;
use super::kernel::{Access, Extras, Form, Kernel, Shape};
use super::limits::Limits;
use super::pieces::{self, Piece, Tile};
use super::state_layout::StateLayout;
use super::tensor::{Place, Placement, Tensor};
use super::window::Window;
use crate::abi::{CHUNK, Chunk, MEASURED_QUADS, QUAD, WORKGROUP, WORKGROUP_SIZE};
use crate::options::StatePrecision;

/// The largest batch, in elements, that is merged with those of other buffers. A larger one is worth a dispatch of its own:
/// the `switch` over many windows costs each access, which is then more than a dispatch costs.
const SMALL: u64 = 32_768;

/// A table of fewer chunks than this is cut four times as fine, so that more of a GPU's cores have something to do, and none waits long for
/// another's last chunk.
const FEW_CHUNKS: u64 = 16;

/// One dispatch of the update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The page of state it binds.
    pub page: usize,
    /// The kernel it runs.
    pub kernel: Kernel,
    /// The windows; no two overlap.
    pub windows: Vec<Window>,
    /// The run, or the table's chunks.
    pub chunks: Vec<Chunk>,
    /// Workgroups in x and y: at least as many as there is work for.
    pub workgroups: [u32; 2],
}

impl Dispatch {
    /// Workgroups in x and y of a kernel that takes quads one by one, where the update takes bundles.
    #[must_use]
    pub fn quad_workgroups(&self, limits: &Limits) -> [u32; 2] {
        match self.kernel.shape {
            Shape::Run => grid(u64::from(self.chunks[0].len).div_ceil(WORKGROUP), limits),
            Shape::Table => self.workgroups,
        }
    }

    /// Workgroups that measure its gradients. Each leaves one partial.
    #[must_use]
    pub fn partials(&self) -> u64 {
        match self.kernel.shape {
            Shape::Run => u64::from(self.chunks[0].len).div_ceil(u64::from(MEASURED_QUADS) * WORKGROUP),
            Shape::Table => self.chunks.len() as u64,
        }
    }
}

/// Workgroups in x and y, at least as many as are asked for.
#[must_use]
pub fn grid(workgroups: u64, limits: &Limits) -> [u32; 2] {
    let rows = workgroups.div_ceil(limits.workgroups.into());
    [workgroups.div_ceil(rows) as u32, rows as u32]
}

/// The dispatches of one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The dispatches, in the order in which they are recorded. Any order gives the same result.
    pub dispatches: Vec<Dispatch>,
}

impl Plan {
    /// Covers every element of `state` exactly once, but for those of tensors that rest.
    #[must_use]
    pub fn new(tensors: &[Tensor], placements: &[Placement], state: &StateLayout, limits: &Limits) -> Self {
        let batches = merge(gather(pieces::cut(&state.segments, tensors, placements, limits), state, limits), limits);
        let dispatches = batches.into_iter().map(|batch| batch.into_dispatch(tensors, state, limits)).collect();
        Self { dispatches }
    }
}

/// A dispatch while it grows. All of its pieces have the same page of state, access and format.
struct Batch {
    page: usize,
    windows: Vec<(Tile, Window)>,
    /// Each piece with the numbers of its parameter's and its gradient's window.
    pieces: Vec<(Piece, [usize; 2])>,
    chunks: u64,
    elements: u64,
}

/// Puts pieces together that share the tile of their parameters and that of their gradients.
fn gather(pieces: Vec<Piece>, state: &StateLayout, limits: &Limits) -> Vec<Batch> {
    let batches = pieces.into_iter().map(|piece| Batch::new(state.segments[piece.segment].page, piece, limits));
    collect(batches, limits, |batch| Some((batch.kind(), batch.pieces[0].1.map(|number| batch.windows[number].0))))
}

/// Merges batches as far as the device can bind their windows at once. First come those of one buffer, so that its number of
/// dispatches does not depend on how its tensors lie. Then come the small ones of all buffers.
fn merge(batches: Vec<Batch>, limits: &Limits) -> Vec<Batch> {
    let of_buffers = collect(batches, limits, |batch| Some((batch.mergeable()?, batch.buffer()?)));
    collect(of_buffers, limits, |batch| batch.mergeable().filter(|_| batch.elements <= SMALL))
}

/// Merges each batch into the last one with the same key, if that has room. A batch without a key stays alone.
fn collect<Key: Eq + Hash>(
    batches: impl IntoIterator<Item = Batch>,
    limits: &Limits,
    key: impl Fn(&Batch) -> Option<Key>,
) -> Vec<Batch> {
    let mut collected: Vec<Batch> = Vec::new();
    let mut open: HashMap<_, usize> = HashMap::new();
    for batch in batches {
        let key = key(&batch);
        let host = key.as_ref().and_then(|key| open.get(key)).copied();
        if host.is_some_and(|number| collected[number].absorb(&batch, limits)) {
            continue;
        }
        if let Some(key) = key {
            open.insert(key, collected.len());
        }
        collected.push(batch);
    }
    collected
}

impl Batch {
    fn new(page: usize, piece: Piece, limits: &Limits) -> Self {
        let [param, grad] = piece.windows(limits);
        // Two windows on seams may touch, though they are not the same.
        let together = param.0 == grad.0 || param.1.overlaps(&grad.1);
        let (windows, numbers) =
            if together { (vec![(param.0, param.1.union(&grad.1))], [0, 0]) } else { (vec![param, grad], [0, 1]) };
        let chunks = piece.len.div_ceil(CHUNK);
        Self { page, windows, pieces: vec![(piece, numbers)], chunks, elements: piece.len }
    }

    /// The page, access and format of all its pieces.
    fn kind(&self) -> (usize, Access, Format) {
        let (piece, _) = self.pieces[0];
        (self.page, piece.access, piece.format)
    }

    /// Its kind, if it may be merged with others. State in fewer bits has none: its kernels reach for two or eight quads at a time, and with
    /// a `switch` over many windows at each of them a driver was seen to compile one for minutes.
    fn mergeable(&self) -> Option<(usize, Access, Format)> {
        let kind @ (.., format) = self.kind();
        (format.state == StatePrecision::F32).then_some(kind)
    }

    /// The buffer that all of its windows are in, if there is one.
    fn buffer(&self) -> Option<usize> {
        let (_, first) = self.windows[0];
        self.windows.iter().all(|(_, window)| window.buffer == first.buffer).then_some(first.buffer)
    }

    /// Takes in the pieces of another batch. Both share a window where they look into the same tile. Leaves all as it is, and
    /// returns false, if the device could not bind the result.
    fn absorb(&mut self, other: &Self, limits: &Limits) -> bool {
        let mut windows = self.windows.clone();
        let mut numbers = Vec::with_capacity(other.windows.len());
        for (tile, window) in &other.windows {
            let number = windows.iter().position(|(own, _)| own == tile);
            if let Some(number) = number {
                windows[number].1 = windows[number].1.union(window);
            } else {
                windows.push((*tile, *window));
            }
            numbers.push(number.unwrap_or(windows.len() - 1));
        }
        let mut pairs =
            windows.iter().enumerate().flat_map(|(n, (_, a))| windows[..n].iter().map(move |(_, b)| (a, b)));
        let chunks = self.chunks + other.chunks;
        // A window that has grown may reach into another, too: into the block on a seam.
        let fits = windows.len() <= limits.windows
            && chunks * size_of::<Chunk>() as u64 <= limits.binding.min(limits.buffer)
            && !pairs.any(|(a, b)| a.overlaps(b));
        if fits {
            self.windows = windows;
            self.chunks = chunks;
            self.elements += other.elements;
            self.pieces.extend(other.pieces.iter().map(|&(piece, own)| (piece, own.map(|number| numbers[number]))));
        }
        fits
    }

    fn form(&self) -> Form {
        let paired = self.pieces.iter().all(|(_, [param, grad])| param % 2 == 0 && grad % 2 == 1);
        match self.windows.len() {
            1 => Form::One,
            2 if paired => Form::Two,
            _ if paired => Form::Pairs,
            _ => Form::Many,
        }
    }

    fn extras(&self, tensors: &[Tensor], state: &StateLayout) -> Extras {
        let of = |&(piece, _): &(Piece, _)| tensors[state.segments[piece.segment].tensor].extras;
        self.pieces.iter().map(of).fold(Extras::default(), Extras::union)
    }

    fn into_dispatch(self, tensors: &[Tensor], state: &StateLayout, limits: &Limits) -> Dispatch {
        let (_, access, format) = self.kind();
        let stride = Stride::new(access, format);
        let runs = self.runs(tensors, state, stride);
        let (shape, chunks, workgroups) = if let [run] = runs[..] {
            (Shape::Run, runs, format.state.bundles(run.len.into()).div_ceil(WORKGROUP_SIZE.into()))
        } else {
            // As many bundles as there are quads in a chunk of `f32`, so that each invocation has some.
            let whole = CHUNK * format.state.bundle();
            let chunks: u64 = runs.iter().map(|run| u64::from(run.len).div_ceil(whole)).sum();
            let most = if chunks < FEW_CHUNKS { whole / 4 } else { whole };
            let chunks: Vec<_> = runs.iter().flat_map(|run| split(run, most as u32, stride)).collect();
            let workgroups = chunks.len() as u64;
            (Shape::Table, chunks, workgroups)
        };
        Dispatch {
            page: self.page,
            kernel: Kernel { access, form: self.form(), shape, format, extras: self.extras(tensors, state) },
            workgroups: grid(workgroups, limits),
            windows: self.windows.into_iter().map(|(_, window)| window).collect(),
            chunks,
        }
    }

    /// The pieces as runs: pieces that continue each other, in the caller's buffers and in the state, become one run.
    fn runs(&self, tensors: &[Tensor], state: &StateLayout, stride: Stride) -> Vec<Chunk> {
        let mut runs: Vec<Chunk> = Vec::new();
        for &(piece, numbers) in &self.pieces {
            let segment = &state.segments[piece.segment];
            let tensor = &tensors[segment.tensor];
            let (quads, cells) = (piece.start / QUAD, piece.format.state.cells(piece.start));
            // The planes that are always `f32` are the master copy and, after it, the average.
            let exact = |has: bool, number: u64| {
                let plane = segment.exact + number * segment.stride * piece.format.state.width();
                if has { (plane + quads) as u32 } else { 0 }
            };
            // Every quotient fits 32 bits, since a binding's size does.
            let within =
                |place: Place, number: usize| ((place.offset - self.windows[number].1.offset) / stride.word) as u32;
            let run = Chunk {
                param: within(piece.param, numbers[0]),
                grad: within(piece.grad, numbers[1]),
                moments: (segment.moments + cells) as u32,
                integrals: (segment.integrals + cells) as u32,
                stride: segment.stride as u32,
                master: exact(tensor.master, 0),
                average: exact(tensor.average, tensor.master.into()),
                len: piece.len as u32,
                clock: tensor.clock,
                windows: (numbers[0] | numbers[1] << 16) as u32,
                stream: tensor.stream,
                first: if stride.draws { (segment.start / QUAD + quads) as u32 } else { 0 },
            };
            match runs.last_mut() {
                Some(last) if after(last, stride) == Some(Chunk { len: 0, ..run }) => last.len += run.len,
                _ => runs.push(run),
            }
        }
        runs
    }
}
