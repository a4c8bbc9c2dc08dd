//! The CPU optimizer: construction and steps.

use bytemuck::Zeroable;
use rayon::prelude::*;

use super::binding::Binding;
use super::measuring;
use super::slabs::{Slab, pieces, slabs};
use super::update::{Scratch, Task, Tensors, min_tasks};
use super::values::split_off;
use crate::abi::{GradSettings, Group, Progress, Scaler};
use crate::clock::Clock;
use crate::course::Course;
use crate::error::Error;
use crate::math::adopt::adopt;
use crate::math::advance::{advance_clock, count};
use crate::math::half::{bf16_nearest, bf16_to_f32, f16_nearest, f16_to_f32};
use crate::math::verdict::{Verdict, judge, tell, update_scaler};
use crate::optimizer::Optimizer;
use crate::param::{Member, Param, ParamGroup};
use crate::planes::{Bank, Plane};
use crate::values::Values;

/// MIAdam on the CPU. [`Hyperparams`](crate::Hyperparams) says what a step computes.
///
/// ```
/// use miadam::{Hyperparams, Param, ParamGroup, cpu};
///
/// let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)]);
/// let mut optimizer = cpu::MiAdam::new([group])?;
/// let (mut w, mut gradient) = (vec![1.0, -1.0], vec![0.5, 0.5]);
/// optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
/// assert_eq!(optimizer.read_report().step, 1);
/// # Ok::<(), miadam::Error>(())
/// ```
pub type MiAdam = Optimizer<Cpu>;

/// The CPU's part of an [`Optimizer`]: the state in host memory.
#[derive(Debug, Clone)]
pub struct Cpu {
    /// The constants of each group.
    pub(super) constants: Vec<Group>,
    pub(super) progress: Progress,
    /// The clocks' counts.
    pub(super) clocks: Vec<Clock>,
    pub(super) scaler: Scaler,
    /// For each parameter, whether its master copy, if it has one, is of the parameter as it is.
    pub(super) adopted: Vec<bool>,
    /// The slabs, which say where the state of each parameter lies in the banks.
    pub(super) slabs: Vec<Slab>,
    /// For each slab, its planes in this bank, one after the other.
    pub(super) moments: Vec<f32>,
    /// The integrals, laid out alike.
    pub(super) integrals: Vec<f32>,
}

/// Where the verdict on the gradients of a step comes from.
#[derive(Clone, Copy)]
pub(super) enum Judgement<'a> {
    /// From the options, and from the gradients themselves and these of others.
    Own(&'a [Values<'a>]),
    /// From another optimizer.
    Followed(Verdict),
}

impl Optimizer<Cpu> {
    /// An optimizer over the groups' parameters, its state all 0.
    ///
    /// # Errors
    /// For hyperparameters out of range, for names that are empty or used twice, and for memory that is not to be had.
    pub fn new(groups: impl IntoIterator<Item = ParamGroup>) -> Result<Self, Error> {
        let course = Course::new(groups)?;
        let device = Cpu {
            moments: zeros(&course.members, Bank::Moments)?,
            integrals: zeros(&course.members, Bank::Integrals)?,
            // After the memory that the lengths ask for, which may be more than there is.
            slabs: slabs(&course.members),
            constants: course.groups.iter().map(Group::new).collect(),
            progress: Progress::zeroed(),
            clocks: course.orders().map(Clock::new).collect(),
            scaler: Scaler::starting_at(1.0),
            adopted: vec![false; course.members.len()],
        };
        Ok(Self { course, device })
    }

