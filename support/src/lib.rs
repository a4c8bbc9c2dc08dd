//! What the examples, tests and benchmarks of miadam share. Not published.

pub mod adapter;
pub mod cases;
pub mod command_line;
pub mod device_kind;
pub mod gpu;
pub mod guard;
pub mod mnist;
pub mod plan_check;
pub mod plot;
pub mod random;
pub mod replay;
pub mod state;
pub mod steppers;
pub mod throughput;
pub mod values;
pub mod wait;
