//! Tensors that share bytes.

use super::binding::{Bound, Slice};
use super::others::OtherGrad;
use crate::error::{Error, Role};
use crate::param::Param;

/// What lies somewhere in the caller's buffers, for an error.
#[derive(Clone, Copy)]
enum Owner<'a> {
    /// A parameter's tensor.
    Own(&'a str, Role),
    /// A gradient of somebody else's, by its number.
    Other(usize),
}

/// Checks that no two tensors overlap, the gradients of others among them. Natively wgpu does not check that writable bindings
/// are disjoint.
pub(super) fn check_overlap<'a>(
    tensors: impl Iterator<Item = (&'a Param, &'a Bound)>,
    others: &'a [OtherGrad],
) -> Result<(), Error> {
    let own = |(param, bound): (&'a Param, &'a Bound)| {
        bound.tensors(param).map(|(role, slice, end)| (slice, end, Owner::Own(&param.name, role)))
    };
    let others = others.iter().enumerate().filter(|(_, other)| other.len > 0);
    let others = others.map(|(index, other)| (&other.grad, other.end(), Owner::Other(index)));
    let mut slices: Vec<(&Slice, u64, Owner<'_>)> =
        tensors.filter(|(param, _)| param.len > 0).flat_map(own).chain(others).collect();
    slices.sort_by(|(a, ..), (b, ..)| a.buffer.cmp(&b.buffer).then(a.offset.cmp(&b.offset)));
    for pair in slices.windows(2) {
        let [(before, end, other), (after, _, owner)] = pair else { continue };
        if before.buffer == after.buffer && *end > after.offset {
            return Err(overlap(*owner, *other));
        }
    }
    Ok(())
}

fn overlap(owner: Owner<'_>, other: Owner<'_>) -> Error {
    let of_other = |index, with: String| {
        let reason = format!("overlaps {with}; give each tensor its own bytes, and give each gradient once");
        Error::OtherGrad { index, reason }
    };
    match (owner, other) {
        (Owner::Own(name, role), Owner::Own(other, other_role)) => {
            Error::Overlap { name: name.to_owned(), role, other: other.to_owned(), other_role }
        }
        (Owner::Other(index), Owner::Own(name, role)) | (Owner::Own(name, role), Owner::Other(index)) => {
            of_other(index, format!("the {role} slice of `{name}`"))
        }
        (Owner::Other(index), Owner::Other(other)) => of_other(index, format!("other gradient {other}")),
    }
}
