//! What goes on of a parameter's state under hyperparameters or in a type other than it was saved with.

use crate::clock::Clock;
use crate::dtype::Dtype;
use crate::options::Hyperparams;
use crate::planes::{Plane, Planes};
use crate::state::params::ParamState;

/// The planes and counts that a parameter goes on with.
pub(super) struct Kept {
    pub planes: Planes,
    pub clock: Clock,
    /// Each plane that is dropped although it was in use, or starts anew, and why.
    pub changes: Vec<(Plane, String)>,
}

impl Kept {
    /// Of a parameter that is now of type `dtype`, and whose group was `before` and is `after`.
    pub fn new(state: &ParamState, before: &Hyperparams, after: &Hyperparams, dtype: Dtype) -> Self {
        let (found, mut planes) = (state.list(), Planes::new(after, dtype, state.len()));
        let needed = state.step() < after.last_integrating();
        // Those that were released stay so, unless they are needed again.
        if !needed && found.integrals == 0 {
            planes = planes.without_integrals();
        }
        let mut changes = Vec::new();
        let (old, new) = (found.integrals, planes.integrals);
        if new > old && needed {
            let reason = format!("it starts at 0: the checkpoint has {old} of {new} integrals");
            changes.push((Plane::Integral(old + 1), reason));
        }
        if new < old && state.step() < before.last_integrating() {
            let reason = format!("it is dropped: the checkpoint has {old} integrals, and the order is {new}");
            changes.push((Plane::Integral(new + 1), reason));
        }
        if planes.precision > found.precision {
            let reason = format!("it is rounded from {:?} to {:?}", found.precision, planes.precision);
            changes.push((Plane::FirstMoment, reason));
        }
        for (plane, old, new, starts, ends) in [
            (
                Plane::MaxSecondMoment,
                found.amsgrad,
                planes.amsgrad,
                // No second moment before is known to be larger.
                "it starts from the second moment: the checkpoint is without amsgrad",
                "it is dropped: the group is without amsgrad",
            ),
            (
                Plane::Master,
                found.master,
                planes.master,
                "it starts from the parameter: the checkpoint has no master copy",
                "it is dropped: the parameter has no master copy here",
            ),
            (
                Plane::Average,
                found.average,
                planes.average,
                "it starts with the next averaging: the checkpoint has none",
                "it is dropped: the group keeps no average",
            ),
        ] {
            if old != new {
                changes.push((plane, if new { starts } else { ends }.to_owned()));
            }
        }
        let mut clock = state.clock.clone();
        if found.average != planes.average {
            clock.averaged = 0;
        }
        Self { planes, clock, changes }
    }
}
