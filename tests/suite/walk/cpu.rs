//! The CPU's side of the walk.

use std::collections::BTreeMap;

use miadam::cpu::{Binding, Cpu, MiAdam};
use miadam::{Checkpoint, Dtype, Error, Hyperparams, Optimizer};

use super::device::{Device, Found, Named, New, param_group};
use crate::common::{Random, Values};

struct Pair {
    param: Values,
    grad: Values,
    grad_dtype: Dtype,
}

impl Pair {
    fn new(new: &New) -> Self {
        let grad = Values::new(new.grad_dtype, &vec![0.0; new.len()]);
        Self { param: new.param.clone(), grad, grad_dtype: new.grad_dtype }
    }
}

pub struct OnCpu {
    optimizer: MiAdam,
    pairs: BTreeMap<String, Pair>,
}

impl Device for OnCpu {
    type On = Cpu;

    fn new(groups: &[(Hyperparams, Vec<New>)], _: &mut Random) -> Option<Self> {
        let optimizer = MiAdam::new(groups.iter().map(param_group)).unwrap();
        let all = groups.iter().flat_map(|(_, params)| params);
        Some(Self { optimizer, pairs: all.map(|new| (new.name.clone(), Pair::new(new))).collect() })
    }

    fn optimizer(&mut self) -> &mut Optimizer<Cpu> {
        &mut self.optimizer
    }

    fn set_grads(&mut self, grads: &Named) {
        for (name, pair) in &mut self.pairs {
            pair.grad = Values::new(pair.grad_dtype, &grads[name]);
        }
    }

    fn step(&mut self, active: &[String]) -> Result<(), Error> {
        let mut others = 0;
        let is_bound = |name: &String| {
            // Some of those that rest are bound all the same.
            others += usize::from(!active.contains(name));
            active.contains(name) || others.is_multiple_of(2)
        };
        let mut is_bound = is_bound;
        let pairs = self.pairs.iter_mut().filter(|(name, _)| is_bound(name));
        self.optimizer.step(pairs.map(|(name, pair)| Binding::new(name, &mut pair.param, &mut pair.grad)))
    }

    fn read(&mut self, grads: &Named) -> Result<Found, String> {
        for (name, pair) in &self.pairs {
            // As bytes, where NaN is equal to itself.
            if pair.grad.bytes() != Values::new(pair.grad_dtype, &grads[name]).bytes() {
                return Err(format!("the gradient of {name} has changed"));
            }
        }
        let params = self.pairs.iter().map(|(name, pair)| (name.clone(), pair.param.single())).collect();
        Ok(Found { state: self.optimizer.read_state(), report: self.optimizer.read_report(), params })
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let mut checkpoint = self.optimizer.read_checkpoint();
        for (name, pair) in &mut self.pairs {
            checkpoint.insert_param(name, &pair.param.as_mut()).unwrap();
        }
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.optimizer.load(checkpoint)?;
        for (name, pair) in &mut self.pairs {
            checkpoint.copy_param(name, &mut pair.param)?;
        }
        Ok(())
    }

    fn scatter(&mut self, _: &mut Random) {}
}
