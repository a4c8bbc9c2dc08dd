use super::batch::Window;
use super::{Binding, Limits, Place, Segment};
use crate::layout::QUAD;

/// How a dispatch reaches the caller's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// By whole quads, each 16-byte aligned: the fast path.
    Quads,
    /// Element by element: the last few of a tensor, and tensors off the 16-byte grid.
    Elements,
}

/// A part of a caller's buffer that can be bound at once, by its buffer and number. Buffers are cut into tiles
/// at the multiples of the largest binding, so that tiles never overlap and a buffer has as few as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tile {
    Part {
        buffer: usize,
        number: u64,
    },
    /// A quad that two tiles share, which is bound by itself: its first byte.
    Seam {
        buffer: usize,
        start: u64,
    },
}

/// A run of elements of one segment that one dispatch can bind and reach in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The segment's number.
    pub segment: usize,
    /// First element in the segment, a multiple of [`QUAD`].
    pub start: u64,
    pub len: u64,
    pub access: Access,
    /// Where the piece's own first elements lie.
    pub param: Place,
    pub grad: Place,
    /// Whether the piece is a quad on the seam of two tiles.
    pub seam: bool,
}

impl Piece {
    /// Parameter and gradient, each with its tile and the window that the piece needs of it.
    pub fn windows(&self, limits: &Limits) -> [(Tile, Window); 2] {
        [self.param, self.grad].map(|place| {
            let window = Window::around(place, self.len, limits);
            let buffer = place.buffer;
            let tile = if self.seam {
                Tile::Seam { buffer, start: window.offset }
            } else {
                Tile::Part { buffer, number: place.offset / limits.binding }
            };
            (tile, window)
        })
    }
}

/// Cuts every segment at the seams of its parameter's and its gradient's buffers, and by access.
pub(super) fn cut(segments: &[Segment], bindings: &[Binding], limits: &Limits) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(segments.len());
    for (number, segment) in segments.iter().enumerate() {
        let Binding { param, grad } = bindings[segment.tensor];
        let mut start = 0;
        while start < segment.len {
            let skip = 4 * (segment.start + start);
            let at = |place: Place| Place { offset: place.offset + skip, ..place };
            let (param, grad) = (at(param), at(grad));
            // State lies in whole quads, so that a cut is at one, too.
            let to_seam = |place: Place| (limits.binding - place.offset % limits.binding) / 4 / QUAD * QUAD;
            let before_seam = to_seam(param).min(to_seam(grad));
            let seam = before_seam == 0;
            let len = (segment.len - start).min(if seam { QUAD } else { before_seam });
            let piece = Piece { segment: number, start, len, access: Access::Quads, param, grad, seam };
            pieces.extend(split_by_access(piece));
            start += len;
        }
    }
    pieces
}

/// Whole quads if parameter and gradient lie on the 16-byte grid, the rest by elements.
fn split_by_access(piece: Piece) -> impl Iterator<Item = Piece> {
    let aligned = [piece.param, piece.grad].iter().all(|place| place.offset.is_multiple_of(4 * QUAD));
    let body = if aligned { piece.len / QUAD * QUAD } else { 0 };
    let at = |place: Place| Place { offset: place.offset + 4 * body, ..place };
    let quads = Piece { len: body, ..piece };
    let rest = Piece {
        start: piece.start + body,
        len: piece.len - body,
        access: Access::Elements,
        param: at(piece.param),
        grad: at(piece.grad),
        ..piece
    };
    [quads, rest].into_iter().filter(|piece| piece.len > 0)
}
