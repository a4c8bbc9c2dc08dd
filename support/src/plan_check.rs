//! What holds of every dispatch of the planner, as `update.wgsl` reaches it.

use miadam::abi::{CHUNK, Chunk, WORKGROUP_SIZE};
use miadam::plan::{Access, Dispatch, Form, Limits, Place, Shape};

/// # Panics
/// Unless a device with these limits takes it.
pub fn check(dispatch: &Dispatch, limits: &Limits) {
    let Dispatch { kernel, windows, chunks, workgroups: [x, y], .. } = dispatch;
    assert!(*x <= limits.workgroups && *y <= limits.workgroups, "{x} x {y} workgroups");
    let needed = match kernel.shape {
        Shape::Run => {
            assert_eq!(chunks.len(), 1);
            kernel.format.state.bundles(chunks[0].len.into()).div_ceil(WORKGROUP_SIZE.into())
        }
        Shape::Table => {
            assert!(chunks.iter().all(|chunk| u64::from(chunk.len) <= CHUNK * kernel.format.state.bundle()));
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
        assert_eq!(window.offset % limits.alignment, 0, "{window:?}");
        assert_eq!(window.size % 4, 0, "{window:?}");
        for other in &windows[..number] {
            let apart = window.offset >= other.offset + other.size || other.offset >= window.offset + window.size;
            assert!(window.buffer != other.buffer || apart, "{window:?} overlaps {other:?}");
        }
    }
}

/// Where the first elements of a chunk's parameter and gradient lie.
///
/// # Panics
/// Unless the others follow within their windows.
pub fn places(dispatch: &Dispatch, chunk: &Chunk) -> [Place; 2] {
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
            assert!(u64::from(chunk.len).is_multiple_of(format.state.block()), "whole blocks");
            format.quad_word()
        }
        Access::Elements => 4,
    };
    assert!(chunk.len > 0);
    let roles = [(numbers[0], chunk.param, format.param), (numbers[1], chunk.grad, format.grad)];
    roles.map(|(number, first, dtype)| {
        let window = dispatch.windows[number];
        let byte = unit * u64::from(first);
        assert!(byte + dtype.width() * u64::from(chunk.len) <= window.size, "byte {byte} of {window:?}");
        Place { buffer: window.buffer, offset: window.offset + byte }
    })
}
