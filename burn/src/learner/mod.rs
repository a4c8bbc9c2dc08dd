//! The optimizer of a whole module where burn-train's `Learner` expects burn's own.
//!
//! A `Learner` has a burn `ModuleOptimizer`, and saves and resumes it with the module. [`MiAdamConfig::init_learner`] makes one
//! that holds a whole [`MiAdam`]. The model says in one line that it is stepped so:
//!
//! ```
//! use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
//! use burn::optim::{GradientsParams, ModuleOptimizer};
//! # use burn::module::Module;
//! # trait TrainStep {
//! #     fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self;
//! # }
//! # #[derive(Module, Debug)]
//! # struct Model { linear: burn::nn::Linear }
//!
//! impl TrainStep for Model {
//!     // … and what a model has in any case.
//!     fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
//!         miadam_burn::learner::optimize(optim, lr, self, grads)
//!     }
//! }
//! ```
//!
//! # How it works
//! burn keeps a state for each parameter that is stepped, by the parameter's id. Here there is one such parameter, the carrier,
//! which is no part of the model, and its state is the whole [`MiAdam`]. A step of the carrier hands it out; then the real
//! module is stepped. In burn's record files, the carrier's state is the core's checkpoint as bytes.
//!
//! # Speed
//! A `Learner` keeps the model while it steps a clone of it, so that no parameter can be updated in place: all of them are copied
//! first, in one submission. On 1000 tensors of 4096 elements a step takes twice as long for it, less than half the time of
//! burn's Adam. A training loop of one's own around [`MiAdam::step`] does without.

mod state;

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, Param, ParamId};
use burn::optim::{GradientsParams, LearningRate, ModuleOptimizer, MultiGradientsParams, Optimizer};
use burn::tensor::{Device, Tensor};

use self::state::State;
use crate::config::MiAdamConfig;
use crate::error::Error;
use crate::optimizer::MiAdam;

/// The id under which burn keeps the state: the bytes of "miadam".
const CARRIER: u64 = u64::from_be_bytes(*b"\0\0miadam");

/// A device on which there can be a carrier.
static DEVICE: Mutex<Option<Device>> = Mutex::new(None);

thread_local! {
    /// What a step of the carrier hands out.
    static HANDED: RefCell<Handed> = const { RefCell::new(Handed::Unasked) };
}

enum Handed {
    Unasked,
    Asked,
    Out(State),
}

impl MiAdamConfig {
    /// The optimizer of a `Learner` whose modules are on `device`, or on its autodiff twin. The model's `TrainStep::optimize` must
    /// be [`optimize`].
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn init_learner(&self, device: &Device) -> Result<ModuleOptimizer, Error> {
        self.init_learner_multi(std::slice::from_ref(device))
    }

    /// The optimizer of a `Learner` under `ExecutionStrategy::MultiDevice` with `MultiDeviceOptim::OptimSharded`. The model's
    /// `TrainStep::optimize_multi` must be [`optimize_multi`].
    ///
    /// # Errors
    /// As for [`init_multi`](Self::init_multi).
    pub fn init_learner_multi(&self, devices: &[Device]) -> Result<ModuleOptimizer, Error> {
        // What is wrong shows here, not at the first step.
        self.init_multi(devices)?;
        *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = devices.first().cloned();
        Ok(ModuleOptimizer::from(Whole { config: self.clone(), devices: devices.to_vec() }))
    }
}

/// Takes a step of the whole module, as [`MiAdam::step`], with the optimizer that `optim` holds.
///
/// # Panics
/// `TrainStep::optimize` cannot return an error, so that a step that fails panics with its message. Nothing is lost: the
/// `Learner` still has its model, as it was. [`with`] gives the error instead.
pub fn optimize<M: Module>(
    optim: &mut ModuleOptimizer,
    lr: impl Into<ModuleLearningRate>,
    module: M,
    grads: GradientsParams,
) -> M {
    with(optim, |optimizer| optimizer.step(lr, module, grads)).unwrap_or_else(|error| panic!("{error}"))
}

/// [`optimize`] with gradients from several devices, as [`MiAdam::step_multi`].
///
/// # Panics
/// As [`optimize`].
pub fn optimize_multi<M: Module>(
    optim: &mut ModuleOptimizer,
    lr: impl Into<ModuleLearningRate>,
    module: M,
    grads: MultiGradientsParams,
) -> M {
    with(optim, |optimizer| optimizer.step_multi(lr, module, grads)).unwrap_or_else(|error| panic!("{error}"))
}

/// Calls `act` with the optimizer that `optim` holds, such as to freeze parameters, or to save a checkpoint of the core.
///
/// # Panics
/// If `optim` is not made by [`MiAdamConfig::init_learner`], and if it has burn's own gradient clipping, which would never see a
/// gradient.
pub fn with<T>(optim: &mut ModuleOptimizer, act: impl FnOnce(&mut MiAdam) -> T) -> T {
    assert!(
        !optim.has_gradient_clipping(),
        "burn's gradient clipping sees no gradient here: set `clip_norm` or `clip_value` of `GradOptions` instead, by \
         `MiAdamConfig::with_grad_options`",
    );
    let Some(state) = hand_out(optim) else {
        panic!("this optimizer is not made by `MiAdamConfig::init_learner`: make it so, or call its own `step`");
    };
    state.with(act)
}

/// Steps the carrier, so that burn makes its state, or finds it.
fn hand_out(optim: &mut ModuleOptimizer) -> Option<State> {
    let device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner).clone()?.without_autodiff();
    let id = ParamId::from(CARRIER);
    let mut grads = GradientsParams::new();
    grads.register(id, Tensor::<2>::zeros([1, 1], &device));
    let carrier = Param::initialized(id, Tensor::<2>::zeros([1, 1], &device.autodiff()));
    HANDED.set(Handed::Asked);
    optim.step(0.0, carrier, grads);
    match HANDED.replace(Handed::Unasked) {
        Handed::Out(state) => Some(state),
        Handed::Unasked | Handed::Asked => None,
    }
}

/// What burn takes for the optimizer of one parameter.
#[derive(Clone)]
struct Whole {
    config: MiAdamConfig,
    devices: Vec<Device>,
}

impl Optimizer for Whole {
    type State<const D: usize> = State;

    fn step<const D: usize>(
        &self,
        _: LearningRate,
        tensor: Tensor<D>,
        _: Tensor<D>,
        state: Option<State>,
    ) -> (Tensor<D>, Option<State>) {
        // Taken back at once, so that a panic on the way leaves nobody asked for.
        let is_asked = matches!(HANDED.replace(Handed::Unasked), Handed::Asked);
        assert!(
            is_asked,
            "this optimizer steps a whole module: call `miadam_burn::learner::optimize` in the model's `TrainStep::optimize`, and \
             `optimize_multi` in its `optimize_multi`",
        );
        let make = || self.config.init_multi(&self.devices);
        let state = state.unwrap_or_default().ready(make).unwrap_or_else(|error| panic!("{error}"));
        HANDED.set(Handed::Out(state.handle()));
        (tensor, Some(state))
    }

    /// The state is where the module is.
    fn to_device<const D: usize>(state: State, _: &Device) -> State {
        state
    }
}
