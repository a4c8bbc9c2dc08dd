//! A copy of the state on the host.

use crate::clock::Clock;
use crate::planes::{Plane, Planes};

/// A copy, on the host, of all that an optimizer remembers of its parameters between steps.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct State {
    /// Steps taken.
    pub step: u32,
    /// One entry for each parameter, in the order of the groups.
    pub params: Vec<ParamState>,
}

/// The state of one parameter. Every plane has as many elements as the parameter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ParamState {
    /// The parameter's name.
    pub name: String,
    /// The counts that it shares with others.
    pub(crate) clock: Clock,
    len: usize,
    list: Planes,
    values: Vec<Vec<f32>>,
}

impl ParamState {
    pub(crate) fn zeros(name: &str, len: usize, list: Planes, clock: &Clock) -> Self {
        // Integrals that are released leave no gains: should they come back, both start at 0.
        let clock = clock.going_on(list.integrals as usize, list.average, clock.gains.len());
        let values = list.iter().map(|_| vec![0.0; len]).collect();
        Self { name: name.to_owned(), clock, len, list, values }
    }

    /// The state of planes that `read` gives one by one.
    pub(crate) fn try_new<E>(
        name: &str,
        len: usize,
        list: Planes,
        clock: Clock,
        read: impl FnMut(Plane) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let values = list.iter().map(read).collect::<Result<_, E>>()?;
        Ok(Self { name: name.to_owned(), clock, len, list, values })
    }

    /// Steps that the parameter has taken, by which its bias corrections and ζ go. Steps that left it out do not count.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.clock.step
    }

    /// Elements of the parameter, and so of every plane.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the parameter has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The planes that there are.
    pub(crate) fn list(&self) -> Planes {
        self.list
    }

    /// The values of one plane, if the parameter has it.
    ///
    /// ```
    /// use miadam::{Hyperparams, Param, ParamGroup, Plane, cpu};
    ///
    /// let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)])])?;
    /// let state = optimizer.read_state();
    /// assert_eq!(state.params[0].plane(Plane::FirstMoment), Some(&[0.0, 0.0][..]));
    /// assert_eq!(state.params[0].plane(Plane::Integral(2)), None, "the default order is 1");
    /// # Ok::<(), miadam::Error>(())
    /// ```
    #[must_use]
    pub fn plane(&self, plane: Plane) -> Option<&[f32]> {
        self.planes().find(|(own, _)| *own == plane).map(|(_, values)| values)
    }

    /// The values that a plane goes on from in an optimizer that takes this state: its own, or those of the plane that it is
    /// made of. `None` is 0.
    pub(crate) fn source(&self, plane: Plane) -> Option<&[f32]> {
        match plane {
            // v is the largest that is known of.
            Plane::MaxSecondMoment if !self.list.amsgrad => self.plane(Plane::SecondMoment),
            _ => self.plane(plane),
        }
    }

    /// All planes with their values: first and second moment, the largest second moment, the master copy, the average, the
    /// integrals.
    pub fn planes(&self) -> impl Iterator<Item = (Plane, &[f32])> {
        self.list.iter().zip(&self.values).map(|(plane, values)| (plane, &values[..]))
    }

    /// All planes with their values, to be filled.
    pub(crate) fn planes_mut(&mut self) -> impl Iterator<Item = (Plane, &mut [f32])> {
        self.list.iter().zip(&mut self.values).map(|(plane, values)| (plane, &mut values[..]))
    }
}
