//! What the CPU optimizer remembers, and the numbers of a step.

use super::{CHUNK, MiAdam};
use crate::report::Report;
use crate::state::{State, TensorState};

impl MiAdam {
    /// The numbers that a training loop logs; its `loss_scale` is the factor for the next loss.
    #[must_use]
    pub fn report(&self) -> Report {
        let last_integrating = self.groups.iter().map(|group| group.hyperparams.last_integrating());
        Report::new(&self.progress, &self.scaler, self.measured, &self.lrs, last_integrating)
    }

    /// A copy of the step counter and every tensor's state.
    #[must_use]
    pub fn state(&self) -> State {
        let (mut moments, mut integrals) = (&self.moments[..], &self.integrals[..]);
        let tensors = self
            .tensors
            .iter()
            .map(|tensor| {
                let mut state = TensorState::zeros(&tensor.name, tensor.len, tensor.planes);
                for start in (0..tensor.len).step_by(CHUNK) {
                    let len = CHUNK.min(tensor.len - start);
                    for plane in state.planes_mut(start, len) {
                        let source = if plane.is_integral { &mut integrals } else { &mut moments };
                        let (values, rest) = source.split_at(len);
                        plane.values.copy_from_slice(values);
                        *source = rest;
                    }
                }
                state
            })
            .collect();
        State { step: self.progress.step, tensors }
    }
}
