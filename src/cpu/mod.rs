//! The CPU twin: the same optimizer over slices of host memory, on all cores.
//!
//! It mirrors `shaders/update.wgsl` statement by statement, serves where there is no GPU, and is the oracle
//! of the shaders' tests. Elements are independent, so results do not depend on the number of threads, and no
//! operation is fused, so they do not depend on the instruction set either.

mod checkpoint;
mod measure;
mod reading;
mod update;
mod values;

use bytemuck::Zeroable;
use rayon::prelude::*;

use crate::group::{self, Named, ParamGroup, Role};
use crate::layout::{Coefs, Group, Progress, Rates, Scaler};
use crate::plan::{Format, Rounding};
use crate::report;
use crate::state::Planes;
use crate::verdict::Verdict;
use crate::{Dtype, Error, GradOptions, Hyperparams};
use update::{Grad, Scratch, Task};
use values::Values;
pub use values::ValuesMut;

/// Elements updated by one task, so few that what it loads stays in the cache nearest to a core.
const CHUNK: usize = 4096;

/// Elements below which a task is not worth a thread's attention.
const MIN_TASK: usize = 16_384;

/// Tasks that are worth a thread's attention together.
fn min_tasks(elements: usize, tasks: usize) -> usize {
    MIN_TASK.div_ceil((elements / tasks.max(1)).max(1))
}

/// The name, length and type of a parameter; its values are handed to each [`MiAdam::step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Unique, not empty.
    pub name: String,
    /// Length in elements, 0 included.
    pub len: usize,
    /// What the elements are. Gradients may be of another type, and of another at each step.
    pub dtype: Dtype,
}

impl Param {
    /// A parameter of `len` elements of `f32`.
    #[must_use]
    pub fn new(name: impl Into<String>, len: usize) -> Self {
        Self { name: name.into(), len, dtype: Dtype::F32 }
    }

    /// The parameter with elements of another type.
    #[must_use]
    pub fn with_dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }
}

impl Named for Param {
    fn name(&self) -> &str {
        &self.name
    }
}

/// MIAdam on the CPU. See [`Hyperparams`] for what a step computes.
///
/// ```
/// use miadam::{Hyperparams, ParamGroup, cpu};
///
/// let group = ParamGroup::new(Hyperparams::default(), [cpu::Param::new("w", 2)]);
/// let mut optimizer = cpu::MiAdam::new([group])?;
/// let mut w = [1.0, -1.0];
/// optimizer.step(&mut [&mut w], &[&[0.5, 0.5]])?;
/// assert_eq!(optimizer.state().step, 1);
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MiAdam {
    groups: Vec<CpuGroup>,
    grad_options: GradOptions,
    tensors: Vec<Tensor>,
    progress: Progress,
    scaler: Scaler,
    /// Calls of `step`, by which schedules go.
    recorded: u32,
    /// Each group's learning rate at the last of them.
    lrs: Vec<f64>,
    /// Whether that step measured its gradients.
    measured: bool,
    /// Whether a step has made the master copies, if there are any.
    adopted: bool,
    /// For each tensor and each chunk of it, its planes one after the other: first moment, second moment, under amsgrad
    /// the largest second moment, and the master copy if there is one.
    moments: Vec<f32>,
    /// Laid out alike, a plane for each integral.
    integrals: Vec<f32>,
}

#[derive(Debug, Clone)]
struct CpuGroup {
    hyperparams: Hyperparams,
    constants: Group,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    len: usize,
    group: usize,
    dtype: Dtype,
    planes: Planes,
    rounding: Rounding,
    /// What stochastic rounding draws from.
    stream: u32,
}

impl Tensor {
    fn new(group: usize, hyperparams: &Hyperparams, param: &Param) -> Self {
        let dtype = param.dtype;
        let rounding = Format::new(dtype, Dtype::F32, hyperparams.half_params).rounding;
        Self {
            name: param.name.clone(),
            len: param.len,
            group,
            dtype,
            planes: Planes::new(hyperparams, dtype),
            rounding,
            stream: crate::half::stream(rounding, hyperparams.half_params, &param.name),
        }
    }
}

