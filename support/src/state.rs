//! The flag that says how the state is kept.

use clap::ValueEnum;
use miadam::StatePrecision;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    F32,
    Bf16,
    Q8,
}

impl From<State> for StatePrecision {
    fn from(state: State) -> Self {
        match state {
            State::F32 => Self::F32,
            State::Bf16 => Self::Bf16,
            State::Q8 => Self::Q8,
        }
    }
}
