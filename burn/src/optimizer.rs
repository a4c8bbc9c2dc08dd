//! The optimizer of a whole module.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ParamGroup, ParamId};
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams};
use burn::tensor::{Device, Tensor};
use miadam::{Checkpoint, GradOptions, GradScaler, Hyperparams, LoadOptions, Report};

use crate::config::{MiAdamConfig, check_grad_options};
use crate::engine::{Brought, Engines, Pending, Turn};
use crate::error::{Error, StepError};
use crate::leaves::{Choice, Choose, Leaf, core_dtype, put, take};

/// MIAdam for a whole burn module: all of its tensors take one step together, in one submission to the device.
pub struct MiAdam {
    config: MiAdamConfig,
    hyperparams: Arc<[Hyperparams]>,
    grad_options: GradOptions,
    engines: Engines,
    pending: Option<Arc<Pending>>,
    /// The parameters that have taken part in a step.
    known: HashMap<Arc<str>, ParamId>,
    /// Those of them that rest.
    frozen: HashSet<String>,
    /// Who was asked to rest (true) and to go on, in this order, for parameters that are not known yet.
    rests: Vec<(ParamGroup, bool)>,
}

impl MiAdam {
    pub(crate) fn new(config: MiAdamConfig, devices: &[Device]) -> Result<Self, Error> {
        let grad_options = config.grad_options();
        check_grad_options(&grad_options, devices.len())?;
        let devices: Vec<_> = devices.iter().map(|device| device.clone().without_autodiff()).collect();
        Ok(Self {
            hyperparams: config.hyperparams().cloned().collect(),
            grad_options,
            engines: Engines::new(&devices)?,
            config,
            pending: None,
            known: HashMap::new(),
            frozen: HashSet::new(),
            rests: Vec::new(),
        })
    }

    /// Takes a step: each parameter that has a gradient is updated, in place where nobody else holds its tensor. One without a
    /// gradient keeps every bit, of itself and of its state.
    ///
    /// `lr` is the learning rate, or one for each group of parameters from burn's `ModuleLrScheduler`. It takes the place of
    /// [`Hyperparams::lr`]; the group's schedule multiplies it.
    ///
    /// # Errors
    /// For gradients of another module, of another shape or type, or on another device; and for what the optimizer refuses.
    /// The module comes back in the error, with all of its parameters as they were.
    pub fn step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> Result<M, StepError<M>> {
        self.step_by(&lr.into(), module, grads.into())
    }

