//! One test binary; each module is a concern.

mod flat_minima;
