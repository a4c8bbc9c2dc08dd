use crate::Hyperparams;

impl Hyperparams {
    /// Planes of moments per tensor: the first, the second, and under amsgrad the largest second.
    pub(crate) fn moment_planes(&self) -> usize {
        2 + usize::from(self.amsgrad)
    }

    /// Planes of integrals per tensor.
    pub(crate) fn integral_planes(&self) -> usize {
        self.order as usize
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
    /// s⁽¹⁾ to s⁽ⁿ⁾. From ζ on they keep their last values.
    pub integrals: Vec<Vec<f32>>,
}

/// A part of one plane, to be filled.
pub(crate) struct PlaneMut<'a> {
    pub is_integral: bool,
    pub values: &'a mut [f32],
}

impl TensorState {
    pub(crate) fn zeros(name: &str, len: usize, moment_planes: usize, integral_planes: usize) -> Self {
        Self {
            name: name.to_owned(),
            first_moment: vec![0.0; len],
            second_moment: vec![0.0; len],
            max_second_moment: (moment_planes > 2).then(|| vec![0.0; len]),
            integrals: vec![vec![0.0; len]; integral_planes],
        }
    }

    /// Elements `start..start + len` of every plane, in the order in which planes lie in memory.
    pub(crate) fn planes_mut(&mut self, start: usize, len: usize) -> impl Iterator<Item = PlaneMut<'_>> {
        let moments = [&mut self.first_moment, &mut self.second_moment].into_iter().chain(&mut self.max_second_moment);
        moments
            .map(|plane| (false, plane))
            .chain(self.integrals.iter_mut().map(|plane| (true, plane)))
            .map(move |(is_integral, plane)| PlaneMut { is_integral, values: &mut plane[start..start + len] })
    }
}
