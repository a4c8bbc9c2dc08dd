//! Parameters that rest, come, go, move and change while the training goes on.

mod alone;
mod host;
mod refused;
mod resumed;
mod rows;
mod settings;
