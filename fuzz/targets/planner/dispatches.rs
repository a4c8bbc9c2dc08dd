//! Whether the dispatches reach every element once, with its own gradient and state, and exceed no limit.

use miadam::layout::{CHUNK, Chunk, WORKGROUP};
use miadam::plan::{
    Access, Binding, Dispatch, Extras, Form, Limits, Place, Plan, Rounding, Segment, Shape, StateLayout, Tensor,
};

/// The elements of a chunk, one after the other.
struct Part<'a> {
    dispatch: &'a Dispatch,
    chunk: &'a Chunk,
    param: Place,
    grad: Place,
    /// Bytes of θ.
    bytes: u64,
}

pub fn check(plan: &Plan, layout: &StateLayout, tensors: &[Tensor], bindings: &[Binding], limits: &Limits) {
    let mut parts = Vec::new();
    for dispatch in &plan.dispatches {
        check_dispatch(dispatch, limits);
        parts.extend(dispatch.chunks.iter().map(|chunk| part(dispatch, chunk)));
    }
    parts.sort_unstable_by_key(|part| part.param);
    for pair in parts.windows(2) {
        let ([one, two], bytes) = ([pair[0].param, pair[1].param], pair[0].bytes);
        assert!(one.buffer != two.buffer || one.offset + bytes <= two.offset, "{one:?} and {two:?} overlap");
    }
    let reached: u64 = parts.iter().map(|part| u64::from(part.chunk.len)).sum();
    assert_eq!(reached, tensors.iter().map(|tensor| tensor.len).sum::<u64>());
    for segment in &layout.segments {
        check_segment(segment, &tensors[segment.tensor], &bindings[segment.tensor], &parts);
    }
}

/// As `update.wgsl` computes it.
fn part<'a>(dispatch: &'a Dispatch, chunk: &'a Chunk) -> Part<'a> {
    let numbers = match dispatch.kernel.form {
        Form::One => [0, 0],
        Form::Two => [0, 1],
        Form::Pairs | Form::Many => [chunk.windows as usize & 0xffff, chunk.windows as usize >> 16],
    };
    if dispatch.kernel.form == Form::Pairs {
        assert_eq!(numbers.map(|number| number % 2), [0, 1], "the windows that the kernel looks among");
    }
    let format = dispatch.kernel.format;
    let unit = match dispatch.kernel.access {
        Access::Quads => {
            assert!(chunk.len.is_multiple_of(4), "whole quads");
            format.quad_word()
        }
        Access::Elements => 4,
    };
    assert!(chunk.len > 0);
    let roles = [(numbers[0], chunk.param, format.param), (numbers[1], chunk.grad, format.grad)];
    let [param, grad] = roles.map(|(number, first, dtype)| {
        let window = dispatch.windows[number];
        let byte = unit * u64::from(first);
        assert!(byte + dtype.width() * u64::from(chunk.len) <= window.size, "byte {byte} of {window:?}");
        Place { buffer: window.buffer, offset: window.offset + byte }
    });
    Part { dispatch, chunk, param, grad, bytes: format.param.width() * u64::from(chunk.len) }
}

/// What a chunk says of its elements is linear in their number, so it holds for all if for the first.
fn check_segment(segment: &Segment, tensor: &Tensor, binding: &Binding, parts: &[Part<'_>]) {
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
        assert_eq!((chunk.group, dispatch.kernel.format), (tensor.group, tensor.format));
        assert_eq!(Extras::union(dispatch.kernel.extras, tensor.extras), dispatch.kernel.extras);
        if tensor.format.rounding == Rounding::Stochastic {
            assert_eq!((chunk.stream, 4 * u64::from(chunk.first) + own), (tensor.stream, element));
        }
        element += u64::from(chunk.len) - own;
    }
}

fn check_dispatch(dispatch: &Dispatch, limits: &Limits) {
    let Dispatch { kernel, windows, chunks, workgroups: [x, y], .. } = dispatch;
    assert!(*x <= limits.workgroups && *y <= limits.workgroups, "{x} x {y} workgroups");
    let needed = match kernel.shape {
        Shape::Run => {
            assert_eq!(chunks.len(), 1);
            u64::from(chunks[0].len).div_ceil(WORKGROUP)
        }
        Shape::Table => {
            assert!(chunks.iter().all(|chunk| u64::from(chunk.len) <= CHUNK));
            assert!(size_of_val(&chunks[..]) as u64 <= limits.binding.min(limits.buffer), "{} chunks", chunks.len());
            chunks.len() as u64
        }
    };
    let groups = u64::from(*x) * u64::from(*y);
    assert!(groups >= needed && groups < needed + u64::from(*y), "{x} x {y} for {needed}");
    match kernel.form {
        Form::One => assert_eq!(windows.len(), 1),
        Form::Two => assert_eq!(windows.len(), 2),
        Form::Pairs | Form::Many => assert!(windows.len() <= limits.windows),
    }
    for (number, window) in windows.iter().enumerate() {
        assert!(window.size <= limits.binding, "{window:?}");
        assert!(window.offset.is_multiple_of(limits.alignment) && window.size.is_multiple_of(4), "{window:?}");
        for other in &windows[..number] {
            let apart = window.offset >= other.offset + other.size || other.offset >= window.offset + window.size;
            assert!(window.buffer != other.buffer || apart, "{window:?} overlaps {other:?}");
        }
    }
}
