//! Where things lie in GPU buffers: rows of hidden units padded with zeros to whole tiles.

use miadam_support::mnist::network::{CLASSES, INPUTS, Weights};

/// Rows and columns of a tile of forward.wgsl.
const TILE: usize = 8;

/// Elements of a dlogits row and of b2.
pub const CLASSES_PADDED: usize = CLASSES.next_multiple_of(4);

/// The pool of parameters, or of gradients.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub hidden: usize,
}

impl Layout {
    /// Elements of a row of hidden units.
    pub fn row(self) -> usize {
        self.hidden.next_multiple_of(TILE)
    }

    /// A row in vec4s.
    pub fn quads(self) -> usize {
        self.row() / 4
    }

    /// Elements of w1, b1, w2 and b2, which lie one after the other, their padding included.
    pub fn lens(self) -> [usize; 4] {
        let row = self.row();
        [INPUTS * row, row, CLASSES * row, CLASSES_PADDED]
    }

    /// How long a row of w1, b1, w2 and b2 is, without its padding and with it.
    pub fn rows(self) -> [(usize, usize); 4] {
        let hidden = (self.hidden, self.row());
        [hidden, hidden, hidden, (CLASSES, CLASSES_PADDED)]
    }

    /// A pool of these weights. The padding is 0, has gradients of 0, and therefore stays 0.
    pub fn pack(self, weights: &Weights) -> Vec<f32> {
        let tensors = weights.tensors().into_iter().zip(self.rows());
        tensors.flat_map(|(tensor, (plain, padded))| resize_rows(tensor, plain, padded)).collect()
    }

    /// The weights of a pool.
    #[cfg(test)]
    pub fn unpack(self, mut pool: &[f32]) -> Weights {
        let tensors = self.lens().into_iter().zip(self.rows()).map(|(len, (plain, padded))| {
            let (tensor, rest) = pool.split_at(len);
            pool = rest;
            resize_rows(tensor, padded, plain)
        });
        let [w1, b1, w2, b2] = tensors.collect::<Vec<_>>().try_into().unwrap();
        Weights { w1, b1, w2, b2 }
    }
}

/// Cuts rows of one length to another, or fills them up with zeros.
pub fn resize_rows<T: Copy + Default>(values: &[T], from: usize, to: usize) -> Vec<T> {
    let zeros = vec![T::default(); to.saturating_sub(from)];
    values.chunks_exact(from).flat_map(|row| [&row[..from.min(to)], &zeros].concat()).collect()
}

/// Rows of a batch in buffers.
pub fn padded_rows(batch_size: usize) -> usize {
    batch_size.next_multiple_of(TILE)
}
