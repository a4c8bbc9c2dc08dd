//! The handwritten digits, and the network that the example `mlp_mnist` and its peers train on them.

pub mod data;
pub mod network;
pub mod on_cpu;
pub mod random;
