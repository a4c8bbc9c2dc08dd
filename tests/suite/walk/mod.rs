//! Parameters that live: they rest, come, go and change, with settings that may change. A plain model in `f64` says what has to
//! happen. It is held to PyTorch, and the optimizers are held to it by a random walk over all calls.

mod changes;
mod compare;
mod cpu;
mod device;
mod gpu;
mod layout;
mod model;
mod model_check;
mod number;
mod returns;
mod settings;
mod tensor;
mod turns;
