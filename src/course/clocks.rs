//! Clocks: parameters that have always been stepped together.

/// A clock as far as a course knows it. The device counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CourseClock {
    /// The group of all its parameters.
    pub(crate) group: usize,
    /// True if the next step leaves its parameters out. It counts once the clocks are settled.
    pub(crate) rests: bool,
}

/// How the parameters and the clocks of a course follow from those of the one before.
#[derive(Debug)]
pub struct Change {
    /// The number that each parameter had before; `None` for a new one, and for one whose state starts anew.
    pub members: Vec<Option<usize>>,
    /// The source of each clock; `None` for one that starts at 0.
    pub clocks: Vec<Option<Source>>,
}

/// The clock before a change that another goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Its number.
    pub clock: usize,
    /// The gains that go on with it: one for each integral that does. The others start at 0, as their integrals do.
    pub gains: usize,
    /// Whether the count of averagings goes on with it. It does not where averages are new.
    pub averages: bool,
}
