//! The caller's parameters as the planner knows them.

use std::collections::HashMap;

use crate::group::{Param, Role, Slice};
use crate::plan::{Binding, Extras, Format, Place, Tensor};
use crate::state::Planes;
use crate::{Error, GradOptions, Hyperparams, half};

/// What the planner needs to know of a parameter.
pub(super) fn tensor(group: u32, hyperparams: &Hyperparams, param: &Param) -> Tensor {
    let format = Format::new(param.param.dtype, param.grad.dtype, hyperparams.half_params);
    let planes = Planes::new(hyperparams, param.param.dtype);
    let stream = half::stream(format.rounding, hyperparams.half_params, &param.name);
    Tensor {
        group,
        len: param.param.len,
        moment_planes: planes.moments() as u64,
        integral_planes: planes.integrals as u64,
        format,
        stream,
        extras: Extras::new(hyperparams, &GradOptions::default()),
    }
}

/// Numbers the buffers in the order of their first use.
// A buffer's identity, by which it is hashed, does not change.
#[allow(clippy::mutable_key_type)]
pub(super) fn bind(params: &[Param]) -> (Vec<Binding>, Vec<wgpu::Buffer>) {
    let mut numbers = HashMap::new();
    let mut buffers = Vec::new();
    let mut place = |slice: &Slice| {
        let buffer = *numbers.entry(slice.buffer.clone()).or_insert_with(|| {
            buffers.push(slice.buffer.clone());
            buffers.len() - 1
        });
        Place { buffer, offset: slice.offset }
    };
    let bindings =
        params.iter().map(|Param { param, grad, .. }| Binding { param: place(param), grad: place(grad) }).collect();
    (bindings, buffers)
}

/// wgpu does not check natively that writable bindings are disjoint, so it is done here.
pub(super) fn check_overlap(params: &[Param]) -> Result<(), Error> {
    let slices = params.iter().flat_map(|param| [(param, Role::Param, &param.param), (param, Role::Grad, &param.grad)]);
    let mut slices: Vec<_> = slices.filter(|(.., slice)| slice.len > 0).collect();
    slices.sort_by(|(.., a), (.., b)| a.buffer.cmp(&b.buffer).then(a.offset.cmp(&b.offset)));
    for pair in slices.windows(2) {
        let [(other, other_role, before), (param, role, after)] = [pair[0], pair[1]];
        if before.buffer == after.buffer && before.end() > after.offset {
            let (name, other) = (param.name.clone(), other.name.clone());
            return Err(Error::Overlap { name, role, other, other_role });
        }
    }
    Ok(())
}
