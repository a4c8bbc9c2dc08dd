//! Everything that an optimizer remembers, in a safetensors file.

mod contents;
mod entries;
mod files;
mod fit;
mod gains;
mod header;
mod kept;
mod layout;
mod permuting;
mod ranks;
mod reading;
mod renaming;
mod writing;

pub use contents::Checkpoint;
#[cfg(feature = "gpu")]
pub(crate) use entries::SavedParam;
pub use fit::Skipped;
pub(crate) use fit::{Fit, FitParam};
#[cfg(feature = "cpu")]
pub(crate) use gains::gains_after;
pub(crate) use header::{Header, HeaderGroup, VERSION};
