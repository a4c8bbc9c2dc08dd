//! The example's network and its numbers, from the same files.

#[path = "../../support/src/mnist/network.rs"]
pub mod network;
#[path = "../../support/src/mnist/random.rs"]
pub mod random;
