//! The one list of planes. Sizes, offsets, checkpoint entries and fits follow from it.

use std::fmt;

use crate::abi::{CELL_BYTES, QUAD};
use crate::dtype::Dtype;
use crate::options::{Average, HalfParams, Hyperparams, StatePrecision};

/// A plane of a parameter's state: one number for each element of the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plane {
    /// m, without bias correction.
    FirstMoment,
    /// v, without bias correction.
    SecondMoment,
    /// The largest v so far, under amsgrad.
    MaxSecondMoment,
    /// θ in `f32`, for a parameter in half precision that has a master copy. It is 0 before the first step, and, after a
    /// lenient loading that left the parameter out, until the next step.
    Master,
    /// The average of θ, where the group keeps [one](crate::Average). It is 0 before the first averaging.
    Average,
    /// s⁽ʲ⁾, for j = 1 to n. From ζ on the integrals keep their last values, until they are released.
    Integral(u32),
}

/// The memory that a plane lies in. Integrals lie apart, so that they can be freed without moving the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bank {
    Moments,
    Integrals,
}

impl Bank {
    pub const ALL: [Self; 2] = [Self::Moments, Self::Integrals];
}

impl Plane {
    pub(crate) fn bank(self) -> Bank {
        match self {
            Self::Integral(_) => Bank::Integrals,
            Self::FirstMoment | Self::SecondMoment | Self::MaxSecondMoment | Self::Master | Self::Average => {
                Bank::Moments
            }
        }
    }

    /// Whether it is `f32` whatever the precision of the state: a master copy and an average are there to be exact.
    pub(crate) fn is_exact(self) -> bool {
        matches!(self, Self::Master | Self::Average)
    }

    /// Whether its elements can be negative.
    pub(crate) fn is_signed(self) -> bool {
        !matches!(self, Self::SecondMoment | Self::MaxSecondMoment)
    }

    /// The number by which its random words are drawn.
    #[cfg(feature = "cpu")]
    pub(crate) fn draw_number(self) -> u32 {
        match self {
            Self::FirstMoment => 0,
            Self::SecondMoment => 1,
            Self::MaxSecondMoment => 2,
            Self::Integral(j) => 2 + j,
            Self::Master | Self::Average => 0,
        }
    }
}

/// The plane's name in a checkpoint.
impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstMoment => f.write_str("first_moment"),
            Self::SecondMoment => f.write_str("second_moment"),
            Self::MaxSecondMoment => f.write_str("max_second_moment"),
            Self::Master => f.write_str("master"),
            Self::Average => f.write_str("average"),
            Self::Integral(j) => write!(f, "integral/{j}"),
        }
    }
}

#[doc(hidden)]
impl StatePrecision {
    /// Quads of elements in a cell of a plane, which is 16 bytes.
    #[must_use]
    pub const fn width(self) -> u64 {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Q8 => 4,
        }
    }

    /// Quads that an invocation of a kernel visits at once: a bundle.
    #[must_use]
    pub const fn bundle(self) -> u64 {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Q8 => 8,
        }
    }

    /// Bundles of a block, whose quads take turns.
    #[must_use]
    pub const fn block_bundles(self) -> u64 {
        match self {
            Self::F32 => 1,
            Self::Bf16 | Self::Q8 => 4,
        }
    }

    /// Elements of a block, which is never cut: its elements share whole cells.
    #[must_use]
    pub const fn block(self) -> u64 {
        QUAD * self.bundle() * self.block_bundles()
    }

    /// Cells of so many elements of a plane, in whole blocks.
    #[must_use]
    pub const fn cells(self, len: u64) -> u64 {
        len.div_ceil(self.block()) * self.block_cells()
    }

    /// Bundles of so many elements, in whole blocks.
    #[must_use]
    pub const fn bundles(self, len: u64) -> u64 {
        len.div_ceil(self.block()) * self.block_bundles()
    }

    /// Cells of a block.
    #[must_use]
    pub const fn block_cells(self) -> u64 {
        self.block() / (QUAD * self.width())
    }

    /// Words, of 4 bytes, of so many elements of a plane in host memory.
    #[inline(always)]
    pub(crate) fn words(self, len: usize) -> usize {
        match self {
            Self::F32 => len,
            _ => (self.cells(len as u64) * (CELL_BYTES / 4)) as usize,
        }
    }
}

/// How a parameter in half precision keeps an update that is smaller than its last bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Rounding {
    /// Nothing is rounded: the parameter is `f32`.
    #[default]
    Exact,
    /// A master copy among the moments keeps all of it.
    Master,
    /// The parameter moves by its last bit with the right probability.
    Stochastic,
}

impl Rounding {
    /// The rounding of a parameter of this type.
    #[must_use]
    pub fn new(dtype: Dtype, half_params: HalfParams) -> Self {
        match half_params {
            _ if dtype == Dtype::F32 => Self::Exact,
            HalfParams::Master => Self::Master,
            HalfParams::Stochastic { .. } => Self::Stochastic,
        }
    }
}

