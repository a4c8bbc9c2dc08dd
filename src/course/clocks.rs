//! Clocks: parameters that have always been stepped together.

/// A clock as far as a course knows it. The device counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CourseClock {
    /// The group of all its parameters.
    pub(crate) group: usize,
    /// Whether the next step leaves its parameters out, once the clocks are settled.
    pub(crate) rests: bool,
}

/// How the parameters and the clocks of a course follow from those of the one before.
#[derive(Debug)]
pub struct Change {
    /// The number that each parameter had before; `None` for a new one, and for one whose state starts anew.
    pub members: Vec<Option<usize>>,
    /// The number of the clock that each clock goes on from; `None` for one that starts at 0.
    pub clocks: Vec<Option<usize>>,
}
