//! One test binary; each module is a concern.

mod flat_minima;
mod hessian;
mod optimizers;
mod sharpness;
mod studies;
mod training;
