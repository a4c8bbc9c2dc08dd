//! The engine's own tests: gradients against slopes, the GPU against the CPU, and runs that are stopped, lost or refused.

mod operations;
mod runs;
