//! All gradients measured, on all cores.

use rayon::prelude::*;

use super::update::min_tasks;
use crate::math::measure::measure;
use crate::math::verdict::Found;
use crate::values::Values;

/// Elements that are summed up together. The bits of a norm depend on it.
const CHUNK: usize = 4096;

/// Measures chunk after chunk on all cores. The chunks' sums are put together in their order.
pub(super) fn find<'a>(grads: impl Iterator<Item = Values<'a>>) -> Found {
    let chunks: Vec<_> = grads.flat_map(|grad| grad.chunks(CHUNK)).collect();
    let elements = chunks.iter().map(|chunk| chunk.len()).sum();
    let arch = pulp::Arch::new();
    let tasks = chunks.par_iter().with_min_len(min_tasks(elements, chunks.len()));
    let partials = tasks.map_init(Vec::new, |scratch, &grad| arch.dispatch(Measure { grad, scratch }));
    let partials: Vec<_> = partials.collect();
    // From 0: the sum of no floats is -0.
    let from_none = (0.0, 0);
    let (squares, largest) = partials.iter().fold(from_none, |sum, part| (sum.0 + part.0, part.1.max(sum.1)));
    Found { norm: f64::sqrt(squares), largest }
}

/// A chunk to be measured. It is a struct because `pulp` compiles a closure that can be called twice for any processor only.
struct Measure<'a> {
    grad: Values<'a>,
    scratch: &'a mut Vec<f32>,
}

impl pulp::NullaryFnOnce for Measure<'_> {
    type Output = (f64, u32);

    #[inline(always)]
    fn call(self) -> Self::Output {
        measure(self.grad.in_f32(self.scratch))
    }
}