    /// Adds a group of parameters, and gives its number. They start as those of a new optimizer: their state is 0, and they count
    /// their own steps from 1. The others keep every bit.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and if the optimizer has a parameter of such a name. Nothing is changed then.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn add_group(&mut self, group: ParamGroup) -> Result<usize, Error> {
        self.course.check_averages_out()?;
        let (course, change) = self.course.with_group(group)?;
        self.device.take_change(&self.course, &course, &change)?;
        self.course.replace(course);
        Ok(self.course.groups.len() - 1)
    }

    /// Adds parameters to a group, as [`add_group`](Self::add_group) adds a group of them.
    ///
    /// # Errors
    /// As for [`add_group`](Self::add_group), and if there is no such group.
    pub fn add_params(&mut self, group: usize, params: impl IntoIterator<Item = Param>) -> Result<(), Error> {
        self.course.check_averages_out()?;
        let (course, change) = self.course.with_params(group, params.into_iter().collect(), None)?;
        self.device.take_change(&self.course, &course, &change)?;
        self.course.replace(course);
        Ok(())
    }

    /// Takes one step. Every parameter is bound exactly once, by its name. One that is [frozen](Self::freeze) or
    /// [skipped](Self::skip) may be left out; if it is bound, it is not looked at.
    ///
    /// A [`Schedule`](crate::Schedule) goes on by one with every call.
    ///
    /// # Errors
    /// If a parameter is missing, unknown or bound twice, or if a tensor has another length, or a parameter another type, than
    /// the optimizer was made with. Nothing is changed then.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn step<'a>(&mut self, bindings: impl IntoIterator<Item = Binding<'a>>) -> Result<(), Error> {
        self.take_step(bindings, Judgement::Own(&[]))
    }

    /// A step with the verdict on its gradients from here or there.
    pub(super) fn take_step<'a>(
        &mut self,
        bindings: impl IntoIterator<Item = Binding<'a>>,
        judgement: Judgement<'_>,
    ) -> Result<(), Error> {
        let rests = |member: &Member| !member.takes_part();
        let mut bindings = self.course.sort_all_bindings(bindings, |binding| binding.name, rests)?;
        for (binding, member) in bindings.iter_mut().zip(&self.course.members) {
            match binding {
                Some(_) if rests(member) => *binding = None,
                Some(binding) => binding.check(&member.param)?,
                None => {}
            }
        }
        self.settle()?;

        let Self { course, device } = self;
        device.adopt(&course.members, &bindings);
        let settings = GradSettings::new(&course.grad_options);
        let grads = bindings.iter().flatten().map(|binding| Values::from(&binding.grad));
        let verdict = match judgement {
            Judgement::Own(others) => device.judge(&settings, course.grad_options.measures(), grads, others),
            Judgement::Followed(verdict) => verdict,
        };
        let follows = matches!(judgement, Judgement::Followed(_));
        let has_norm = course.grad_options.measures() || follows;
        device.take_verdict(verdict, has_norm);
        device.progress.step = count(device.progress.step, &verdict);
        if !verdict.skip {
            device.update(course, &settings, &verdict, bindings);
        } else if course.grad_options.zero {
            bindings.iter_mut().flatten().for_each(|binding| binding.grad.zero());
        }
        course.record();
        // A follower has the norm of its leader.
        (course.measured, course.followed) = (has_norm, follows);
        Ok(())
    }
}

