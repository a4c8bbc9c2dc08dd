//! What an optimizer of parameters that live has to do, as plainly as it can be said: `f64`, one element after the other, and a
//! count for every parameter. It is written from Algorithm 1 of the paper and from PyTorch's rules for parameters without a
//! gradient, and shares nothing with the crate but the caller's settings.

use std::collections::BTreeMap;

use miadam::{Dtype, GradOptions, HalfParams, Hyperparams, Plane};

use super::number::Number;
use super::tensor::Tensor;

/// Row numbers of `remap` that stand for a row that starts anew.
pub const FRESH: u32 = u32::MAX;

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub groups: Vec<Hyperparams>,
    /// By name.
    pub params: BTreeMap<String, Tensor>,
    pub options: GradOptions,
    /// Steps recorded, by which schedules go.
    pub recorded: u32,
    /// Of these, the steps taken by the optimizer as a whole, one that left out every parameter included.
    pub step: u32,
    pub skipped: u32,
    /// Rows that a remap was asked for and that are not there.
    pub bad_rows: u32,
    /// The norm of the last step's gradients, if it was measured.
    pub norm: Option<f64>,
}

impl Model {
    pub fn hyperparams(&self, name: &str) -> &Hyperparams {
        &self.groups[self.params[name].group]
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.params.get_mut(name).unwrap()
    }

    /// A new parameter. Its count starts at 0, and so does its state.
    pub fn add(&mut self, name: &str, group: usize, dtype: Dtype, theta: &[f64]) {
        let planes = planes(&self.groups[group], dtype);
        self.params.insert(name.to_owned(), Tensor::new(group, dtype, theta, &planes));
    }

    pub fn remove(&mut self, name: &str) {
        self.params.remove(name).unwrap();
    }

    /// Moves a parameter to another group. Count and moments go along.
    pub fn set_group(&mut self, name: &str, group: usize) {
        let hyperparams = self.groups[group].clone();
        let tensor = self.tensor(name);
        tensor.group = group;
        tensor.obey(&hyperparams);
    }

    /// Other rows, with the caller's new values. What is not there is a fresh row, and counts.
    pub fn remap(&mut self, name: &str, before: usize, rows: &[u32], theta: &[f64]) {
        self.tensor(name).remap(before, rows, theta);
        self.bad_rows += rows.iter().filter(|&&row| row as usize >= before && row != FRESH).count() as u32;
    }

    /// Other settings for a group.
    pub fn set_hyperparams(&mut self, group: usize, hyperparams: Hyperparams) {
        for tensor in self.params.values_mut().filter(|tensor| tensor.group == group) {
            tensor.obey(&hyperparams);
        }
        self.groups[group] = hyperparams;
    }

    /// Whether no parameter needs its integrals any more.
    pub fn can_release(&self) -> bool {
        let needs = |tensor: &Tensor| tensor.has_integrals() && tensor.needs_integrals(&self.groups[tensor.group]);
        !self.params.values().any(needs)
    }

    pub fn release(&mut self) {
        let is_kept = |plane: &Plane| !matches!(plane, Plane::Integral(_));
        self.params.values_mut().for_each(|tensor| tensor.planes.retain(|plane, _| is_kept(plane)));
    }

    /// The model after what another has saved was loaded into it; none if the parameters are others, or otherwise grouped. The
    /// settings are those that were saved.
    pub fn loaded(&self, saved: &Self) -> Option<Self> {
        let lens = |model: &Self| model.params.iter().map(|(name, own)| (name.clone(), own.len())).collect::<Vec<_>>();
        if lens(self) != lens(saved) {
            return None;
        }
        let mut loaded = Self { groups: self.groups.clone(), bad_rows: 0, ..saved.clone() };
        for (number, hyperparams) in saved.groups.iter().enumerate() {
            let names = saved.names_of(number);
            // A group without parameters says nothing.
            let Some(first) = names.first() else { continue };
            let group = self.params[first].group;
            if self.names_of(group) != names {
                return None;
            }
            loaded.groups[group] = hyperparams.clone();
            names.iter().for_each(|name| loaded.tensor(name).group = group);
        }
        Some(loaded)
    }

    fn names_of(&self, group: usize) -> Vec<String> {
        let own = self.params.iter().filter(|(_, tensor)| tensor.group == group);
        own.map(|(name, _)| name.clone()).collect()
    }

    /// The names of the parameters that the next step updates.
    pub fn active(&self) -> Vec<String> {
        let active = self.params.iter().filter(|(_, tensor)| !tensor.frozen && !tensor.skipped);
        active.map(|(name, _)| name.clone()).collect()
    }

    /// One recorded step. Gradients of parameters that rest are not looked at; the others are reset if the options say so.
    pub fn step(&mut self, grads: &mut BTreeMap<String, Vec<f64>>) {
        let active = self.active();
        let lrs: Vec<_> = self.groups.iter().map(|group| group.lr_at(self.recorded)).collect();
        self.recorded += 1;
        for tensor in self.params.values_mut() {
            tensor.skipped = false;
        }
        // Even by a step that is then skipped.
        for name in &active {
            self.tensor(name).adopt();
        }
        let all = || active.iter().flat_map(|name| &grads[name]);
        let is_finite = all().all(|g| g.is_finite());
        let norm = all().fold(0.0, |sum, g| sum + (g * self.options.factor).powi(2)).sqrt();
        let measures = self.options.skip_non_finite || self.options.clip_norm.is_some() || self.options.measure_norm;
        self.norm = measures.then_some(norm);
        if self.options.skip_non_finite && !is_finite {
            self.skipped += 1;
        } else {
            self.step += 1;
            for name in &active {
                let grad: Vec<_> = grads[name].iter().map(|g| self.prepared(*g, norm)).collect();
                let group = self.params[name].group;
                let hyperparams = self.groups[group].clone();
                self.tensor(name).step(&hyperparams, lrs[group], &grad);
            }
        }
        if self.options.zero {
            active.iter().for_each(|name| grads.get_mut(name).unwrap().fill(0.0));
        }
    }

    /// A gradient's element on its way into the update.
    fn prepared(&self, g: f64, norm: f64) -> f64 {
        let GradOptions { factor, clip_norm, clip_value, .. } = self.options;
        let ratio = clip_norm.map_or(1.0, |bound| (bound / (norm + 1e-6)).min(1.0));
        let bound = clip_value.unwrap_or(f64::INFINITY);
        (g * factor * ratio).clamp(-bound, bound)
    }
}

/// The planes that the state of a parameter has.
pub fn planes(hyperparams: &Hyperparams, dtype: Dtype) -> Vec<Plane> {
    let mut planes = vec![Plane::FirstMoment, Plane::SecondMoment];
    if hyperparams.amsgrad {
        planes.push(Plane::MaxSecondMoment);
    }
    if dtype != Dtype::F32 && hyperparams.half_params == HalfParams::Master {
        planes.push(Plane::Master);
    }
    planes.extend((1..=hyperparams.order).map(Plane::Integral));
    planes
}

/// A row of numbers that are known exactly.
pub fn exact(values: &[f64]) -> Vec<Number> {
    values.iter().copied().map(Number::exact).collect()
}
