//! One norm and one loss scale for several optimizers.

use super::binding::Binding;
use super::optimizer::{Cpu, Judgement};
use crate::abi::Scaler;
use crate::error::Error;
use crate::math::verdict;
use crate::optimizer::Optimizer;
use crate::values::Values;

/// The verdict on the gradients of a step: what becomes of each of them. A follower's step takes it, and so does any other code
/// that updates tensors whose gradients count in the norm. A host may also make one of its own.
///
/// ```
/// use miadam::cpu::Verdict;
///
/// let halves = Verdict { factor: 0.5, ..Verdict::default() };
/// assert!(!halves.skip);
/// assert_eq!(halves.apply(3.0), 1.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Whether the step is skipped.
    pub skip: bool,
    /// The factor on every gradient: [`GradOptions::factor`](crate::GradOptions::factor) and what clipping makes of it, without
    /// the loss scale.
    pub factor: f32,
    /// A power of two that is a second factor on it: 1, unless both together are outside the normal range of `f32`.
    pub unit: f32,
    /// The norm of all gradients, before clipping; 0 if it was not measured.
    pub norm: f32,
}

impl Default for Verdict {
    /// That gradients stay as they are.
    fn default() -> Self {
        Self { skip: false, factor: 1.0, unit: 1.0, norm: 0.0 }
    }
}

impl Verdict {
    /// The gradient as the step uses it: g · factor · unit.
    #[must_use]
    pub fn apply(&self, grad: f32) -> f32 {
        grad * self.factor * self.unit
    }

    fn new(Scaler { skip, factor, unit, norm, .. }: Scaler) -> Self {
        Self { skip: skip == 1, factor, unit, norm: f32::from_bits(norm) }
    }

    fn told(self) -> verdict::Verdict {
        let Self { skip, factor, unit, norm } = self;
        verdict::Verdict { skip, factors: [factor, unit], norm }
    }
}

impl Optimizer<Cpu> {
    /// [`step`](Self::step), in which the gradients of tensors that somebody else updates count: in the global norm and in the
    /// search for values that are not finite. They are neither changed nor reset. [`verdict`](Self::verdict) then tells what the
    /// others have to do with them.
    ///
    /// ```
    /// use miadam::{Error, GradOptions, Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let group = |name| [ParamGroup::new(Hyperparams::default(), [Param::new(name, 1)])];
    /// let (mut leader, mut follower) = (cpu::MiAdam::new(group("w"))?, cpu::MiAdam::new(group("v"))?);
    /// leader.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() })?;
    ///
    /// let [mut w, mut v] = [[1.0]; 2];
    /// let (mut w_grad, mut v_grad) = ([3.0], [4.0]);
    /// leader.step_with_others([cpu::Binding::new("w", &mut w, &mut w_grad)], [&v_grad])?;
    /// let verdict = leader.verdict();
    /// assert_eq!(verdict.norm, 5.0);
    /// follower.step_following(&verdict, [cpu::Binding::new("v", &mut v, &mut v_grad)])?;
    /// assert_eq!(follower.read_report().grad_norm, Some(5.0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub fn step_with_others<'a, 'b>(
        &mut self,
        bindings: impl IntoIterator<Item = Binding<'a>>,
        others: impl IntoIterator<Item: Into<Values<'b>>>,
    ) -> Result<(), Error> {
        let others: Vec<_> = others.into_iter().map(Into::into).collect();
        self.take_step(bindings, Judgement::Own(&others))
    }

    /// The verdict on the gradients of the last step.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::new(self.device.scaler)
    }

    /// [`step`](Self::step) by the verdict of a leader, whose step comes before: a step is skipped if the leader's was, the
    /// factors on the gradients are its, and so is the norm in the report. Nothing is measured.
    ///
    /// Of the optimizer's own [`GradOptions`](crate::GradOptions), `clip_value` and `zero` hold; the others are the leader's. The
    /// report's loss scale is 1.
    ///
    /// # Errors
    /// As for [`step`](Self::step), and [`Error::LeadersOption`] if an option is set that is the leader's.
    pub fn step_following<'a>(
        &mut self,
        verdict: &Verdict,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<(), Error> {
        self.course.grad_options.check_follower()?;
        self.take_step(bindings, Judgement::Followed(verdict.told()))
    }
}
