//! Gradients of tensors that somebody else updates.

use super::binding::{Bound, Slice, end, number_buffers};
use super::bound_plan::Placed;
use crate::dtype::Dtype;
use crate::error::Error;
use crate::options::{HalfParams, StatePrecision};
use crate::plan::{Format, Limits, Plan, StateLayout, Tensor};

/// The gradient of a tensor that somebody else updates. It counts in the global norm and in the search for values that are not
/// finite: see [`MiAdam::set_other_grads`](crate::MiAdam::set_other_grads).
///
/// ```
/// use miadam::{Dtype, OtherGrad};
///
/// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return };
/// # let gradients = gpu.buffer("gradients", 4096, wgpu::BufferUsages::STORAGE).unwrap();
/// let embedding = OtherGrad::new((&gradients, 1024), 500);
/// assert_eq!(embedding.dtype, Dtype::F32);
/// let head = OtherGrad::new(&gradients, 512).with_dtype(Dtype::Bf16);
/// assert_eq!((head.len, head.dtype), (512, Dtype::Bf16));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherGrad {
    /// The place of its first element.
    pub grad: Slice,
    /// Elements.
    pub len: usize,
    /// The type of the elements.
    pub dtype: Dtype,
}

impl OtherGrad {
    /// `len` elements of `f32` at this place.
    #[must_use]
    pub fn new(grad: impl Into<Slice>, len: usize) -> Self {
        Self { grad: grad.into(), len, dtype: Dtype::F32 }
    }

    /// The same place with as many elements of this type.
    #[must_use]
    pub fn with_dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// The byte after its last.
    pub(super) fn end(&self) -> u64 {
        end(&self.grad, self.dtype, self.len)
    }

    /// Checks a gradient by itself. `index` is what an error calls it.
    fn check(&self, index: usize) -> Result<(), Error> {
        let Slice { buffer, offset } = &self.grad;
        let refuse = |reason| Err(Error::OtherGrad { index, reason });
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return refuse("lies in a buffer without BufferUsages::STORAGE; create it with that usage".to_owned());
        }
        if !offset.is_multiple_of(4) {
            return refuse(format!("starts at byte {offset}; move it to a multiple of 4 (offsets count bytes)"));
        }
        if self.end() > buffer.size() {
            return refuse(format!(
                "of {} elements at byte {offset} passes the end of its buffer of {} bytes; shorten it or enlarge the buffer \
                 (lengths count elements, offsets count bytes)",
                self.len,
                buffer.size()
            ));
        }
        Ok(())
    }

    /// The gradient as the planner knows it: a tensor without state.
    fn tensor(&self) -> Tensor {
        let format = Format::new(self.dtype, self.dtype, HalfParams::default(), StatePrecision::F32);
        Tensor { len: self.len as u64, format, ..Tensor::default() }
    }
}

/// The gradients of others, each of which is checked by itself.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub grads: Vec<OtherGrad>,
    /// Each as its own parameter, so that one window reaches both.
    bound: Vec<Bound>,
    tensors: Vec<Tensor>,
}

impl Others {
    pub fn new(grads: Vec<OtherGrad>) -> Result<Self, Error> {
        grads.iter().enumerate().try_for_each(|(index, grad)| grad.check(index))?;
        let bound = |OtherGrad { grad, dtype, .. }: &OtherGrad| Bound {
            param: grad.clone(),
            grad: grad.clone(),
            grad_dtype: *dtype,
        };
        let (bound, tensors) = grads.iter().map(|grad| (bound(grad), grad.tensor())).unzip();
        Ok(Self { grads, bound, tensors })
    }

    /// The dispatches that measure them.
    pub fn plan(&self, limits: &Limits) -> Result<Placed, Error> {
        let (placements, buffers) = number_buffers(&self.bound, |_| true);
        let layout = StateLayout::new(&self.tensors, &placements, limits)?;
        Ok(Placed { plan: Plan::new(&self.tensors, &placements, &layout, limits), buffers })
    }
}
