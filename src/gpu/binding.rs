//! The places of the caller's tensors.

use std::collections::HashMap;

use crate::dtype::Dtype;
use crate::error::{Error, Role};
use crate::param::Param;
use crate::plan::{Place, Placement};

/// A place in a buffer of the caller's: where a tensor begins.
///
/// A buffer alone is a place, too: its first byte.
///
/// ```
/// use miadam::Slice;
///
/// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return };
/// # let device = gpu.device;
/// let pool = device.create_buffer(&wgpu::BufferDescriptor {
///     label: Some("parameters"),
///     size: 4096,
///     usage: wgpu::BufferUsages::STORAGE,
///     mapped_at_creation: false,
/// });
/// assert_eq!(Slice::from(&pool), Slice::new(&pool, 0));
/// assert_eq!(Slice::from((&pool, 1024)).offset, 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The buffer, with `BufferUsages::STORAGE`. [`read_checkpoint`](crate::MiAdam::read_checkpoint) with parameters also
    /// needs `COPY_SRC`, and [`write_params`](crate::MiAdam::write_params) needs `COPY_DST`.
    pub buffer: wgpu::Buffer,
    /// The first byte, a multiple of 4. A multiple of 16 is reached fastest, in half precision a multiple of 8.
    pub offset: u64,
}

impl Slice {
    /// The tensor that begins at byte `offset` of `buffer`.
    #[must_use]
    pub fn new(buffer: &wgpu::Buffer, offset: u64) -> Self {
        Self { buffer: buffer.clone(), offset }
    }
}

impl From<&wgpu::Buffer> for Slice {
    fn from(buffer: &wgpu::Buffer) -> Self {
        Self::new(buffer, 0)
    }
}

impl From<(&wgpu::Buffer, u64)> for Slice {
    fn from((buffer, offset): (&wgpu::Buffer, u64)) -> Self {
        Self::new(buffer, offset)
    }
}

/// The places of a parameter and its gradient. The parameter is named, so that bindings may come in any order; the order of the
/// groups is the fastest.
///
/// Elements in half precision lie side by side, two in 4 bytes. A tensor with an odd number of them ends in the lower half
/// of 4 bytes, whose upper half a step leaves as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding<'a> {
    /// The name of the [`Param`].
    pub name: &'a str,
    /// θ, updated in place. It is as long as the [`Param`] says, and of its type.
    pub param: Slice,
    /// g, as long as the parameter. A step writes it only if [`GradOptions::zero`](crate::GradOptions::zero) is set.
    pub grad: Slice,
    /// The type of the gradient's elements. A buffer does not know it, so that it must be said where the parameter is in half
    /// precision. Default `None`: `f32`, for an `f32` parameter.
    pub grad_dtype: Option<Dtype>,
}

impl<'a> Binding<'a> {
    /// The parameter `name` at `param`, with its gradient at `grad`. The two tensors must share no byte with each other or
    /// with any other tensor.
    #[must_use]
    pub fn new(name: &'a str, param: impl Into<Slice>, grad: impl Into<Slice>) -> Self {
        Self { name, param: param.into(), grad: grad.into(), grad_dtype: None }
    }

    /// The same binding with a gradient of this type.
    #[must_use]
    pub fn with_grad_dtype(self, dtype: Dtype) -> Self {
        Self { grad_dtype: Some(dtype), ..self }
    }
}

/// A binding as the optimizer keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub param: Slice,
    pub grad: Slice,
    pub grad_dtype: Dtype,
}

impl Bound {
    /// Checks a binding by itself.
    pub fn new(param: &Param, binding: Binding<'_>) -> Result<Self, Error> {
        let grad_dtype = match (binding.grad_dtype, param.dtype) {
            (Some(dtype), _) => dtype,
            (None, Dtype::F32) => Dtype::F32,
            // Gradients of both types are usual, and the wrong one would train half of the elements by noise.
            (None, Dtype::F16 | Dtype::Bf16) => return Err(Error::UnknownGradDtype { name: param.name.clone() }),
        };
        check_slice(param, Role::Param, &binding.param, param.dtype)?;
        check_slice(param, Role::Grad, &binding.grad, grad_dtype)?;
        Ok(Self { param: binding.param, grad: binding.grad, grad_dtype })
    }

    /// The parameter and its gradient, each with the byte after its last.
    pub fn tensors(&self, param: &Param) -> [(Role, &Slice, u64); 2] {
        [
            (Role::Param, &self.param, end(&self.param, param.dtype, param.len)),
            (Role::Grad, &self.grad, end(&self.grad, self.grad_dtype, param.len)),
        ]
    }
}

fn check_slice(param: &Param, role: Role, slice: &Slice, dtype: Dtype) -> Result<(), Error> {
    let &Slice { ref buffer, offset } = slice;
    let name = || param.name.clone();
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return Err(Error::MissingStorageUsage { name: name(), role });
    }
    if !offset.is_multiple_of(4) {
        return Err(Error::Misaligned { name: name(), role, offset });
    }
    if end(slice, dtype, param.len) > buffer.size() {
        let (len, size) = (param.len as u64, buffer.size());
        return Err(Error::OutOfBounds { name: name(), role, offset, len, size });
    }
    Ok(())
}

/// The byte after a tensor's last, in whole words of 4 bytes, which is how a device reaches them. It saturates.
pub(super) fn end(slice: &Slice, dtype: Dtype, len: usize) -> u64 {
    let bytes = (len as u64).checked_mul(dtype.width()).and_then(|bytes| bytes.checked_next_multiple_of(4));
    bytes.and_then(|bytes| bytes.checked_add(slice.offset)).unwrap_or(u64::MAX)
}

/// Numbers the buffers in the order of their first use, those of tensors that are `used`. Others have no place that counts.
// A buffer's identity, by which it is hashed, does not change.
#[allow(clippy::mutable_key_type)]
pub(super) fn number_buffers(bound: &[Bound], is_used: impl Fn(usize) -> bool) -> (Vec<Placement>, Vec<wgpu::Buffer>) {
    let mut numbers = HashMap::new();
    let mut buffers = Vec::new();
    let mut place = |slice: &Slice| {
        let buffer = *numbers.entry(slice.buffer.clone()).or_insert_with(|| {
            buffers.push(slice.buffer.clone());
            buffers.len() - 1
        });
        Place { buffer, offset: slice.offset }
    };
    let nowhere = Place { buffer: 0, offset: 0 };
    let placement = |(number, Bound { param, grad, .. }): (usize, &Bound)| {
        let is_used = is_used(number);
        let [param, grad] = [param, grad].map(|slice| if is_used { place(slice) } else { nowhere });
        Placement { param, grad }
    };
    let placements = bound.iter().enumerate().map(placement).collect();
    (placements, buffers)
}
