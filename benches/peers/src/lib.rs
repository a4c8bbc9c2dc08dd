//! What the two programs of this package share.

pub mod device;