/// The planes that a parameter has, besides the first and the second moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planes {
    /// How those that are not [exact](Plane::is_exact) are kept.
    pub precision: StatePrecision,
    pub amsgrad: bool,
    pub master: bool,
    pub average: bool,
    pub integrals: u32,
}

impl Planes {
    /// The planes of a parameter of `len` elements of this type.
    pub fn new(hyperparams: &Hyperparams, dtype: Dtype, len: usize) -> Self {
        Self {
            precision: hyperparams.precision_of(len),
            amsgrad: hyperparams.amsgrad,
            master: Rounding::new(dtype, hyperparams.half_params) == Rounding::Master,
            average: hyperparams.average != Average::None,
            integrals: hyperparams.order,
        }
    }

    /// The planes of the first bank that there may be, in the order in which they lie in memory. `adopt.wgsl` and
    /// `update.wgsl` know this order.
    const MOMENTS: [Plane; 5] =
        [Plane::FirstMoment, Plane::SecondMoment, Plane::MaxSecondMoment, Plane::Master, Plane::Average];

    /// Whether there is such a plane.
    pub fn has(self, plane: Plane) -> bool {
        match plane {
            Plane::FirstMoment | Plane::SecondMoment => true,
            Plane::MaxSecondMoment => self.amsgrad,
            Plane::Master => self.master,
            Plane::Average => self.average,
            Plane::Integral(j) => (1..=self.integrals).contains(&j),
        }
    }

    /// The planes in the bank of moments, in their order there.
    #[inline(always)]
    pub fn moments(self) -> impl Iterator<Item = Plane> {
        Self::MOMENTS.into_iter().filter(move |plane| self.has(*plane))
    }

    /// The list itself: all planes, in the order in which they lie in memory.
    pub fn iter(self) -> impl Iterator<Item = Plane> {
        self.moments().chain((1..=self.integrals).map(Plane::Integral))
    }

    /// The planes that lie in one bank, in their order there.
    #[cfg(feature = "gpu")]
    pub fn within(self, bank: Bank) -> impl Iterator<Item = Plane> {
        self.iter().filter(move |plane| plane.bank() == bank)
    }

    /// The number of planes in a bank.
    #[cfg(feature = "gpu")]
    #[inline(always)]
    pub fn count(self, bank: Bank) -> usize {
        match bank {
            Bank::Moments => self.moments().count(),
            // An order may be far too large to be counted one by one.
            Bank::Integrals => self.integrals as usize,
        }
    }

    /// Bytes of all planes of `len` elements, each in whole blocks.
    pub fn cell_bytes(self, len: usize) -> u64 {
        let cells = self.precision.cells(len as u64);
        let bytes = |plane: Plane| cells.saturating_mul(CELL_BYTES * self.quads(plane));
        let moments = self.moments().map(bytes).fold(0, u64::saturating_add);
        moments.saturating_add(bytes(Plane::Integral(1)).saturating_mul(self.integrals.into()))
    }

    /// The 16 bytes that a plane takes for each cell of the others.
    pub fn quads(self, plane: Plane) -> u64 {
        if plane.is_exact() { self.precision.width() } else { 1 }
    }

    /// How a plane is kept.
    #[inline(always)]
    pub fn precision_of(self, plane: Plane) -> StatePrecision {
        if plane.is_exact() { StatePrecision::F32 } else { self.precision }
    }

    /// The words, of 4 bytes, that `len` elements of a plane take in host memory.
    #[inline(always)]
    pub fn words(self, plane: Plane, len: usize) -> usize {
        self.precision_of(plane).words(len)
    }

    /// The words of `len` elements of all planes of a bank.
    #[cfg(feature = "cpu")]
    #[inline(always)]
    pub fn bank_words(self, bank: Bank, len: usize) -> usize {
        match bank {
            Bank::Moments => self.moments().map(|plane| self.words(plane, len)).sum(),
            Bank::Integrals => self.words(Plane::Integral(1), len) * self.integrals as usize,
        }
    }

    /// The words before a plane in its bank, where each has `len` elements.
    #[cfg(feature = "cpu")]
    pub fn words_before(self, plane: Plane, len: usize) -> usize {
        match plane {
            Plane::Integral(j) => (j as usize - 1) * self.words(plane, len),
            _ => self.moments().take_while(|own| *own != plane).map(|own| self.words(own, len)).sum(),
        }
    }

    /// The number of planes in a bank that are kept in fewer bits, where any is. They are the first.
    #[cfg(feature = "cpu")]
    #[inline(always)]
    pub fn packed(self, bank: Bank) -> usize {
        match bank {
            Bank::Moments => 2 + usize::from(self.amsgrad),
            Bank::Integrals => self.integrals as usize,
        }
    }

    /// The number of a plane in its bank.
    #[cfg(feature = "cpu")]
    pub fn number_of(self, plane: Plane) -> usize {
        match plane {
            Plane::Integral(j) => j as usize - 1,
            _ => self.moments().take_while(|own| *own != plane).count(),
        }
    }

    /// The planes that are left once the integrals are released.
    pub fn without_integrals(self) -> Self {
        Self { integrals: 0, ..self }
    }
}