impl Cpu {
    /// Makes the master copies anew whose parameters have been written by others.
    fn adopt(&mut self, members: &[Member], bindings: &[Option<Binding<'_>>]) {
        if self.adopted.iter().all(|adopted| *adopted) {
            return;
        }
        let mut params: Vec<_> =
            bindings.iter().map(|binding| binding.as_ref().map(|binding| Values::from(&binding.param))).collect();
        for piece in pieces(&self.slabs, members) {
            let Some(param) = params[piece.number].as_mut().filter(|_| !self.adopted[piece.number]) else { continue };
            let planes = members[piece.number].planes;
            let param = param.split_off(piece.within.len());
            if planes.master {
                let master = &mut self.moments[piece.words(planes, Plane::Master)];
                match param {
                    // A parameter in `f32` has no master copy.
                    Values::F32(_) => {}
                    Values::F16(param) => adopt(master, param, f16_to_f32, f16_nearest),
                    Values::Bf16(param) => adopt(master, param, bf16_to_f32, bf16_nearest),
                }
            }
        }
        for (adopted, param) in self.adopted.iter_mut().zip(&params) {
            *adopted |= param.is_some();
        }
    }

    /// Judges the gradients of a step, those of others included.
    fn judge<'a>(
        &mut self,
        settings: &GradSettings,
        measures: bool,
        grads: impl Iterator<Item = Values<'a>>,
        others: &[Values<'a>],
    ) -> Verdict {
        let found = measures.then(|| measuring::find(grads.chain(others.iter().copied())));
        let verdict = judge(settings, &self.scaler, found);
        if let Some(found) = found.filter(|_| settings.growth_interval > 0) {
            update_scaler(&mut self.scaler, settings, found);
        }
        verdict
    }

    /// Takes note of the verdict on a step, and of its norm if it has one.
    fn take_verdict(&mut self, verdict: Verdict, has_norm: bool) {
        if has_norm {
            self.progress.norm = verdict.norm.to_bits();
            self.progress.skipped = self.progress.skipped.saturating_add(u32::from(verdict.skip));
        }
        tell(&mut self.scaler, &verdict);
    }

    /// Updates every element.
    fn update(
        &mut self,
        course: &Course,
        settings: &GradSettings,
        verdict: &Verdict,
        mut bindings: Vec<Option<Binding<'_>>>,
    ) {
        let constants = &self.constants;
        let coefs = self.clocks.iter_mut().zip(course.ticks()).map(|(clock, tick)| {
            let group = constants.get(tick.group as usize)?;
            Some(advance_clock(clock, group, tick, settings, verdict))
        });
        let coefs: Vec<_> = coefs.collect();
        let zero = course.grad_options.zero;
        // `bindings` begins with that of parameter number `first`.
        let (mut bindings, mut first) = (&mut bindings[..], 0);
        let (mut moments, mut integrals) = (&mut self.moments[..], &mut self.integrals[..]);
        let mut tasks = Vec::with_capacity(self.slabs.len());
        for slab in &self.slabs {
            let members = &course.members[slab.members.clone()];
            let planes = members[0].planes;
            let moments = split_off(&mut moments, slab.bank_words(planes, Bank::Moments));
            let integrals = split_off(&mut integrals, slab.bank_words(planes, Bank::Integrals));
            split_off(&mut bindings, slab.members.start - first);
            first = slab.members.start;
            let tensors = match members {
                // It may have more slabs.
                [_] => Tensors::Part(bindings[0].as_mut().map(|binding| binding.split_off(slab.len))),
                _ => {
                    first = slab.members.end;
                    Tensors::Whole(split_off(&mut bindings, members.len()))
                }
            };
            if tensors.are_any() {
                tasks.push(Task { slab, members, coefs: &coefs, tensors, zero, moments, integrals });
            }
        }
        let elements = tasks.iter().map(|task| task.slab.len).sum();
        let min_tasks = min_tasks(elements, tasks.len());
        let arch = pulp::Arch::new();
        tasks.into_par_iter().with_min_len(min_tasks).for_each_init(Scratch::default, |scratch, task| {
            arch.dispatch(
                #[inline(always)]
                || task.run(scratch),
            );
        });
    }
}

/// The memory of each bank.
pub(super) type Banks = [Vec<f32>; 2];

/// All planes of a bank.
pub(super) fn zeros(members: &[Member], bank: Bank) -> Result<Vec<f32>, Error> {
    zeros_of(bank_len(members, bank))
}

/// So many words, or an error where a plain allocation would abort the program.
pub(super) fn zeros_of(words: u128) -> Result<Vec<f32>, Error> {
    let out_of_memory = || Error::OutOfMemory { bytes: u64::try_from(4 * words).unwrap_or(u64::MAX) };
    let words = usize::try_from(words).map_err(|_| out_of_memory())?;
    // This only asks. `vec!` then gets memory that the system has zeroed, untouched.
    Vec::<f32>::new().try_reserve_exact(words).map_err(|_| out_of_memory())?;
    Ok(vec![0.0; words])
}

/// The words of a bank.
pub(super) fn bank_len(members: &[Member], bank: Bank) -> u128 {
    // Counted in more bits than lengths have: nobody has checked yet that there is so much memory.
    let words = |member: &Member| {
        let of = |plane| member.planes.words(plane, member.param.len) as u128;
        match bank {
            Bank::Moments => member.planes.moments().map(of).sum(),
            Bank::Integrals => of(Plane::Integral(1)) * u128::from(member.planes.integrals),
        }
    };
    members.iter().map(words).sum()
}
