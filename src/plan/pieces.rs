//! Segments cut into pieces that a dispatch can bind and reach in one way.

use super::format::Format;
use super::kernel::Access;
use super::limits::Limits;
use super::state_layout::Segment;
use super::tensor::{Place, Placement, Tensor};
use super::window::Window;

/// A part of a caller's buffer that can be bound at once. Buffers are cut into tiles at the multiples of the largest binding,
/// so that tiles never overlap and a buffer has as few as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tile {
    /// The tile of this number in its buffer.
    Part { buffer: usize, number: u64 },
    /// A block across the border of two tiles, which is bound by itself. It begins at this byte.
    Seam { buffer: usize, start: u64 },
}

/// A run of elements of one segment that one dispatch can bind and reach in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The segment's number.
    pub segment: usize,
    /// First element in the segment, the first of a block.
    pub start: u64,
    pub len: u64,
    pub access: Access,
    pub format: Format,
    /// The places of the piece's own first elements.
    pub param: Place,
    pub grad: Place,
    /// Whether the piece is a block on the seam of two tiles.
    pub seam: bool,
}

impl Piece {
    /// The tile and the window of the parameter, and those of the gradient.
    pub fn windows(&self, limits: &Limits) -> [(Tile, Window); 2] {
        [(self.param, self.format.param), (self.grad, self.format.grad)].map(|(place, dtype)| {
            let window = Window::around(place, self.len * dtype.width(), limits);
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

/// Cuts every segment of a tensor that takes part where its parameter or its gradient crosses from one tile to the next, and by access.
pub(super) fn cut(segments: &[Segment], tensors: &[Tensor], placements: &[Placement], limits: &Limits) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(segments.len());
    for (number, segment) in segments.iter().enumerate().filter(|(_, segment)| !tensors[segment.tensor].rests) {
        let Placement { param, grad } = placements[segment.tensor];
        let format = tensors[segment.tensor].format;
        let (param_width, grad_width) = (format.param.width(), format.grad.width());
        let mut start = 0;
        while start < segment.len {
            let at = |place: Place, width| place.after(width * (segment.start + start));
            let (param, grad) = (at(param, param_width), at(grad, grad_width));
            // A cut has to be between two blocks of the state.
            let block = format.state.block();
            let to_seam =
                |place: Place, width| (limits.binding - place.offset % limits.binding) / width / block * block;
            let before_seam = to_seam(param, param_width).min(to_seam(grad, grad_width));
            let seam = before_seam == 0;
            let len = (segment.len - start).min(if seam { block } else { before_seam });
            let piece = Piece { segment: number, start, len, access: Access::Quads, format, param, grad, seam };
            pieces.extend(split_by_access(piece));
            start += len;
        }
    }
    pieces
}

/// Cuts off the part that can be reached by whole quads, in whole blocks, if parameter and gradient are aligned. The rest is reached by
/// elements.
fn split_by_access(piece: Piece) -> impl Iterator<Item = Piece> {
    let Format { param, grad, .. } = piece.format;
    let word = piece.format.quad_word();
    let aligned = [piece.param, piece.grad].iter().all(|place| place.offset.is_multiple_of(word));
    let block = piece.format.state.block();
    let body = if aligned { piece.len / block * block } else { 0 };
    let quads = Piece { len: body, ..piece };
    let rest = Piece {
        start: piece.start + body,
        len: piece.len - body,
        access: Access::Elements,
        param: piece.param.after(param.width() * body),
        grad: piece.grad.after(grad.width() * body),
        ..piece
    };
    [quads, rest].into_iter().filter(|piece| piece.len > 0)
}
