//! The shaders' twins, one file for each, with the same names.

pub(crate) mod adopt;
#[cfg(feature = "cpu")]
pub(crate) mod advance;
#[cfg(feature = "cpu")]
pub(crate) mod draw;
#[cfg(feature = "cpu")]
pub(crate) mod measure;
#[cfg(feature = "cpu")]
pub(crate) mod swap;
#[cfg(feature = "cpu")]
pub(crate) mod update;
#[cfg(feature = "cpu")]
pub(crate) mod verdict;
#[cfg(feature = "cpu")]
pub(crate) mod wide;

// Public for this crate's own tests.
pub mod gain;
pub mod half;
pub mod packed;
