//! A checkpoint into the optimizer.

use std::sync::Arc;

use super::MiAdam;
use crate::checkpoint::{Fit, Own};
use crate::gpu::{Advance, PageBuffers, Update};
use crate::group::{Param, Role};
use crate::layout::{Group, QUAD};
use crate::plan::Tensor;
use crate::report::KnownStep;
use crate::state::TensorState;
use crate::{Checkpoint, Error, Skipped, half};

impl MiAdam {
    /// Goes on from a checkpoint: with its state, hyperparameters, schedules, gradient options, loss scale and counts, in
    /// place of its own. Parameters are matched by name; which group they are in does not matter, but what is a group must
    /// be one there. Steps recorded before keep the state that they were recorded with. The state is there twice for a
    /// moment.
    ///
    /// The loss scale takes its new value before the queue's next submission.
    ///
    /// # Errors
    /// [`Error::CheckpointEntry`] for the first parameter or group that does not fit, or if the device has no memory, or is
    /// lost. Nothing is changed then.
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

    /// Writes the parameters that a checkpoint has into the buffers that they are bound to, which need `COPY_DST`, before
    /// the queue's next submission. Of a tensor in half precision that ends with half a word, the other half becomes 0.
    ///
    /// # Errors
    /// If the checkpoint lacks a parameter, or has it with another length or type, or a buffer cannot be written. Nothing is
    /// written then.
    pub fn write_params(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.memory.check_alive()?;
        let saved = self.params.iter().map(|param| saved(checkpoint, param));
        let saved: Vec<_> = saved.collect::<Result<_, _>>()?;
        for (Param { param, .. }, bytes) in self.params.iter().zip(saved) {
            let mut words = bytes.to_vec();
            words.resize(bytes.len().next_multiple_of(4), 0);
            self.memory.write(&param.buffer, param.offset, &words)?;
        }
        Ok(())
    }

    /// Everything that can fail is done on buffers that nobody uses yet.
    fn restore(&mut self, checkpoint: &Checkpoint, lenient: bool) -> Result<Vec<Skipped>, Error> {
        self.memory.check_alive()?;
        let own = |(param, tensor): (&Param, &Tensor)| Own {
            name: param.name.clone(),
            len: tensor.len,
            group: tensor.group as usize,
            planes: self.planes(param, tensor),
        };
        let own: Vec<_> = self.params.iter().zip(&self.tensors).map(own).collect();
        let Fit { hyperparams, tensors, skipped } = Fit::new(checkpoint, &self.groups, &own, lenient)?;

        let constants: Vec<_> = hyperparams.iter().map(Group::new).collect();
        let scaler_buffer = self.advance.buffers.scaler.clone();
        let advance = Advance::new(&self.memory, &constants, &self.limits, Some(scaler_buffer))?;
        let update = Update::new(&self.memory, &self.layout, &self.limits)?;
        self.write_state(&update.pages, &tensors)?;
        let (progress, scaler) = checkpoint.header.counts();
        self.memory.write(&advance.buffers.progress, 0, bytemuck::bytes_of(&progress))?;
        self.memory.write(&advance.buffers.scaler, 0, bytemuck::bytes_of(&scaler))?;

        self.advance = advance;
        self.update.replace(update);
        self.groups = hyperparams;
        self.groups.iter().enumerate().for_each(|(number, group)| group.report(number));
        for (param, tensor) in self.params.iter().zip(&mut self.tensors) {
            let half_params = self.groups[tensor.group as usize].half_params;
            tensor.stream = half::stream(tensor.format.rounding, half_params, &param.name);
        }
        self.grad_options = checkpoint.header.gradients;
        self.recorded = checkpoint.header.recorded;
        self.measured = checkpoint.header.grad_norm_bits.is_some();
        for (lr, group) in self.lrs.iter_mut().zip(&self.groups) {
            *lr = group.lr_at(self.recorded.saturating_sub(1));
        }
        // What is under way is of the state before.
        self.known_step = KnownStep::default();
        self.adopted = Arc::default();
        self.known_step.raise(checkpoint.header.step);
        self.set_extras();
        self.moved = true;
        Ok(skipped)
    }

    /// Puts every plane where it belongs in pages that are 0.
    fn write_state(&self, pages: &[PageBuffers], tensors: &[Option<&TensorState>]) -> Result<(), Error> {
        for segment in &self.layout.segments {
            let page = &pages[segment.page];
            let Some(state) = tensors[segment.tensor] else { continue };
            let has_integrals = self.tensors[segment.tensor].integral_planes > 0;
            let (mut next_moment, mut next_integral) = (segment.moments, segment.integrals);
            for plane in state.planes(segment.start as usize, segment.len as usize) {
                let (buffer, next) = if plane.is_integral {
                    (&page.integrals, &mut next_integral)
                } else {
                    (&page.moments, &mut next_moment)
                };
                // Released here: nobody needs them.
                if has_integrals || !plane.is_integral {
                    self.memory.write(buffer, *next * QUAD * 4, bytemuck::cast_slice(plane.values))?;
                }
                *next += segment.stride;
            }
        }
        Ok(())
    }
}

/// The bytes of a parameter, checked.
fn saved<'a>(checkpoint: &'a Checkpoint, Param { name, param, .. }: &Param) -> Result<&'a [u8], Error> {
    let (role, name) = (Role::Param, name.clone());
    let Some((dtype, bytes)) = checkpoint.param(&name) else {
        return Err(Error::CheckpointEntry {
            entry: format!("param/{name}"),
            reason: "it was not saved; read the checkpoint with parameters, or insert it".into(),
        });
    };
    if dtype != param.dtype {
        return Err(Error::DtypeMismatch { name, role, expected: param.dtype, found: dtype });
    }
    let found = bytes.len() as u64 / dtype.width();
    if found != param.len {
        return Err(Error::LengthMismatch { name, role, expected: param.len, found });
    }
    if !param.buffer.usage().contains(wgpu::BufferUsages::COPY_DST) {
        return Err(Error::MissingCopyUsage { name, role, usage: "COPY_DST" });
    }
    Ok(bytes)
}