    /// [`step`](Self::step) with gradients from several devices, as burn's `ExecutionStrategy::MultiDevice` gathers them. Each
    /// parameter's gradients are added up on one device, to which the parameter moves, and which keeps its state: also where a
    /// later step has its gradients on another, because a device had no batch.
    ///
    /// # Errors
    /// As for [`step`](Self::step). If one device fails, others may have taken the step.
    pub fn step_multi<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: MultiGradientsParams,
    ) -> Result<M, StepError<M>> {
        self.step_by(&lr.into(), module, grads.into())
    }

    fn step_by<M: Module>(
        &mut self,
        lr: &ModuleLearningRate,
        module: M,
        grads: GradAdaptor,
    ) -> Result<M, StepError<M>> {
        let all = count(&grads);
        let mut choose = WithGrad { optimizer: self, grads };
        let (module, mut leaves) = take(module, &mut choose);
        let unknown = count(&choose.grads);
        let result =
            if unknown > 0 { Err(Error::ForeignGradients { unknown, all }) } else { self.step_leaves(lr, &mut leaves) };
        let module = put(module, leaves);
        match result {
            Ok(()) => Ok(module),
            Err(error) => Err(StepError { module, error: Box::new(error) }),
        }
    }

    fn step_leaves(&mut self, lr: &ModuleLearningRate, leaves: &mut [Leaf]) -> Result<(), Error> {
        if leaves.iter().all(|leaf| leaf.grad.is_none()) {
            return Err(Error::NoGradients);
        }
        let brought = leaves.iter().map(|leaf| self.brought(leaf)).collect::<Result<Vec<_>, _>>()?;
        let lrs = self.lrs(lr, leaves, &brought)?;
        let turn = Turn {
            brought,
            lrs,
            hyperparams: self.hyperparams.clone(),
            grad_options: self.grad_options,
            pending: self.pending.clone(),
        };
        let has_new =
            leaves.len() != self.known.len() || leaves.iter().any(|leaf| !self.known.contains_key(&leaf.path));
        self.engines.step(leaves, turn)?;
        self.pending = None;
        if has_new {
            self.known.extend(leaves.iter().map(|leaf| (leaf.path.clone(), leaf.id)));
            self.know_frozen();
        }
        Ok(())
    }

    fn brought(&self, leaf: &Leaf) -> Result<Brought, Error> {
        Ok(Brought {
            path: leaf.path.clone(),
            param: leaf.param(self.engines.devices())?,
            group: self.config.group_of(&leaf.id, &leaf.path),
            grad: leaf.grad.as_ref().and_then(|grad| core_dtype(grad.dtype)),
            frozen: self.asked_to_rest(&leaf.id, &leaf.path),
        })
    }

    /// The learning rate of each group that has a parameter here.
    fn lrs(&self, lr: &ModuleLearningRate, leaves: &[Leaf], brought: &[Brought]) -> Result<Vec<Option<f64>>, Error> {
        let mut lrs: Vec<Option<(f64, &str)>> = vec![None; self.hyperparams.len()];
        for (leaf, brought) in leaves.iter().zip(brought) {
            let lr = lr.lr_from_param(leaf.id, Some(&leaf.path));
            match lrs[brought.group] {
                Some((other_lr, other)) if other_lr != lr => {
                    let (path, other) = (leaf.path.to_string(), other.to_owned());
                    return Err(Error::LearningRates { path, lr, other, other_lr });
                }
                Some(_) => {}
                None => lrs[brought.group] = Some((lr, &leaf.path)),
            }
        }
        Ok(lrs.into_iter().map(|lr| lr.map(|(lr, _)| lr)).collect())
    }

    /// Leaves parameters out of the steps from now on, until they [thaw](Self::thaw). They keep every bit, whether they have
    /// gradients or not.
    ///
    /// # Errors
    /// If the device is lost. Nothing is changed then.
    pub fn freeze(&mut self, params: ParamGroup) -> Result<(), Error> {
        self.rest(params, true)
    }

    /// Lets parameters take part again.
    ///
    /// # Errors
    /// As for [`freeze`](Self::freeze).
    pub fn thaw(&mut self, params: ParamGroup) -> Result<(), Error> {
        self.rest(params, false)
    }

    fn rest(&mut self, params: ParamGroup, frozen: bool) -> Result<(), Error> {
        let of_group = self.known.iter().filter(|(path, id)| params.matches(id, Some(path)));
        let names: Vec<_> = of_group.map(|(path, _)| &**path).collect();
        self.engines.each(|settings| settings.freeze(&names, frozen)).into_iter().collect::<Result<(), _>>()?;
        self.rests.push((params, frozen));
        self.know_frozen();
        Ok(())
    }

    /// Whether a parameter rests.
    fn rests(&self, id: &ParamId, path: &str) -> bool {
        match self.known.contains_key(path) {
            true => self.frozen.contains(path),
            false => self.asked_to_rest(id, path).unwrap_or(false),
        }
    }

    /// Whether a parameter was last asked to rest or to go on, if it was.
    fn asked_to_rest(&self, id: &ParamId, path: &str) -> Option<bool> {
        let last = self.rests.iter().rev().find(|(group, _)| group.matches(id, Some(path)));
        last.map(|(_, frozen)| *frozen)
    }

    fn know_frozen(&mut self) {
        self.frozen = self.engines.each(|settings| settings.frozen()).into_iter().flatten().collect();
    }

    /// The factor on the loss of the next step, on the optimizer's device: 1, unless [`GradOptions::scaler`] is set. Nothing is
    /// read back.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn loss_scale(&self) -> Result<Tensor<1>, Error> {
        self.engines.loss_scale(self.grad_options.scaler.map_or(1.0, |GradScaler { init_scale, .. }| init_scale))
    }

    /// What the last step did: counts, learning rates, the norm of the gradients. On a GPU this waits for the device.
    ///
    /// # Errors
    /// Before the first step, and if the device is lost.
    pub fn report(&self) -> Result<Report, Error> {
        self.engines.report()
    }

    /// Sets what happens to the gradients of the steps from now on.
    ///
    /// # Errors
    /// If a value is out of range, or the device is lost. Nothing is changed then.
    pub fn set_grad_options(&mut self, options: GradOptions) -> Result<(), Error> {
        check_grad_options(&options, self.engines.devices().len())?;
        self.engines.each(|settings| settings.set_grad_options(options)).into_iter().collect::<Result<(), _>>()?;
        self.grad_options = options;
        Ok(())
    }

    /// Exchanges the parameters that have an average with it, for an evaluation; called once more, it exchanges them back. In
    /// between no step is taken.
    ///
    /// # Errors
    /// If no group keeps an average, before the first step, and if the device is lost. The module comes back in the error, with
    /// all of its parameters as they were.
    pub fn swap_averages<M: Module>(&mut self, module: M) -> Result<M, StepError<M>> {
        let params = self.engines.each(|settings| settings.params());
        let names = params.into_iter().flatten().map(|param| param.name).collect();
        let (module, mut leaves) = take(module, &mut Named { names, engines: &self.engines });
        let result = if leaves.is_empty() { Err(Error::NoStepYet) } else { self.engines.swap_averages(&mut leaves) };
        let module = put(module, leaves);
        match result {
            Ok(()) => Ok(module),
            Err(error) => Err(StepError { module, error: Box::new(error) }),
        }
    }

    /// Tells that others than the optimizer have changed parameters since the last step: the module was loaded, or a tensor in it
    /// replaced. Only parameters in half precision with master copies need it, because a step starts from the copy.
    pub fn params_written(&mut self) {
        self.engines.each(|settings| settings.params_written());
    }

    /// Frees the integrals' memory once no group needs them any more, and gives the bytes freed.
    ///
    /// # Errors
    /// As long as a group may need its integrals, before the first step, and if the device is lost.
    pub fn release_integrals(&mut self) -> Result<u64, Error> {
        self.engines.read_counts()?;
        let freed = self.engines.each(|settings| settings.release_integrals());
        Ok(freed.into_iter().sum::<Result<u64, _>>()?)
    }

    /// Bytes of memory that hold the state.
    pub fn state_bytes(&mut self) -> u64 {
        self.engines.each(|settings| settings.state_bytes()).into_iter().sum()
    }

    /// The state, with everything that a resumed run needs but the module itself. Parameters go by their paths. It is the
    /// core's own: its file can be loaded by a core optimizer whose parameters have these names, and the other way round.
    ///
    /// # Errors
    /// Before the first step, and if the device is lost.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.engines.checkpoint()
    }

    /// The checkpoint with which another optimizer goes on as this one would. There is none before the first step, unless one
    /// waits to be loaded.
    pub(crate) fn to_go_on_from(&self) -> Result<Option<Checkpoint>, Error> {
        match (&self.pending, self.checkpoint()) {
            (Some(pending), _) => Ok(Some((*pending.checkpoint).clone())),
            (None, Ok(checkpoint)) => Ok(Some(checkpoint)),
            (None, Err(Error::NoStepYet)) => Ok(None),
            (None, Err(error)) => Err(error),
        }
    }

    /// Saves the [checkpoint](Self::checkpoint) to a file, beside the module's own record.
    ///
    /// # Errors
    /// As for [`checkpoint`](Self::checkpoint), and if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.checkpoint()?.save(path)?)
    }

    /// Goes on from a file. Before the first step nothing is known of the module, so that what does not fit shows there.
    ///
    /// # Errors
    /// If the file is not a checkpoint, or does not fit.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.load_checkpoint(Checkpoint::open(path)?, LoadOptions::default())
    }

    /// Goes on from a checkpoint, or from a part of it.
    ///
    /// # Errors
    /// If it does not fit, and if the device is lost.
    pub fn load_checkpoint(&mut self, checkpoint: Checkpoint, options: LoadOptions) -> Result<(), Error> {
        if self.engines.load(&checkpoint, &options)? {
            self.know_frozen();
        } else {
            // What was asked before is as in the file.
            self.rests.clear();
            self.pending = Some(Arc::new(Pending::new(checkpoint, options)));
        }
        Ok(())
    }
}

