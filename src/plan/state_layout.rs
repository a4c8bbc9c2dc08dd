use super::{Binding, Limits, Tensor};
use crate::Error;
use crate::layout::QUAD;

/// Bytes of a quad.
const BYTES: u64 = 4 * QUAD;

/// A run of elements of one tensor whose state lies in one page, each plane of it contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The tensor's number.
    pub tensor: usize,
    /// Its first element in the tensor, a multiple of [`QUAD`].
    pub start: u64,
    /// Its elements.
    pub len: u64,
    /// Its page.
    pub page: usize,
    /// First quad of the first moment in the page's moments.
    pub moments: u64,
    /// First quad of the first integral in the page's integrals.
    pub integrals: u64,
    /// Quads from a plane to the next.
    pub stride: u64,
}

/// A buffer of moments and one of integrals that a dispatch binds whole. The two are apart so that the
/// integrals can be dropped after ζ without moving the moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Bytes of moments.
    pub moments: u64,
    /// Bytes of integrals.
    pub integrals: u64,
}

/// Where the state of every tensor lies. It does not depend on where the caller's tensors move later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateLayout {
    /// Every element of every tensor, in the order in which the state lies in memory.
    pub segments: Vec<Segment>,
    /// The state's buffers.
    pub pages: Vec<Page>,
}

impl StateLayout {
    /// Fills page after page, in the order in which the parameters lie in the caller's buffers, so that
    /// neighbours there are neighbours in the state.
    ///
    /// # Errors
    /// If a single quad with its planes does not fit a binding.
    pub fn new(tensors: &[Tensor], bindings: &[Binding], limits: &Limits) -> Result<Self, Error> {
        let capacity = limits.binding.min(limits.buffer) / BYTES;
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&tensor| bindings[tensor].param);

        let mut layout = Self::default();
        for tensor in order {
            let shape = &tensors[tensor];
            let planes = shape.moment_planes.max(shape.integral_planes);
            if planes > capacity {
                let limit =
                    if limits.binding <= limits.buffer { "max_storage_buffer_binding_size" } else { "max_buffer_size" };
                return Err(Error::LimitTooSmall { limit, needed: planes * BYTES, available: capacity * BYTES });
            }
            let mut start = 0;
            while start < shape.len {
                let stride = (shape.len - start).div_ceil(QUAD).min(layout.room(shape, capacity));
                if stride == 0 {
                    layout.pages.push(Page::default());
                } else {
                    layout.push(tensor, shape, start, stride);
                    start += stride * QUAD;
                }
            }
        }
        Ok(layout)
    }

    /// Quads of a tensor that the last page has room for.
    fn room(&self, tensor: &Tensor, capacity: u64) -> u64 {
        let Some(page) = self.pages.last() else { return 0 };
        let quads = |used: u64, planes: u64| (capacity - used / BYTES).checked_div(planes).unwrap_or(u64::MAX);
        quads(page.moments, tensor.moment_planes).min(quads(page.integrals, tensor.integral_planes))
    }

    /// Puts `stride` quads of a tensor at the end of the last page.
    fn push(&mut self, tensor: usize, shape: &Tensor, start: u64, stride: u64) {
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        self.segments.push(Segment {
            tensor,
            start,
            len: (shape.len - start).min(stride * QUAD),
            page: number,
            moments: page.moments / BYTES,
            integrals: page.integrals / BYTES,
            stride,
        });
        page.moments += stride * shape.moment_planes * BYTES;
        page.integrals += stride * shape.integral_planes * BYTES;
    }

    /// Bytes of all pages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.moments + page.integrals).sum()
    }
}
