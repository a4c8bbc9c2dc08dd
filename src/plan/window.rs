//! Windows: the parts of the caller's buffers that a dispatch binds.

use super::limits::Limits;
use super::tensor::Place;

/// A range of a caller's buffer, bound as one storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The buffer's number.
    pub buffer: usize,
    /// First byte, aligned as the device wants it.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl Window {
    /// The smallest window of whole 32-bit words that holds `bytes` at `place`.
    pub(super) fn around(place: Place, bytes: u64, limits: &Limits) -> Self {
        let offset = place.offset / limits.alignment * limits.alignment;
        Self { buffer: place.buffer, offset, size: (place.offset + bytes).next_multiple_of(4) - offset }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let offset = self.offset.min(other.offset);
        Self { offset, size: self.end().max(other.end()) - offset, ..*self }
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.size
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.buffer == other.buffer && self.offset < other.end() && other.offset < self.end()
    }
}
