use crate::{Dtype, HalfParams, Hyperparams};

/// What a parameter has a plane for, besides the first and the second moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planes {
    /// The largest second moment.
    pub amsgrad: bool,
    /// The parameter in `f32`.
    pub master: bool,
    /// Integrals.
    pub integrals: usize,
}

impl Planes {
    pub fn new(hyperparams: &Hyperparams, dtype: Dtype) -> Self {
        Self {
            amsgrad: hyperparams.amsgrad,
            master: dtype != Dtype::F32 && hyperparams.half_params == HalfParams::Master,
            integrals: hyperparams.order as usize,
        }
    }

    /// Planes that lie among the moments, in this order: first and second moment, largest second moment, master copy.
    pub fn moments(self) -> usize {
        2 + usize::from(self.amsgrad) + usize::from(self.master)
    }
}

/// A copy, on the host, of all that an optimizer remembers between steps.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct State {
    /// Steps taken.
    pub step: u32,
    /// One entry per parameter, in the order of the groups.
    pub tensors: Vec<TensorState>,
}

/// The state of one parameter; every plane has as many elements as the parameter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TensorState {
    /// The parameter's name.
    pub name: String,
    /// m, without bias correction.
    pub first_moment: Vec<f32>,
    /// v, without bias correction.
    pub second_moment: Vec<f32>,
    /// The largest v so far, under amsgrad.
    pub max_second_moment: Option<Vec<f32>>,
    /// θ in `f32`, of a parameter in half precision that has a master copy; 0 before the first step, and after a
    /// [`load_lenient`](crate::MiAdam::load_lenient) without the parameter until the next.
    pub master: Option<Vec<f32>>,
    /// s⁽¹⁾ to s⁽ⁿ⁾. From ζ on they keep their last values, until they are released.
    pub integrals: Vec<Vec<f32>>,
}

/// A part of one plane.
pub(crate) struct Plane<'a> {
    pub is_integral: bool,
    pub values: &'a [f32],
}

/// A part of one plane, to be filled.
pub(crate) struct PlaneMut<'a> {
    pub is_integral: bool,
    pub values: &'a mut [f32],
}

impl TensorState {
    pub(crate) fn zeros(name: &str, len: usize, planes: Planes) -> Self {
        Self {
            name: name.to_owned(),
            first_moment: vec![0.0; len],
            second_moment: vec![0.0; len],
            max_second_moment: planes.amsgrad.then(|| vec![0.0; len]),
            master: planes.master.then(|| vec![0.0; len]),
            integrals: vec![vec![0.0; len]; planes.integrals],
        }
    }

    /// Elements `start..start + len` of every plane, in the order in which planes lie in memory.
    pub(crate) fn planes_mut(&mut self, start: usize, len: usize) -> impl Iterator<Item = PlaneMut<'_>> {
        let moments = [&mut self.first_moment, &mut self.second_moment].into_iter();
        moments
            .chain(&mut self.max_second_moment)
            .chain(&mut self.master)
            .map(|plane| (false, plane))
            .chain(self.integrals.iter_mut().map(|plane| (true, plane)))
            .map(move |(is_integral, plane)| PlaneMut { is_integral, values: &mut plane[start..start + len] })
    }

    /// The same, to be read.
    pub(crate) fn planes(&self, start: usize, len: usize) -> impl Iterator<Item = Plane<'_>> {
        let moments = [&self.first_moment, &self.second_moment].into_iter();
        moments
            .chain(&self.max_second_moment)
            .chain(&self.master)
            .map(|plane| (false, plane))
            .chain(self.integrals.iter().map(|plane| (true, plane)))
            .map(move |(is_integral, plane)| Plane { is_integral, values: &plane[start..start + len] })
    }
}
