//! The CPU's side of the walk.

use std::collections::BTreeMap;

use miadam::cpu::{Binding, Cpu, MiAdam};
use miadam::{Checkpoint, Dtype, Error, Hyperparams, Optimizer};

use super::device::{Device, Found, Named, New, narrow, param_group, widen};
use crate::common::Values;

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

impl OnCpu {
    fn take(&mut self, params: &[New]) {
        self.pairs.extend(params.iter().map(|new| (new.name.clone(), Pair::new(new))));
    }
}

impl Device for OnCpu {
    type On = Cpu;

    const KNOWS_AT_ONCE: bool = true;

    fn new(groups: &[(Hyperparams, Vec<New>)], _: u64) -> Option<Self> {
        let optimizer = MiAdam::new(groups.iter().map(param_group)).unwrap();
        let mut device = Self { optimizer, pairs: BTreeMap::new() };
        groups.iter().for_each(|(_, params)| device.take(params));
        Some(device)
    }

    fn add_group(&mut self, group: (Hyperparams, Vec<New>)) -> Result<usize, Error> {
        let number = self.optimizer.add_group(param_group(&group))?;
        self.take(&group.1);
        Ok(number)
    }

    fn add_params(&mut self, group: usize, params: &[New]) -> Result<(), Error> {
        self.optimizer.add_params(group, params.iter().map(New::to_param))?;
        self.take(params);
        Ok(())
    }

    fn forget(&mut self, name: &str) {
        self.pairs.remove(name).unwrap();
    }

    fn optimizer(&mut self) -> &mut Optimizer<Cpu> {
        &mut self.optimizer
    }

    fn remap(&mut self, moved: &[New], before: usize, rows: &[u32]) -> Result<(), Error> {
        self.optimizer.remap(moved.iter().map(|new| &new.name), before, rows)?;
        self.take(moved);
        Ok(())
    }

    fn set_grads(&mut self, grads: &Named) {
        for (name, pair) in &mut self.pairs {
            pair.grad = narrow(pair.grad_dtype, &grads[name]);
        }
    }

    fn step(&mut self, active: &[String]) -> Result<(), Error> {
        let mut others = 0;
        let mut is_bound = |name: &String| {
            // Some of those that rest are bound all the same.
            others += usize::from(!active.contains(name));
            active.contains(name) || others.is_multiple_of(2)
        };
        let pairs = self.pairs.iter_mut().filter(|(name, _)| is_bound(name));
        self.optimizer.step(pairs.map(|(name, pair)| Binding::new(name, &mut pair.param, &mut pair.grad)))
    }

    fn read(&mut self, grads: &Named) -> Result<Found, String> {
        for (name, pair) in &self.pairs {
            // As bytes, where NaN is equal to itself.
            if pair.grad.bytes() != narrow(pair.grad_dtype, &grads[name]).bytes() {
                return Err(format!("the gradient of {name} has changed"));
            }
        }
        let params = self.pairs.iter().map(|(name, pair)| (name.clone(), widen(&pair.param.single()))).collect();
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

    fn scatter(&mut self) {}
}
