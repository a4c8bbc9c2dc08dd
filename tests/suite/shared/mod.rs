//! Several optimizers that share one norm and one loss scale.

mod host;
mod refused;
mod same_bits;
