//! Everything that an optimizer remembers, in a safetensors file.

mod contents;
mod entries;
mod files;
mod fit;
mod header;
mod layout;
mod reading;
mod writing;

pub use contents::Checkpoint;
#[cfg(feature = "gpu")]
pub(crate) use entries::SavedParam;
pub(crate) use fit::Fit;
pub use fit::Skipped;
pub(crate) use header::{Header, HeaderGroup, VERSION};
