//! The places of the tensors' state in the optimizer's own buffers.

use super::limits::Limits;
use super::tensor::{Placement, Tensor};
use crate::abi::QUAD;
use crate::error::Error;

/// Bytes of a quad.
const BYTES: u64 = 4 * QUAD;

/// Elements of one tensor whose state lies in one page.
///
/// Segments with the same planes share a *slab*. Over a slab each plane is contiguous, so that neighbours in memory can be
/// updated as one run.
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
    /// First quad of its first moment in the page's moments.
    pub moments: u64,
    /// First quad of its first integral in the page's integrals.
    pub integrals: u64,
    /// Quads from a plane to the next: the length of its slab.
    pub stride: u64,
}

/// A buffer of moments and one of integrals. A dispatch binds both whole. They are apart so that the integrals can be freed
/// after ζ without moving the moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Bytes of moments.
    pub moments: u64,
    /// Bytes of integrals.
    pub integrals: u64,
}

/// The places of the state of every tensor. They do not depend on where the caller's tensors move later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateLayout {
    /// Every element of every tensor, in the order in which the state lies in memory.
    pub segments: Vec<Segment>,
    /// The state's buffers.
    pub pages: Vec<Page>,
}

impl StateLayout {
    /// Fills page after page. Tensors with the same planes come together, in the order in which they lie in the caller's
    /// buffers, so that neighbours there are neighbours in the state.
    ///
    /// # Errors
    /// If a single quad with its planes does not fit a binding.
    pub fn new(tensors: &[Tensor], placements: &[Placement], limits: &Limits) -> Result<Self, Error> {
        let capacity = limits.binding.min(limits.buffer) / BYTES;
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&tensor| (tensors[tensor].planes(), placements[tensor].param));

        let mut layout = Self::default();
        let mut slab = 0;
        for (place, &tensor) in order.iter().enumerate() {
            let shape = &tensors[tensor];
            let most = shape.moment_planes.max(shape.integral_planes);
            if most > capacity {
                let limit =
                    if limits.binding <= limits.buffer { "max_storage_buffer_binding_size" } else { "max_buffer_size" };
                return Err(Error::LimitTooSmall { limit, needed: most * BYTES, available: capacity * BYTES });
            }
            let mut start = 0;
            while start < shape.len {
                let quads = (shape.len - start).div_ceil(QUAD).min(layout.room(shape, capacity));
                if quads > 0 {
                    layout.push(tensor, shape, start, quads);
                    start += quads * QUAD;
                } else {
                    layout.close(&mut slab, tensors);
                    layout.pages.push(Page::default());
                }
            }
            let next = order.get(place + 1).map(|&next| tensors[next].planes());
            if next != Some(shape.planes()) {
                layout.close(&mut slab, tensors);
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

    /// Puts `quads` of a tensor into the last page. Their places in it are known when the slab is closed.
    fn push(&mut self, tensor: usize, shape: &Tensor, start: u64, quads: u64) {
        let page = self.pages.len() - 1;
        let len = (shape.len - start).min(quads * QUAD);
        self.segments.push(Segment { tensor, start, len, page, moments: 0, integrals: 0, stride: 0 });
        self.pages[page].moments += quads * shape.moment_planes * BYTES;
        self.pages[page].integrals += quads * shape.integral_planes * BYTES;
    }

    /// Lays out the planes of the segments from number `slab` on, which are the end of the last page.
    fn close(&mut self, slab: &mut usize, tensors: &[Tensor]) {
        let segments = &mut self.segments[*slab..];
        *slab += segments.len();
        let stride: u64 = segments.iter().map(|segment| segment.len.div_ceil(QUAD)).sum();
        let mut before = 0;
        for segment in segments {
            let (page, shape) = (&self.pages[segment.page], &tensors[segment.tensor]);
            segment.moments = page.moments / BYTES - stride * shape.moment_planes + before;
            segment.integrals = page.integrals / BYTES - stride * shape.integral_planes + before;
            segment.stride = stride;
            before += segment.len.div_ceil(QUAD);
        }
    }

    /// Takes the integrals out of all pages; returns their bytes. Where they lay in a page no longer matters.
    pub(crate) fn drop_integrals(&mut self) -> u64 {
        self.pages.iter_mut().map(|page| std::mem::take(&mut page.integrals)).sum()
    }

    /// Bytes of all pages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.moments + page.integrals).sum()
    }
}