impl MiAdam {
    /// An optimizer whose state is all 0.
    ///
    /// # Errors
    /// For hyperparameters out of range and for names that are empty or used twice.
    pub fn new(groups: impl IntoIterator<Item = ParamGroup<Param>>) -> Result<Self, Error> {
        let groups: Vec<_> = groups.into_iter().collect();
        group::validate(&groups)?;
        let mut tensors = Vec::new();
        for (group, ParamGroup { hyperparams, params }) in groups.iter().enumerate() {
            for param in params {
                group::validate_half(&param.name, param.dtype, hyperparams.half_params)?;
                tensors.push(Tensor::new(group, hyperparams, param));
            }
        }
        Ok(Self {
            moments: zeros(&tensors, |tensor| tensor.planes.moments())?,
            integrals: zeros(&tensors, |tensor| tensor.planes.integrals)?,
            lrs: groups.iter().map(|group| group.hyperparams.lr_at(0)).collect(),
            groups: groups
                .into_iter()
                .map(|ParamGroup { hyperparams, .. }| CpuGroup { constants: Group::new(&hyperparams), hyperparams })
                .collect(),
            tensors,
            grad_options: GradOptions::default(),
            progress: Progress::zeroed(),
            scaler: Scaler { scale: 1.0, ..Scaler::zeroed() },
            recorded: 0,
            measured: false,
            adopted: false,
        })
    }

    /// Updates `params` by `grads`: one slice of each for every parameter, in the order of the groups. All are `f32`, and
    /// gradients are only read; for anything else there is [`step_values`](Self::step_values).
    ///
    /// A [`Schedule`](crate::Schedule) goes on by one with every call.
    ///
    /// # Errors
    /// If a slice is missing, or has another length or type than its parameter, or [`GradOptions::zero`] is set. Nothing is
    /// changed then.
    pub fn step(&mut self, params: &mut [&mut [f32]], grads: &[&[f32]]) -> Result<(), Error> {
        if self.grad_options.zero {
            return Err(Error::SharedGradients);
        }
        self.check(Role::Param, params.iter().map(|slice| slice.len()))?;
        self.check(Role::Grad, grads.iter().map(|slice| slice.len()))?;
        self.check_dtypes(params.iter().map(|_| Dtype::F32))?;
        let verdict = self.judge(grads.iter().map(|grad| Values::F32(grad)));
        if !verdict.skip {
            let params = params.iter_mut().map(|param| ValuesMut::F32(param));
            self.update(&verdict, params, grads.iter().map(|grad| Grad::Read(Values::F32(grad))));
        }
        Ok(())
    }

    /// [`step`](Self::step) for parameters and gradients of any type, and for gradients that [`GradOptions::zero`] resets.
    ///
    /// # Errors
    /// If values are missing, or have another length or type than their parameter. Nothing is changed then.
    pub fn step_values(&mut self, params: &mut [ValuesMut<'_>], grads: &mut [ValuesMut<'_>]) -> Result<(), Error> {
        self.check(Role::Param, params.iter().map(|values| values.len()))?;
        self.check(Role::Grad, grads.iter().map(|values| values.len()))?;
        self.check_dtypes(params.iter().map(|values| values.dtype()))?;
        self.adopt(params.iter().map(ValuesMut::shared));
        let verdict = self.judge(grads.iter().map(|grad| grad.shared()));
        let zero = self.grad_options.zero;
        if !verdict.skip {
            let grad = |grad| if zero { Grad::Zero(ValuesMut::reborrow(grad)) } else { Grad::Read(grad.shared()) };
            self.update(&verdict, params.iter_mut().map(ValuesMut::reborrow), grads.iter_mut().map(grad));
        } else if zero {
            grads.iter_mut().for_each(ValuesMut::zero);
        }
        Ok(())
    }

