//! The twin of `measure.wgsl`. It sums in `f64`, where no square of an `f32` leaves the range.

use rayon::prelude::*;

use super::values::Values;
use super::{CHUNK, min_tasks};
use crate::verdict::Found;

/// Sums that grow side by side, always the same ones, so that the result does not depend on how wide a processor is.
const LANES: usize = 16;

/// What all gradients are. Chunks are summed up on all cores and put together in their order.
pub(super) fn find<'a>(grads: impl Iterator<Item = Values<'a>>) -> Found {
    let chunks: Vec<_> = grads.flat_map(|grad| grad.chunks(CHUNK)).collect();
    let elements = chunks.iter().map(|chunk| chunk.len()).sum();
    let arch = pulp::Arch::new();
    let tasks = chunks.par_iter().with_min_len(min_tasks(elements, chunks.len()));
    let partials = tasks.map_init(Vec::new, |scratch, &grad| arch.dispatch(Measure { grad, scratch }));
    let partials: Vec<_> = partials.collect();
    let squares: f64 = partials.iter().map(|&(squares, _)| squares).sum();
    let largest = partials.iter().map(|&(_, largest)| largest).max().unwrap_or(0);
    Found { norm: squares.sqrt(), largest }
}

/// A chunk to be measured. A closure that could be called twice is no task for `pulp`: what calls it once is a function of its
/// own, compiled for any processor.
struct Measure<'a> {
    grad: Values<'a>,
    scratch: &'a mut Vec<f32>,
}

impl pulp::NullaryFnOnce for Measure<'_> {
    type Output = (f64, u32);

    #[inline(always)]
    fn call(self) -> Self::Output {
        measure(self.grad.single(self.scratch))
    }
}

/// Σ g² and the bits of the largest |g|.
#[inline(always)]
fn measure(grad: &[f32]) -> (f64, u32) {
    let (mut squares, mut largest) = ([0.0; LANES], [0; LANES]);
    let (rows, rest) = grad.as_chunks::<LANES>();
    for row in rows {
        for lane in 0..LANES {
            add(row[lane], &mut squares[lane], &mut largest[lane]);
        }
    }
    for (lane, &g) in rest.iter().enumerate() {
        add(g, &mut squares[lane], &mut largest[lane]);
    }
    (squares.iter().sum(), largest.into_iter().fold(0, u32::max))
}

#[inline(always)]
fn add(g: f32, squares: &mut f64, largest: &mut u32) {
    *squares += f64::from(g) * f64::from(g);
    *largest = (*largest).max(g.abs().to_bits());
}
