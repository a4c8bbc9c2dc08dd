//! On the CPU.

use std::error::Error;

use miadam::{Hyperparams, Param, ParamGroup, cpu};
use miadam_support::command_line::without_warnings;

use super::{Run, coordinates, points};
use crate::flat_minima::contenders::Contender;
use crate::flat_minima::landscapes::Point;

/// The crate's CPU optimizer over a swarm.
pub struct OnCpu {
    optimizer: cpu::MiAdam,
    then: Option<(u32, Hyperparams)>,
    step: u32,
    values: Vec<f32>,
    grads: Vec<f32>,
}

impl OnCpu {
    /// # Errors
    /// If the optimizer refuses the hyperparameters.
    pub fn new(contender: &Contender, starts: &[Point]) -> Result<Self, miadam::Error> {
        let values = coordinates(starts);
        let group = ParamGroup::new(contender.first.clone(), [Param::new("points", values.len())]);
        // Some rules make outsize steps here. The table says what comes of it.
        let optimizer = without_warnings(|| cpu::MiAdam::new([group]))?;
        Ok(Self { optimizer, then: contender.then.clone(), step: 0, grads: vec![0.0; values.len()], values })
    }

    /// Other hyperparameters from the next step on.
    ///
    /// # Errors
    /// If the optimizer refuses them.
    pub fn set_hyperparams(&mut self, hyperparams: Hyperparams) -> Result<(), miadam::Error> {
        without_warnings(|| self.optimizer.set_hyperparams(0, hyperparams))
    }

    pub fn points(&self) -> impl ExactSizeIterator<Item = Point> {
        self.values.as_chunks::<2>().0.iter().map(|pair| pair.map(f64::from))
    }

    /// A step by the gradient at each point.
    ///
    /// # Errors
    /// If the optimizer refuses it.
    pub fn step(&mut self, mut gradient: impl FnMut(Point) -> Point) -> Result<(), miadam::Error> {
        self.step += 1;
        if let Some((_, then)) = self.then.take_if(|(switch, _)| *switch == self.step) {
            self.set_hyperparams(then)?;
        }
        let (grads, _) = self.grads.as_chunks_mut::<2>();
        let (values, _) = self.values.as_chunks::<2>();
        for (grad, value) in grads.iter_mut().zip(values) {
            *grad = gradient(value.map(f64::from)).map(|part| part as f32);
        }
        self.optimizer.step([cpu::Binding::new("points", &mut self.values, &mut self.grads)])
    }
}

pub fn run(run: &Run<'_>) -> Result<Vec<Vec<Point>>, Box<dyn Error>> {
    let mut swarm = OnCpu::new(run.contender, run.starts)?;
    let mut seen = Vec::new();
    for &watched in run.watched {
        while swarm.step < watched {
            swarm.step(|point| run.landscape.gradient(point))?;
        }
        seen.push(points(&swarm.values));
    }
    Ok(seen)
}
