//! Chunks cut from longer ones, and joined to longer ones.

use super::format::Format;
use super::kernel::Access;
use crate::abi::{Chunk, QUAD};

/// How far one quad moves the start of a chunk.
#[derive(Clone, Copy)]
pub(super) struct Stride {
    /// Bytes of the words in which a chunk counts places.
    pub word: u64,
    /// Bytes of a quad of the parameter.
    param: u64,
    /// Bytes of a quad of the gradient.
    grad: u64,
    /// Elements of a block.
    block: u64,
    /// Quads of a cell.
    width: u64,
    /// Whether quads are counted for the random numbers that they draw. Tensors cannot be joined then.
    pub draws: bool,
}

impl Stride {
    pub fn new(access: Access, format: Format) -> Self {
        let word = match access {
            Access::Quads => format.quad_word(),
            Access::Elements => 4,
        };
        let (param, grad) = (QUAD * format.param.width(), QUAD * format.grad.width());
        let (block, width) = (format.state.block(), format.state.width());
        Self { word, param, grad, block, width, draws: format.draws() }
    }
}

/// The part of a run from element `start` on, the first of a block.
fn tail(run: &Chunk, start: u32, stride: Stride) -> Chunk {
    let quads = start / QUAD as u32;
    let cells = quads / stride.width as u32;
    // 0 stands for no such plane.
    let exact = |plane: u32| if plane == 0 { 0 } else { plane + quads };
    // No run is longer than a binding, whose bytes fit 32 bits.
    let words = |bytes: u64| (u64::from(quads) * bytes / stride.word) as u32;
    Chunk {
        param: run.param + words(stride.param),
        grad: run.grad + words(stride.grad),
        moments: run.moments + cells,
        integrals: run.integrals + cells,
        master: exact(run.master),
        average: exact(run.average),
        len: run.len - start,
        first: if stride.draws { run.first + quads } else { 0 },
        ..*run
    }
}

/// The empty run that begins where this one ends, if it ends with a whole block.
pub(super) fn after(run: &Chunk, stride: Stride) -> Option<Chunk> {
    u64::from(run.len).is_multiple_of(stride.block).then(|| tail(run, run.len, stride))
}

/// Cuts a run into the chunks of a table, of `most` elements each.
pub(super) fn split(run: &Chunk, most: u32, stride: Stride) -> impl Iterator<Item = Chunk> {
    let starts = (0..run.len).step_by(most as usize);
    starts.map(move |start| {
        let rest = tail(run, start, stride);
        Chunk { len: rest.len.min(most), ..rest }
    })
}
