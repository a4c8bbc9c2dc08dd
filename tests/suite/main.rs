//! One test binary; each module is a concern.

mod common;
mod parity;
