//! Where things lie in GPU buffers: rows of hidden units padded with zeros to whole tiles.

use std::ops::Range;

use crate::network::{CLASSES, INPUTS, Weights};

/// Rows and columns of a tile of forward.wgsl.
const TILE: usize = 8;

/// Elements of a dlogits row and of b2.
pub const CLASSES_PADDED: usize = CLASSES.next_multiple_of(4);

/// The pool of parameters, or of gradients.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    hidden: usize,
}

impl Layout {
    pub fn new(hidden: usize) -> Self {
        Self { hidden }
    }

    /// Elements of a row of hidden units.
    pub fn row(self) -> usize {
        self.hidden.next_multiple_of(TILE)
    }

    /// A row in vec4s.
    pub fn quads(self) -> usize {
        self.row() / 4
    }

    /// Elements of a pool.
    pub fn len(self) -> usize {
        self.tensors()[3].end
    }

    /// The elements of w1, b1, w2 and b2, their padding included.
    pub fn tensors(self) -> [Range<usize>; 4] {
        let row = self.row();
        let mut start = 0;
        [INPUTS * row, row, CLASSES * row, CLASSES_PADDED].map(|len| {
            let range = start..start + len;
            start += len;
            range
        })
    }

    /// How long a row of w1, b1, w2 and b2 is, without its padding and with it.
    pub fn rows(self) -> [(usize, usize); 4] {
        let hidden = (self.hidden, self.row());
        [hidden, hidden, hidden, (CLASSES, CLASSES_PADDED)]
    }

    /// A pool of these weights. The padding is 0, has gradients of 0, and therefore stays 0.
    pub fn pack(self, weights: &Weights) -> Vec<f32> {
        let mut pool = vec![0.0; self.len()];
        let [w1, b1, w2, b2] = self.tensors();
        for (range, tensor) in [(w1, &weights.w1), (b1, &weights.b1), (w2, &weights.w2)] {
            for (padded, row) in pool[range].chunks_exact_mut(self.row()).zip(tensor.chunks_exact(self.hidden)) {
                padded[..self.hidden].copy_from_slice(row);
            }
        }
        pool[b2][..CLASSES].copy_from_slice(&weights.b2);
        pool
    }

    /// The weights of a pool.
    #[cfg(test)]
    pub fn unpack(self, pool: &[f32]) -> Weights {
        let [w1, b1, w2, b2] = self.tensors();
        let rows = |range: Range<usize>| {
            pool[range].chunks_exact(self.row()).flat_map(|row| row[..self.hidden].to_vec()).collect()
        };
        Weights { w1: rows(w1), b1: rows(b1), w2: rows(w2), b2: pool[b2][..CLASSES].to_vec() }
    }
}

/// Rows of a batch in buffers.
pub fn padded_rows(batch_size: usize) -> usize {
    batch_size.next_multiple_of(TILE)
}
