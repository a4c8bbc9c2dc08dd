use miadam::Dtype;

use super::Random;

/// Where a tensor lies among a rig's buffers.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    pub group: usize,
    /// In elements.
    pub len: usize,
    /// The buffer and the first 32-bit word in it, which is an element of an `f32` tensor.
    pub param: (usize, usize),
    pub grad: (usize, usize),
    pub dtype: Dtype,
    pub grad_dtype: Dtype,
}

impl Default for Spot {
    fn default() -> Self {
        Self { group: 0, len: 0, param: (0, 0), grad: (0, 0), dtype: Dtype::F32, grad_dtype: Dtype::F32 }
    }
}

/// How [`scatter`] spreads tensors over buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Parameters and gradients of all tensors interleaved in one buffer.
    OnePool,
    /// One buffer of parameters, one of gradients.
    TwoPools,
    /// Two buffers a tensor.
    Separate,
    /// By turns.
    Mixed,
}

/// Places tensors of `f32`, given by group and length, with gaps of 0 to 8 elements, so that about half of them start on
/// the 16-byte grid. Returns the buffers' lengths and the tensors' places.
pub fn scatter(random: &mut Random, tensors: &[(usize, usize)], home: Home) -> (Vec<usize>, Vec<Spot>) {
    let mut buffers = vec![0, 0];
    let mut place = |buffer: usize, len: usize, buffers: &mut Vec<usize>| {
        let gap = if random.below(2) == 0 { buffers[buffer].wrapping_neg() % 4 } else { random.below(9) };
        let start = buffers[buffer] + gap;
        // A few elements behind the last tensor, too.
        buffers[buffer] = start + len + 3;
        (buffer, start)
    };
    let spots = tensors.iter().enumerate().map(|(number, &(group, len))| {
        let home = match home {
            Home::Mixed => [Home::OnePool, Home::TwoPools, Home::Separate][number % 3],
            home => home,
        };
        let [param, grad] = match home {
            Home::OnePool => [0, 0],
            Home::TwoPools => [0, 1],
            Home::Separate | Home::Mixed => {
                buffers.extend([0, 0]);
                [buffers.len() - 2, buffers.len() - 1]
            }
        };
        let (param, grad) = (place(param, len, &mut buffers), place(grad, len, &mut buffers));
        Spot { group, len, param, grad, ..Spot::default() }
    });
    let spots = spots.collect();
    for len in &mut buffers {
        *len = (*len).max(4);
    }
    (buffers, spots)
}
