//! Checkpoints, into an optimizer on any device.

use crate::error::Error;
use crate::optimizer::{OnDevice, Optimizer};
use crate::options::LoadOptions;
use crate::state::{Checkpoint, Skipped};

impl<D: OnDevice> Optimizer<D> {
    /// Goes on from a checkpoint, with its state, hyperparameters, schedules, gradient options, loss scale and counts in
    /// place of the optimizer's own. Parameters are matched by name. Groups may be in another order, but the parameters of
    /// one group must be one group there, too. Whatever the optimizer was made with, its order, amsgrad and half precision
    /// become those of the checkpoint, and integrals that it has released are there again if the checkpoint has them.
    /// [`load_with`](Self::load_with) takes less than all this.
    ///
    /// Steps and readbacks recorded before keep the state that they were recorded with. While it loads, the optimizer may
    /// hold the state twice. On the GPU the loss scale takes its new value before the queue's next submission, so submit
    /// what is recorded before.
    ///
    /// # Errors
    /// [`Error::CheckpointEntry`] for the first parameter or group that does not fit, or if the device has no memory, or is
    /// lost. Nothing is changed then.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.load_with(checkpoint, &LoadOptions::default()).map(drop)
    }

    /// [`load`](Self::load) with a choice of what is taken. [`LoadOptions`] has examples: a prolonged schedule, a run that
    /// goes on from Adam, and a new head.
    ///
    /// With [`lenient`](LoadOptions::lenient), what does not fit is listed:
    /// - A parameter that only one side has, or has in another length. It starts anew, with bias corrections of its own, or
    ///   is left out.
    /// - A group with other parameters than in the file. It keeps its own hyperparameters.
    /// - Integrals that the file lacks start at 0; those that the group's order has no place for are dropped.
    /// - The largest second moment, where amsgrad is new, starts from the second moment, the largest that is known of.
    /// - A master copy that the file lacks starts from the parameter, at the next step. One that a parameter in `f32`, or one
    ///   rounded at random, has no use for is dropped. [`write_params`](crate::MiAdam::write_params) and
    ///   [`copy_param`](Checkpoint::copy_param) write a parameter in `f32` from it.
    /// - State that goes into fewer bits is rounded to nearest.
    ///
    /// Without `lenient`, each of them is an error, and the list is empty.
    ///
    /// # Errors
    /// As for [`load`](Self::load), except for what is listed.
    pub fn load_with(&mut self, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Vec<Skipped>, Error> {
        let resumed = self.course.resumed(checkpoint, options)?;
        self.device.resume(&resumed)?;
        self.course.replace(resumed.course);
        self.device.course_changed(&self.course);
        Ok(resumed.skipped)
    }
}
