//! The places of the tensors' state in the optimizer's own buffers.

use std::collections::HashMap;

use super::limits::Limits;
use super::tensor::{Placement, Tensor};
use crate::abi::CELL_BYTES;
use crate::error::Error;

/// Elements of one tensor whose state lies in one page.
///
/// Segments with the same planes share a *slab*. Over a slab each plane is contiguous, so that neighbours in memory can be
/// updated as one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The tensor's number.
    pub tensor: usize,
    /// Its first element in the tensor, the first of a block.
    pub start: u64,
    /// Its elements.
    pub len: u64,
    /// Its page.
    pub page: usize,
    /// First cell of its first moment in the page's moments.
    pub moments: u64,
    /// First quad there of its first plane that is always `f32`: of the master copy, or else of the average.
    pub exact: u64,
    /// First cell of its first integral in the page's integrals.
    pub integrals: u64,
    /// Cells from a plane to the next: the length of its slab.
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

/// Elements of a tensor that are to be laid out: all, or those of a segment that has to move.
struct Part {
    tensor: usize,
    /// The first element, the first of a block.
    start: u64,
    len: u64,
}

impl Part {
    fn whole(tensors: &[Tensor], tensor: usize) -> Self {
        Self { tensor, start: 0, len: tensors[tensor].len }
    }
}

impl StateLayout {
    /// Fills page after page. Tensors with the same planes come together, in the order in which they lie in the caller's
    /// buffers, so that neighbours there are neighbours in the state.
    ///
    /// # Errors
    /// If a single block with its planes does not fit a binding.
    pub fn new(tensors: &[Tensor], placements: &[Placement], limits: &Limits) -> Result<Self, Error> {
        let parts = (0..tensors.len()).map(|tensor| Part::whole(tensors, tensor));
        Self::default().with(parts.collect(), tensors, placements, limits)
    }

    /// The layout after tensors have come, gone or changed. `stays` has the number before of each tensor whose length and planes
    /// are as they were. It also gives, for the first pages, the numbers of the pages before that they are; the others are new.
    ///
    /// A page stays if all of its segments do. When anything has to be laid out, small pages are laid out with it, so that many
    /// small changes do not end in many pages, each of which takes dispatches of its own.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn changed(
        &self,
        stays: &[Option<usize>],
        tensors: &[Tensor],
        placements: &[Placement],
        limits: &Limits,
    ) -> Result<(Self, Vec<usize>), Error> {
        let now: HashMap<_, _> =
            stays.iter().enumerate().filter_map(|(tensor, before)| Some(((*before)?, tensor))).collect();
        let mut holds = vec![true; self.pages.len()];
        for segment in &self.segments {
            holds[segment.page] &= now.contains_key(&segment.tensor);
        }
        let has_new = stays.iter().zip(tensors).any(|(before, tensor)| before.is_none() && tensor.len > 0);
        if has_new || holds.contains(&false) {
            let half = limits.binding.min(limits.buffer) / 2;
            let is_large = |page: &Page| page.moments.max(page.integrals) > half;
            holds.iter_mut().zip(&self.pages).for_each(|(holds, page)| *holds &= is_large(page));
        }
        let kept: Vec<_> = (0..self.pages.len()).filter(|&page| holds[page]).collect();
        let mut layout = Self { segments: Vec::new(), pages: kept.iter().map(|&page| self.pages[page]).collect() };
        let mut parts: Vec<_> = (0..tensors.len())
            .filter(|&tensor| stays[tensor].is_none())
            .map(|tensor| Part::whole(tensors, tensor))
            .collect();
        for segment in &self.segments {
            let Some(&tensor) = now.get(&segment.tensor) else { continue };
            match kept.binary_search(&segment.page) {
                Ok(page) => layout.segments.push(Segment { tensor, page, ..*segment }),
                Err(_) => parts.push(Part { tensor, start: segment.start, len: segment.len }),
            }
        }
        Ok((layout.with(parts, tensors, placements, limits)?, kept))
    }

    /// The layout with these parts in pages of their own.
    fn with(
        self,
        mut parts: Vec<Part>,
        tensors: &[Tensor],
        placements: &[Placement],
        limits: &Limits,
    ) -> Result<Self, Error> {
        let capacity = limits.binding.min(limits.buffer) / CELL_BYTES;
        parts.sort_by_key(|part| (tensors[part.tensor].planes(), placements[part.tensor].param, part.start));

        let mut layout = self;
        let (mut slab, first_page) = (layout.segments.len(), layout.pages.len());
        for (place, &Part { tensor, start, len }) in parts.iter().enumerate() {
            let shape = &tensors[tensor];
            let most = shape.format.state.block_cells() * shape.moment_cells().max(shape.integral_planes);
            if most > capacity {
                let limit =
                    if limits.binding <= limits.buffer { "max_storage_buffer_binding_size" } else { "max_buffer_size" };
                return Err(Error::LimitTooSmall {
                    limit,
                    needed: most * CELL_BYTES,
                    available: capacity * CELL_BYTES,
                });
            }
            let (mut start, end) = (start, start + len);
            while start < end {
                let room = if layout.pages.len() > first_page { layout.room(shape, capacity) } else { 0 };
                let len = (end - start).min(room);
                if len > 0 {
                    layout.push(Part { tensor, start, len }, shape);
                    start += len;
                } else {
                    layout.close(&mut slab, tensors);
                    layout.pages.push(Page::default());
                }
            }
            let next = parts.get(place + 1).map(|next| tensors[next.tensor].planes());
            if next != Some(shape.planes()) {
                layout.close(&mut slab, tensors);
            }
        }
        Ok(layout)
    }

    /// Elements of a tensor that the last page has room for, in whole blocks.
    fn room(&self, tensor: &Tensor, capacity: u64) -> u64 {
        let Some(page) = self.pages.last() else { return 0 };
        let cells = |used: u64, planes: u64| (capacity - used / CELL_BYTES).checked_div(planes).unwrap_or(u64::MAX);
        let cells = cells(page.moments, tensor.moment_cells()).min(cells(page.integrals, tensor.integral_planes));
        let state = tensor.format.state;
        cells / state.block_cells() * state.block()
    }

    /// Puts a part of a tensor into the last page. Its places in it are known when the slab is closed.
    fn push(&mut self, Part { tensor, start, len }: Part, shape: &Tensor) {
        let page = self.pages.len() - 1;
        let cells = shape.format.state.cells(len);
        self.segments.push(Segment { tensor, start, len, page, moments: 0, exact: 0, integrals: 0, stride: 0 });
        self.pages[page].moments += cells * shape.moment_cells() * CELL_BYTES;
        self.pages[page].integrals += cells * shape.integral_planes * CELL_BYTES;
    }

    /// Lays out the planes of the segments from number `slab` on, which are the end of the last page.
    fn close(&mut self, slab: &mut usize, tensors: &[Tensor]) {
        let segments = &mut self.segments[*slab..];
        *slab += segments.len();
        let cells = |segment: &Segment| tensors[segment.tensor].format.state.cells(segment.len);
        let stride: u64 = segments.iter().map(cells).sum();
        let mut before = 0;
        for segment in segments {
            let (page, shape) = (&self.pages[segment.page], &tensors[segment.tensor]);
            let first = page.moments / CELL_BYTES - stride * shape.moment_cells();
            segment.moments = first + before;
            segment.exact = first + stride * shape.moment_planes + before * shape.format.state.width();
            segment.integrals = page.integrals / CELL_BYTES - stride * shape.integral_planes + before;
            segment.stride = stride;
            before += cells(segment);
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
