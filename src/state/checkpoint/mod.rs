//! Everything that an optimizer remembers, in a safetensors file.

mod contents;
mod entries;
mod file;
mod fit;
mod header;

pub use contents::Checkpoint;
#[cfg(feature = "gpu")]
pub(crate) use entries::SavedParam;
pub(crate) use fit::Fit;
pub use fit::Skipped;
pub(crate) use header::{Header, HeaderGroup, VERSION};