    /// Makes the master copies that are still to be made.
    fn adopt<'a>(&mut self, params: impl Iterator<Item = Values<'a>>) {
        if std::mem::replace(&mut self.adopted, true) {
            return;
        }
        let (mut moments, mut scratch) = (&mut self.moments[..], Vec::new());
        for (tensor, param) in self.tensors.iter().zip(params) {
            for param in param.chunks(CHUNK) {
                let moments = split_off(&mut moments, param.len() * tensor.planes.moments());
                if tensor.planes.master {
                    let master = moments.len() - param.len();
                    update::adopt(&mut moments[master..], param.single(&mut scratch));
                }
            }
        }
    }

    /// `advance` of `advance.wgsl`, but for the coefficients.
    fn judge<'a>(&mut self, grads: impl Iterator<Item = Values<'a>>) -> Verdict {
        let gradients = self.grad_options.recorded();
        let found = self.grad_options.measures().then(|| measure::find(grads));
        self.measured = found.is_some();
        let verdict = Verdict::new(&gradients, &self.scaler, found);
        if let Some(found) = found {
            self.progress.norm = verdict.norm.to_bits();
            self.progress.skipped = self.progress.skipped.saturating_add(u32::from(verdict.skip));
            if gradients.growth_interval > 0 {
                self.scaler.update(&gradients, found);
            }
        }
        if !verdict.skip {
            self.progress.step = self.progress.step.saturating_add(1);
        }
        for (number, (lr, group)) in self.lrs.iter_mut().zip(&self.groups).enumerate() {
            *lr = group.hyperparams.lr_at(self.recorded);
            let recorded = self.recorded.saturating_add(1);
            report::log_switch(number, &group.hyperparams, recorded, self.grad_options.skips());
        }
        self.recorded = self.recorded.saturating_add(1);
        verdict
    }

    /// The update of every element.
    fn update<'a>(
        &mut self,
        verdict: &Verdict,
        params: impl Iterator<Item = ValuesMut<'a>>,
        grads: impl Iterator<Item = Grad<'a>>,
    ) {
        let gradients = self.grad_options.recorded();
        let coefs = self.groups.iter().zip(&self.lrs).map(|(CpuGroup { hyperparams, constants }, &lr)| {
            Coefs::new(constants, Rates::new(hyperparams, lr), &gradients, verdict, self.progress.step)
        });
        let coefs: Vec<_> = coefs.collect();
        let mut tasks = Vec::new();
        let (mut moments, mut integrals) = (&mut self.moments[..], &mut self.integrals[..]);
        for ((tensor, mut params), mut grads) in self.tensors.iter().zip(params).zip(grads) {
            let &Tensor { planes, rounding, stream, group, .. } = tensor;
            for start in (0..tensor.len).step_by(CHUNK) {
                let len = CHUNK.min(tensor.len - start);
                let (param, grad);
                (param, params) = params.split_at(len);
                (grad, grads) = grads.split_at(len);
                let moments = split_off(&mut moments, len * planes.moments());
                let integrals = split_off(&mut integrals, len * planes.integrals);
                let (coefs, first) = (&coefs[group], (start / 4) as u32);
                tasks.push(Task { coefs, param, grad, moments, integrals, rounding, stream, first });
            }
        }
        let min_tasks = min_tasks(self.tensors.iter().map(|tensor| tensor.len).sum(), tasks.len());
        let arch = pulp::Arch::new();
        tasks.into_par_iter().with_min_len(min_tasks).for_each_init(Scratch::default, |scratch, task| {
            arch.dispatch(
                #[inline(always)]
                || task.run(scratch),
            );
        });
    }

    fn check_dtypes(&self, dtypes: impl Iterator<Item = Dtype>) -> Result<(), Error> {
        for (tensor, found) in self.tensors.iter().zip(dtypes) {
            if found != tensor.dtype {
                let (name, expected) = (tensor.name.clone(), tensor.dtype);
                return Err(Error::DtypeMismatch { name, role: Role::Param, expected, found });
            }
        }
        Ok(())
    }

    fn check(&self, role: Role, lens: impl ExactSizeIterator<Item = usize>) -> Result<(), Error> {
        if lens.len() != self.tensors.len() {
            return Err(Error::SliceCount { expected: self.tensors.len(), found: lens.len(), role });
        }
        for (tensor, len) in self.tensors.iter().zip(lens) {
            if len != tensor.len {
                let (expected, found) = (tensor.len as u64, len as u64);
                return Err(Error::LengthMismatch { name: tensor.name.clone(), role, expected, found });
            }
        }
        Ok(())
    }

    /// Sets `lr` of a group for the steps from now on: the number that its schedule multiplies. Under
    /// [`Schedule::Constant`](crate::Schedule::Constant) it is the learning rate itself, the caller's own for each step.
    ///
    /// # Errors
    /// If there is no such group, or the learning rate is out of range. Near 0 it never is: a step scale that
    /// underflows stands still.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let groups = self.groups.len();
        let target = self.groups.get_mut(group).ok_or(Error::UnknownGroup { group, groups })?;
        target.hyperparams = target.hyperparams.with_lr(group, lr)?;
        Ok(())
    }

    /// Sets what happens to the gradients of the steps from now on.
    ///
    /// The loss scale starts when a scaler is set where there was none, and goes on under later options.
    ///
    /// # Errors
    /// If a value is out of range; nothing is changed then.
    pub fn set_grad_options(&mut self, options: GradOptions) -> Result<(), Error> {
        options.validate()?;
        let start = |scale| Scaler { scale, ..Scaler::zeroed() };
        match (&self.grad_options.scaler, &options.scaler) {
            (None, Some(scaler)) => self.scaler = start(scaler.init_scale as f32),
            (Some(_), None) => self.scaler = start(1.0),
            _ => {}
        }
        self.grad_options = options;
        Ok(())
    }

    /// What happens to the gradients.
    #[must_use]
    pub fn grad_options(&self) -> &GradOptions {
        &self.grad_options
    }

    /// Frees the integrals' memory, once no group needs them any more; returns the bytes freed. [`State`](crate::State) has no integrals
    /// from then on.
    ///
    /// # Errors
    /// [`Error::IntegralsInUse`] as long as a group needs its integrals; nothing is freed then.
    pub fn release_integrals(&mut self) -> Result<u64, Error> {
        let known_step = self.progress.step;
        let of = |tensor: &Tensor| &self.groups[tensor.group].hyperparams;
        let used = self.tensors.iter().filter(|tensor| tensor.planes.integrals > 0);
        if let Some(tensor) = used.max_by_key(|tensor| of(tensor).switch_step)
            && known_step < of(tensor).last_integrating()
        {
            let (switch_step, needed) = (of(tensor).switch_step, of(tensor).last_integrating());
            return Err(Error::IntegralsInUse { group: tensor.group, switch_step, known_step, needed });
        }
        self.tensors.iter_mut().for_each(|tensor| tensor.planes.integrals = 0);
        Ok(4 * std::mem::take(&mut self.integrals).len() as u64)
    }

    /// Bytes of memory that hold moments and integrals; less after [`release_integrals`](Self::release_integrals).
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        4 * (self.moments.len() + self.integrals.len()) as u64
    }

    /// The hyperparameters of each group, in order.
    #[must_use]
    pub fn hyperparams(&self) -> impl ExactSizeIterator<Item = &Hyperparams> {
        self.groups.iter().map(|group| &group.hyperparams)
    }
}

/// All planes of a kind, or an error where a plain allocation would abort the program.
fn zeros(tensors: &[Tensor], planes: fn(&Tensor) -> usize) -> Result<Vec<f32>, Error> {
    let elements = tensors.iter().map(|tensor| tensor.len as u128 * planes(tensor) as u128).sum::<u128>();
    let out_of_memory = || Error::OutOfMemory { bytes: u64::try_from(4 * elements).unwrap_or(u64::MAX) };
    let elements = usize::try_from(elements).map_err(|_| out_of_memory())?;
    // Only asks: `vec!` then gets memory that the system has zeroed, untouched.
    Vec::<f32>::new().try_reserve_exact(elements).map_err(|_| out_of_memory())?;
    Ok(vec![0.0; elements])
}

fn split_off<'a>(slice: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(slice).split_at_mut(len);
    *slice = tail;
    head
}
