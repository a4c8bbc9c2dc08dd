//! MIAdam as burn's own code expects an optimizer: for one parameter at a time, in burn's tensor operations.

mod record;

use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Bool, DType, Device, Tensor};
use miadam::cpu::StepCoefs;
use miadam::{Average, GradOptions, HalfParams, Hyperparams};

use crate::config::MiAdamConfig;
use crate::error::Error;

/// MIAdam for one parameter at a time, as burn's [`Optimizer`]. [`MiAdamConfig::build`] makes it.
///
/// `ModuleOptimizer::from` makes the optimizer of a module of it, and `ModuleOptimizer::with_group` that of a group. It runs on
/// every backend that burn has, and its state is in burn's record files. [`MiAdam`](crate::MiAdam) is faster, and has more
/// options.
///
/// Each parameter has a count of its own: t is the number of its own gradients so far. Its schedule and its switch to plain
/// Adam go by it.
///
/// # Panics
/// burn's `ModuleOptimizer::step` cannot return an error. A step panics if the learning rate is out of range, and if the state is
/// of a record with another number of integrals than the configuration has.
#[derive(Debug, Clone)]
pub struct PerParamMiAdam {
    hyperparams: Hyperparams,
    /// The coefficients of the last step. The parameters of a module mostly take the same one.
    last: Arc<Mutex<Option<(u32, f64, StepCoefs)>>>,
}

/// What [`PerParamMiAdam`] remembers of a parameter. In half precision all of it is in `f32`.
#[derive(Debug, Clone)]
pub struct PerParamState<const D: usize> {
    /// The steps that the parameter has taken.
    pub step: u32,
    /// The first moment.
    pub first_moment: Tensor<D>,
    /// The second moment.
    pub second_moment: Tensor<D>,
    /// The largest second moment so far, under amsgrad.
    pub largest_second_moment: Option<Tensor<D>>,
    /// The integrals. There are none from the switch to plain Adam on.
    pub integrals: Vec<Tensor<D>>,
    /// The parameter in `f32`, if it is in half precision itself.
    pub master: Option<Tensor<D>>,
}

impl MiAdamConfig {
    /// The bare optimizer of one group of parameters, as burn's configurations build it.
    ///
    /// It has the hyperparameters that [`new`](Self::new) was given. burn's schedulers give the learning rate, in place of
    /// [`Hyperparams::lr`]. The group's own schedule multiplies it.
    ///
    /// # Errors
    /// For hyperparameters out of range, and for options that one parameter alone cannot have. The error names the remedy.
    ///
    /// ```
    /// use burn::module::ParamGroup;
    /// use burn::optim::ModuleOptimizer;
    /// use miadam_burn::{MiAdamConfig, miadam::{Hyperparams, WeightDecay}};
    ///
    /// let decay = Hyperparams { weight_decay: WeightDecay::Decoupled(0.01), ..Hyperparams::default() };
    /// let optimizer = ModuleOptimizer::from(MiAdamConfig::new(Hyperparams::default()).build()?).with_group(
    ///     ParamGroup::from_predicate("weight"),
    ///     MiAdamConfig::new(decay).build()?,
    ///     None,
    /// );
    /// # Ok::<(), miadam_burn::Error>(())
    /// ```
    pub fn build(&self) -> Result<PerParamMiAdam, Error> {
        let mut all = self.hyperparams();
        let hyperparams = all.next().cloned().unwrap_or_default();
        if all.next().is_some() {
            return Err(Error::Option(
                "one optimizer of burn's is for one group: give each group the `build` of a configuration of its own, with \
                 `ModuleOptimizer::with_group`",
            ));
        }
        hyperparams.validate(0)?;
        check_alone(&hyperparams, &self.grad_options())?;
        Ok(PerParamMiAdam { hyperparams, last: Arc::default() })
    }
}

/// Refuses what one parameter alone cannot have.
fn check_alone(hyperparams: &Hyperparams, options: &GradOptions) -> Result<(), Error> {
    if hyperparams.average != Average::None {
        return Err(Error::Option(
            "burn's record of a parameter has no average of the weights: make the optimizer with `init`",
        ));
    }
    if matches!(hyperparams.half_params, HalfParams::Stochastic { .. }) {
        return Err(Error::Option(
            "burn's tensor operations do not round at random: make the optimizer with `init`, or keep `HalfParams::Master`",
        ));
    }
    if options.clip_norm.is_some() || options.clip_value.is_some() {
        return Err(Error::Option(
            "burn itself clips each gradient: use `ModuleOptimizer::with_grad_clipping`, or make the optimizer with `init` to \
             clip the norm of the whole module",
        ));
    }
    if *options != GradOptions::default() {
        return Err(Error::Option(
            "options for the gradients are for the whole module: make the optimizer with `init`",
        ));
    }
    Ok(())
}

