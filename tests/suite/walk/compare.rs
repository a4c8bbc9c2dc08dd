//! A device's results against the model's.
//!
//! The model goes on from what the device has after every comparison, so that no more than a few steps lie between two of
//! them, and the tolerance is that of a few steps: see `golden.rs`, from which it comes.

use std::collections::HashSet;

use miadam::{ParamState, Plane};

use super::device::Found;
use super::model::Model;
use super::tensor::{Tensor, round};
use crate::golden::{NORM_TOLERANCE, THETA_TOLERANCE, gradient_tolerance, tolerance};

/// The CPU takes moments and integrals below 1e-34 for 0, and a GPU what is subnormal. In a parameter that shows less than this.
const FLUSHED: f64 = 1e-30;

impl Model {
    /// Fails unless the device has what the model has; then lets the model go on from there.
    pub fn meet(&mut self, found: &Found) -> Result<(), String> {
        same("steps taken", found.report.step, self.step)?;
        same("steps taken, by the state", found.state.step, self.step)?;
        same("steps skipped", found.report.skipped, self.skipped)?;
        same("bad rows", found.report.bad_rows, self.bad_rows)?;
        self.meet_norm(found.report.grad_norm)?;
        let mut names: Vec<_> = found.state.params.iter().map(|param| &param.name).collect();
        names.sort();
        same("parameters", names, self.params.keys().collect())?;
        for state in &found.state.params {
            let (name, order) = (&state.name, self.hyperparams(&state.name).order as usize);
            let theta = &found.params[name];
            let tensor = &self.params[name];
            let tolerance = |depth| tolerance(&self.options, depth, tensor.steps);
            let planes: HashSet<_> = state.planes().map(|(plane, _)| plane).collect();
            same(name, planes, tensor.planes.keys().copied().collect())?;
            tensor.meet(state, theta, order, tolerance).map_err(|error| {
                format!(
                    "{name} ({:?}), after {} steps: {error}; {:?}",
                    tensor.dtype,
                    tensor.steps,
                    self.hyperparams(name)
                )
            })?;
            self.params.get_mut(name).unwrap().sync(theta, state.planes());
        }
        Ok(())
    }

    fn meet_norm(&self, found: Option<f32>) -> Result<(), String> {
        match (found.map(f64::from), self.norm) {
            (Some(found), Some(norm)) if norm.is_finite() => {
                let bound = f64::from(f32::EPSILON) * (NORM_TOLERANCE + gradient_tolerance(&self.options)) * norm;
                near("the norm", found, norm, bound)
            }
            (Some(found), Some(norm)) => same("a finite norm", found.is_finite(), norm.is_finite()),
            (found, norm) => same("a norm", found.is_some(), norm.is_some()),
        }
    }
}

impl Tensor {
    fn meet(
        &self,
        state: &ParamState,
        theta: &[f64],
        order: usize,
        tolerance: impl Fn(usize) -> f64,
    ) -> Result<(), String> {
        same("steps", state.step(), self.count)?;
        same("elements", theta.len(), self.len())?;
        for (plane, values) in state.planes().filter(|(plane, _)| *plane != Plane::Master) {
            let depth = if let Plane::Integral(j) = plane { j as usize } else { 0 };
            for (i, (&found, expected)) in values.iter().zip(&self.planes[&plane]).enumerate() {
                let bound = self.unless_it_rests(tolerance(depth) * expected.scale + FLUSHED);
                near(format_args!("{plane}[{i}]"), found.into(), expected.value, bound)?;
            }
        }
        let master = state.plane(Plane::Master);
        for (i, &found) in theta.iter().enumerate() {
            let mut expected = self.theta[i];
            let mut updated = found;
            if let Some(master) = master {
                (updated, expected) = (master[i].into(), self.planes[&Plane::Master][i].value);
                // A copy that no step has made yet says nothing.
                if self.steps > 0 {
                    near(format_args!("[{i}], of its master"), found, round(self.dtype, updated), 0.0)?;
                }
            }
            // `f32` rounds it at every step.
            let theta_tolerance = THETA_TOLERANCE * self.steps as f64 * updated.abs().max(expected.abs());
            let bound = tolerance(order) * self.moved[i].scale + theta_tolerance + FLUSHED;
            near(format_args!("[{i}]"), updated, expected, self.unless_it_rests(bound))?;
        }
        Ok(())
    }

    /// What rests keeps its bits.
    fn unless_it_rests(&self, bound: f64) -> f64 {
        if self.steps > 0 { bound } else { 0.0 }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}")) }
}

fn near(what: impl std::fmt::Display, found: f64, expected: f64, bound: f64) -> Result<(), String> {
    let holds = if bound > 0.0 { (found - expected).abs() <= bound } else { found.to_bits() == expected.to_bits() };
    // So that NaN fails.
    if holds { Ok(()) } else { Err(format!("{what} is {found:e}, not {expected:e} ± {bound:e}")) }
}
