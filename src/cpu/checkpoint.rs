//! The CPU optimizer into a checkpoint, and back.

use super::{CHUNK, CpuGroup, MiAdam, Tensor, split_off};
use crate::checkpoint::{Fit, Header, HeaderGroup, Own};
use crate::layout::Group;
use crate::state::TensorState;
use crate::{Checkpoint, Error, Skipped, half};

impl MiAdam {
    /// A copy of everything that the optimizer remembers. Parameters are the caller's:
    /// [`insert_param`](Checkpoint::insert_param) adds them.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let names = |group| self.tensors.iter().filter(move |tensor| tensor.group == group);
        let groups = self.groups.iter().enumerate().map(|(number, group)| HeaderGroup {
            params: names(number).map(|tensor| tensor.name.clone()).collect(),
            hyperparams: group.hyperparams.clone(),
        });
        let (recorded, gradients) = (self.recorded, self.grad_options);
        let header = Header::new(&self.progress, &self.scaler, self.measured, recorded, gradients, groups.collect());
        Checkpoint::new(header, self.state().tensors)
    }

    /// Goes on from a checkpoint: with its state, hyperparameters, schedules, gradient options, loss scale and counts, in
    /// place of its own. Parameters are matched by name; which group they are in does not matter, but what is a group must
    /// be one there.
    ///
    /// # Errors
    /// [`Error::CheckpointEntry`] for the first parameter or group that does not fit. Nothing is changed then.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.restore(checkpoint, false).map(drop)
    }

    /// [`load`](Self::load) of what fits. What does not is listed: such a parameter's state is 0, and such a group keeps its
    /// hyperparameters.
    ///
    /// # Errors
    /// As for [`load`](Self::load), but for what is listed.
    pub fn load_lenient(&mut self, checkpoint: &Checkpoint) -> Result<Vec<Skipped>, Error> {
        self.restore(checkpoint, true)
    }

    fn restore(&mut self, checkpoint: &Checkpoint, lenient: bool) -> Result<Vec<Skipped>, Error> {
        let own = |tensor: &'_ Tensor| Own {
            name: tensor.name.clone(),
            len: tensor.len as u64,
            group: tensor.group,
            planes: tensor.planes,
        };
        let own: Vec<_> = self.tensors.iter().map(own).collect();
        let groups: Vec<_> = self.hyperparams().cloned().collect();
        let Fit { hyperparams, tensors, skipped } = Fit::new(checkpoint, &groups, &own, lenient)?;

        for ((number, group), hyperparams) in self.groups.iter_mut().enumerate().zip(hyperparams) {
            hyperparams.report(number);
            *group = CpuGroup { constants: Group::new(&hyperparams), hyperparams };
        }
        for tensor in &mut self.tensors {
            let half_params = self.groups[tensor.group].hyperparams.half_params;
            tensor.stream = half::stream(tensor.rounding, half_params, &tensor.name);
        }
        let (mut moments, mut integrals) = (&mut self.moments[..], &mut self.integrals[..]);
        for (tensor, state) in self.tensors.iter().zip(tensors) {
            fill(tensor, state, &mut moments, &mut integrals);
        }
        self.adopted = false;
        self.grad_options = checkpoint.header.gradients;
        (self.progress, self.scaler) = checkpoint.header.counts();
        self.recorded = checkpoint.header.recorded;
        self.measured = checkpoint.header.grad_norm_bits.is_some();
        for (lr, group) in self.lrs.iter_mut().zip(&self.groups) {
            *lr = group.hyperparams.lr_at(self.recorded.saturating_sub(1));
        }
        Ok(skipped)
    }
}

/// Puts a tensor's planes where they belong; 0 where there are none.
fn fill(tensor: &Tensor, state: Option<&TensorState>, moments: &mut &mut [f32], integrals: &mut &mut [f32]) {
    for start in (0..tensor.len).step_by(CHUNK) {
        let len = CHUNK.min(tensor.len - start);
        let mut moments = split_off(moments, len * tensor.planes.moments());
        let mut integrals = split_off(integrals, len * tensor.planes.integrals);
        moments.fill(0.0);
        integrals.fill(0.0);
        let Some(state) = state else { continue };
        for plane in state.planes(start, len) {
            let target = if plane.is_integral { &mut integrals } else { &mut moments };
            // Released here, or there: nobody needs them.
            if !target.is_empty() {
                split_off(target, len).copy_from_slice(plane.values);
            }
        }
    }
}
