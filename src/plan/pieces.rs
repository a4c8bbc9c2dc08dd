use std::collections::HashMap;

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
    /// Whether one window holds parameter and gradient.
    pub one_window: bool,
}

impl Piece {
    pub fn param_window(&self, limits: &Limits) -> Window {
        Window::around(self.param, self.len, limits)
    }

    pub fn grad_window(&self, limits: &Limits) -> Window {
        Window::around(self.grad, self.len, limits)
    }
}

/// Cuts every segment where a binding's size, the aliasing rule or the 16-byte grid asks for it.
pub(super) fn cut(segments: &[Segment], bindings: &[Binding], limits: &Limits) -> Vec<Piece> {
    let pools = pools(segments, bindings, limits);
    let mut pieces = Vec::with_capacity(segments.len());
    for (number, segment) in segments.iter().enumerate() {
        let Binding { param, grad } = bindings[segment.tensor];
        let pooled = pools.get(&(segment.page, param.buffer)).is_some_and(|pool| pool.size <= limits.binding);
        let (most, one_window) = if param.buffer != grad.buffer {
            (most_elements(limits.binding, limits), false)
        } else if pooled {
            (u64::MAX / 4, true)
        } else {
            largest_in_one_buffer(param.offset.abs_diff(grad.offset), limits)
        };
        let mut start = 0;
        while start < segment.len {
            let len = most.min(segment.len - start);
            let skip = 4 * (segment.start + start);
            let at = |place: Place| Place { offset: place.offset + skip, ..place };
            let (param, grad) = (at(param), at(grad));
            let piece = Piece { segment: number, start, len, access: Access::Quads, param, grad, one_window };
            pieces.extend(split_by_access(piece));
            start += len;
        }
    }
    pieces
}

/// For each page and each buffer that holds parameters together with their gradients: the window around all
/// of them.
fn pools(segments: &[Segment], bindings: &[Binding], limits: &Limits) -> HashMap<(usize, usize), Window> {
    let mut pools = HashMap::new();
    for segment in segments {
        let Binding { param, grad } = bindings[segment.tensor];
        if param.buffer == grad.buffer {
            let skip = 4 * segment.start;
            for place in [param, grad] {
                let part = Window::around(Place { offset: place.offset + skip, ..place }, segment.len, limits);
                pools
                    .entry((segment.page, place.buffer))
                    .and_modify(|pool: &mut Window| *pool = pool.union(&part))
                    .or_insert(part);
            }
        }
    }
    pools
}

/// The longest piece, and whether it takes one window or two, of a parameter whose gradient lies `distance`
/// bytes off in the same buffer, when that buffer's tensors do not fit one binding together. Two windows on one
/// buffer must not overlap, though each starts up to an alignment before its first element.
fn largest_in_one_buffer(distance: u64, limits: &Limits) -> (u64, bool) {
    if distance <= limits.binding / 2 {
        (most_elements(limits.binding - distance, limits), true)
    } else {
        (most_elements(distance.min(limits.binding), limits), false)
    }
}

/// Elements that a window of `bytes` holds wherever it starts, in whole quads.
fn most_elements(bytes: u64, limits: &Limits) -> u64 {
    (bytes - limits.alignment) / 4 / QUAD * QUAD
}

/// Whole quads if parameter and gradient lie on the 16-byte grid, the rest by elements.
fn split_by_access(piece: Piece) -> impl Iterator<Item = Piece> {
    let aligned = piece.param.offset % (4 * QUAD) == 0 && piece.grad.offset % (4 * QUAD) == 0;
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
