//! One test binary; each module is a concern.

mod common;
mod golden;
mod parity;
