//! Whether the dispatches reach every element once, with its own gradient and state, and exceed no limit.

use miadam::Rounding;
use miadam::abi::Chunk;
use miadam::plan::{Dispatch, Extras, Limits, Place, Placement, Plan, Segment, StateLayout, Tensor};
use miadam_support::plan_check;

/// The elements of a chunk, one after the other.
struct Part<'a> {
    dispatch: &'a Dispatch,
    chunk: &'a Chunk,
    param: Place,
    grad: Place,
    /// Bytes of θ.
    bytes: u64,
}

pub fn check(plan: &Plan, layout: &StateLayout, tensors: &[Tensor], bindings: &[Placement], limits: &Limits) {
    let mut parts = Vec::new();
    for dispatch in &plan.dispatches {
        plan_check::check(dispatch, limits);
        parts.extend(dispatch.chunks.iter().map(|chunk| part(dispatch, chunk)));
    }
    parts.sort_unstable_by_key(|part| part.param);
    for pair in parts.windows(2) {
        let ([one, two], bytes) = ([pair[0].param, pair[1].param], pair[0].bytes);
        assert!(one.buffer != two.buffer || one.offset + bytes <= two.offset, "{one:?} and {two:?} overlap");
    }
    let reached: u64 = parts.iter().map(|part| u64::from(part.chunk.len)).sum();
    assert_eq!(reached, tensors.iter().filter(|tensor| !tensor.rests).map(|tensor| tensor.len).sum::<u64>());
    for segment in layout.segments.iter().filter(|segment| !tensors[segment.tensor].rests) {
        check_segment(segment, &tensors[segment.tensor], &bindings[segment.tensor], &parts);
    }
}

fn part<'a>(dispatch: &'a Dispatch, chunk: &'a Chunk) -> Part<'a> {
    let [param, grad] = plan_check::places(dispatch, chunk);
    let format = dispatch.kernel.format;
    Part { dispatch, chunk, param, grad, bytes: format.param.width() * u64::from(chunk.len) }
}

/// What a chunk says of its elements is linear in their number, so it holds for all if for the first.
fn check_segment(segment: &Segment, tensor: &Tensor, binding: &Placement, parts: &[Part<'_>]) {
    let (width, grad_width) = (tensor.format.param.width(), tensor.format.grad.width());
    let mut element = segment.start;
    while element < segment.start + segment.len {
        let at = Place { offset: binding.param.offset + width * element, ..binding.param };
        let next = parts.partition_point(|part| part.param <= at);
        let &Part { dispatch, chunk, param, grad, bytes } = &parts[next.checked_sub(1).expect("a part before it")];
        assert!(param.buffer == at.buffer && at.offset < param.offset + bytes, "{at:?} is not reached");
        // The element's number in the chunk, and in the segment.
        let (own, within) = ((at.offset - param.offset) / width, element - segment.start);
        let expected = Place { offset: binding.grad.offset + grad_width * element, ..binding.grad };
        assert_eq!(Place { offset: grad.offset + grad_width * own, ..grad }, expected);
        assert_eq!((dispatch.page, u64::from(chunk.stride)), (segment.page, segment.stride));
        assert_eq!(4 * u64::from(chunk.moments) + own, 4 * segment.moments + within);
        assert_eq!(4 * u64::from(chunk.integrals) + own, 4 * segment.integrals + within);
        assert_eq!((chunk.clock, dispatch.kernel.format), (tensor.clock, tensor.format));
        assert_eq!(Extras::union(dispatch.kernel.extras, tensor.extras), dispatch.kernel.extras);
        if tensor.format.rounding == Rounding::Stochastic {
            assert_eq!((chunk.stream, 4 * u64::from(chunk.first) + own), (tensor.stream, element));
        }
        element += u64::from(chunk.len) - own;
    }
}
