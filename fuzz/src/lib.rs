//! What the targets share.

pub mod mutator;