/// The number of gradients that are left.
fn count(grads: &GradAdaptor) -> usize {
    match grads {
        GradAdaptor::Single(grads) => grads.len(),
        GradAdaptor::Multi(grads) => grads.grads.iter().map(|(grads, _)| grads.len()).sum(),
    }
}

/// Parameters with gradients, and at the first step after a loading those that the checkpoint has.
struct WithGrad<'a> {
    optimizer: &'a MiAdam,
    grads: GradAdaptor,
}

impl Choose for WithGrad<'_> {
    fn choose<const D: usize>(&mut self, id: ParamId, path: &str) -> Choice<D> {
        let has_been_saved = self.optimizer.pending.as_ref().is_some_and(|pending| pending.has(path));
        let grad = self.grads.remove::<D>(id).map(|(grad, _)| grad);
        if self.optimizer.rests(&id, path) {
            return if has_been_saved { Choice::Take(None) } else { Choice::Leave };
        }
        if grad.is_some() || has_been_saved { Choice::Take(grad) } else { Choice::Leave }
    }

    fn home(&self, path: &str, grad: Option<Device>) -> Option<Device> {
        // A device that had no batch in this step has no gradients, and burn adds them up on another.
        let owner = self.optimizer.engines.owner(path).cloned();
        owner.or_else(|| grad.filter(|_| matches!(self.grads, GradAdaptor::Multi(_))))
    }
}

/// Parameters by their paths.
struct Named<'a> {
    names: HashSet<String>,
    engines: &'a Engines,
}

impl Choose for Named<'_> {
    fn choose<const D: usize>(&mut self, _: ParamId, path: &str) -> Choice<D> {
        if self.names.contains(path) { Choice::Take(None) } else { Choice::Leave }
    }

    fn home(&self, path: &str, _: Option<Device>) -> Option<Device> {
        self.engines.owner(path).cloned()
    }
}
