//! A precision below `f32`, as something that decodes and encodes the words of a plane.

/// Elements that are decoded and encoded together, in loops that a compiler vectorises and unrolls: a block of `Q8`, and more than one
/// of `Bf16`.
pub(crate) const BATCH: usize = 128;

/// Random bits of two elements, which round to nearest.
pub(super) const NEAREST: u32 = 0x8000_8000;

/// A precision below `f32`.
pub(crate) trait Codec {
    /// Words, of 4 bytes, of [`BATCH`] elements.
    const WORDS: usize;

    /// The elements of the first words; 0 where there are no words.
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; BATCH];

    /// Decodes the first words, changes each element, and encodes all of them: in one loop, whose values stay in registers. Each is rounded
    /// by its own 16 bits of `random`.
    fn rewrite<const SIGNED: bool>(words: &mut [f32], random: &Random, change: impl FnMut(usize, f32) -> f32);
}

/// Random bits of a batch of a plane: products of a factor and words that are the same for all planes.
pub(crate) struct Random<'a> {
    pub words: &'a [u32; BATCH / 2],
    pub factor: u32,
}

/// The first words; 0 where there are no more.
#[inline(always)]
pub(super) fn first<const N: usize>(words: &[f32]) -> [f32; N] {
    if let Some(words) = words.first_chunk() {
        return *words;
    }
    let mut padded = [0.0; N];
    padded[..words.len()].copy_from_slice(words);
    padded
}

/// Writes as many words as there is room for.
#[inline(always)]
pub(super) fn put<const N: usize>(values: [f32; N], words: &mut [f32]) {
    if let Some(words) = words.first_chunk_mut() {
        *words = values;
        return;
    }
    words.copy_from_slice(&values[..words.len()]);
}