impl Optimizer for PerParamMiAdam {
    type State<const D: usize> = PerParamState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<PerParamState<D>>,
    ) -> (Tensor<D>, Option<PerParamState<D>>) {
        let dtype = tensor.dtype();
        let is_half = matches!(dtype, DType::F16 | DType::BF16);
        let mut state = state.unwrap_or_else(|| PerParamState::new(&tensor, is_half, self.hyperparams.order));
        state.step = state.step.saturating_add(1);
        let coefs = self.coefs(state.step, lr);
        state.check(coefs.order, &self.hyperparams);
        if !is_half {
            let theta = state.update(&coefs, self.hyperparams.amsgrad, tensor, grad);
            return (theta, Some(state));
        }
        let theta = state.unrounded(tensor);
        let theta = state.update(&coefs, self.hyperparams.amsgrad, theta, grad.cast(DType::F32));
        state.master = Some(theta.clone());
        (theta.cast(dtype), Some(state))
    }

    fn to_device<const D: usize>(mut state: PerParamState<D>, device: &Device) -> PerParamState<D> {
        state.first_moment = state.first_moment.to_device(device);
        state.second_moment = state.second_moment.to_device(device);
        state.largest_second_moment = state.largest_second_moment.map(|tensor| tensor.to_device(device));
        state.integrals = state.integrals.into_iter().map(|tensor| tensor.to_device(device)).collect();
        state.master = state.master.map(|tensor| tensor.to_device(device));
        state
    }
}

impl PerParamMiAdam {
    fn coefs(&self, t: u32, lr: f64) -> StepCoefs {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, rate, coefs)) = *last
            && (known, rate) == (t, lr)
        {
            return coefs;
        }
        let scheduled = lr * self.hyperparams.schedule.factor(t - 1);
        let coefs = StepCoefs::at(&self.hyperparams, t, scheduled).unwrap_or_else(|error| panic!("{error}"));
        *last = Some((t, lr, coefs));
        coefs
    }
}

impl<const D: usize> PerParamState<D> {
    fn new(like: &Tensor<D>, is_half: bool, order: u32) -> Self {
        let dtype = if is_half { DType::F32 } else { like.dtype() };
        let zeros = || Tensor::zeros(like.shape(), (&like.device(), dtype));
        Self {
            step: 0,
            first_moment: zeros(),
            second_moment: zeros(),
            largest_second_moment: None,
            integrals: (0..order).map(|_| zeros()).collect(),
            master: None,
        }
    }

    /// Drops integrals that are not used any more, and refuses others than the step uses.
    fn check(&mut self, order: u32, hyperparams: &Hyperparams) {
        if order == 0 {
            self.integrals.clear();
        }
        let (found, shape, t) = (self.integrals.len(), self.first_moment.shape(), self.step);
        let Hyperparams { switch_step, .. } = hyperparams;
        assert!(
            found == order as usize,
            "the state of a parameter of shape {shape:?} has {found} integrals, but step {t} of order {order} and switch_step \
             {switch_step} uses {order}: load the record into an optimizer with the order and the switch_step that it was saved \
             with, or start without it",
        );
    }

    /// θ in `f32`: the master copy, but for elements that others have written since the last step.
    fn unrounded(&mut self, theta: Tensor<D>) -> Tensor<D> {
        match self.master.take() {
            None => theta.cast(DType::F32),
            Some(master) => {
                let is_own = master.clone().cast(theta.dtype()).equal(theta.clone());
                theta.cast(DType::F32).mask_where(is_own, master)
            }
        }
    }

    /// The new θ, with the operations of `shaders/update.wgsl` in their order.
    fn update(&mut self, c: &StepCoefs, amsgrad: bool, theta: Tensor<D>, grad: Tensor<D>) -> Tensor<D> {
        let g = if c.grad_sign < 0.0 { -grad } else { grad };
        // A group without decay has none, even where θ is infinite.
        let g = if c.coupled_decay == 0.0 { g } else { g + theta.clone() * c.coupled_decay };
        let m = approach(&self.first_moment, g.clone(), c.one_minus_beta1);
        let v = self.second_moment.clone();
        // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
        let v = approach(&v, g.clone() * g, c.one_minus_beta2).mask_where(is_infinite(&v), v);
        (self.first_moment, self.second_moment) = (m.clone(), v.clone());
        let v = if amsgrad { self.raise(v) } else { v };
        let num = self.integrals.iter_mut().fold(m, |num, s| {
            *s = num + (s.clone() - s.clone() * c.one_minus_kappa);
            s.clone()
        });
        let update = num.clone() / (v.sqrt() * c.root_scale + c.eps) * c.step_size;
        if c.decay == 0.0 {
            return theta - update;
        }
        let decay = theta.clone() * c.decay;
        let decay = if c.cautious {
            let agree = theta.clone().greater_equal_elem(0.0).equal(num.greater_equal_elem(0.0));
            decay.mask_fill(agree.bool_not(), 0.0)
        } else {
            decay
        };
        theta - (update + decay)
    }

    /// The second moment to divide by, under amsgrad. A NaN stays.
    fn raise(&mut self, v: Tensor<D>) -> Tensor<D> {
        let largest = match self.largest_second_moment.take() {
            None => v,
            Some(largest) => v.max_pair(largest),
        };
        self.largest_second_moment = Some(largest.clone());
        largest
    }
}

/// Whether second moments are infinite. The largest number counts, too: burn fuses this comparison, but not `is_inf`.
fn is_infinite<const D: usize>(v: &Tensor<D>) -> Tensor<D, Bool> {
    let largest = if v.dtype() == DType::F64 { f64::MAX } else { f64::from(f32::MAX) };
    v.clone().greater_equal_elem(largest)
}

/// An average that takes a value in.
fn approach<const D: usize>(average: &Tensor<D>, value: Tensor<D>, rate: f32) -> Tensor<D> {
    average.clone() + (value - average.clone()) * rate
}
