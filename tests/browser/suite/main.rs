//! MIAdam on WebGPU: in Node.js on Dawn, and in a browser.

mod changes;
mod gpu;
mod losing;
mod memory;
mod parity;
mod refusals;
