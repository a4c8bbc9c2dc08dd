//! The walk's calls that change who is there, under which settings, and where.

use miadam::{Error, GradOptions, Hyperparams};

use super::device::{Device, New, narrow, widen};
use super::model::FRESH;
use super::settings::{self, once_in, pick};
use super::tensor::Tensor;
use super::turns::{Walk, add};

type Call<D> = fn(&mut Walk<D>);

/// Elements of the longest parameter.
const LONGEST: usize = 4200;

impl<D: Device> Walk<D> {
    /// Calls between steps, none at most turns.
    pub fn change(&mut self) {
        // Each once in so many turns.
        let calls: [(usize, Call<D>); 10] = [
            (25, Self::add_params),
            (60, Self::add_group),
            (25, Self::remove),
            (25, Self::set_group),
            (20, Self::set_hyperparams),
            (15, Self::set_lr),
            (20, Self::set_grad_options),
            (12, Self::scatter),
            (30, Self::release),
            (15, Self::remap),
        ];
        for (times, call) in calls {
            if once_in(&mut self.random, times) {
                call(self);
                self.compare_sometimes();
            }
        }
    }

    /// A call between steps that are recorded and not submitted.
    pub fn change_between(&mut self) {
        let calls: [Call<D>; 6] = [
            Self::add_params,
            Self::add_group,
            Self::set_group,
            Self::set_hyperparams,
            Self::set_lr,
            Self::set_grad_options_between,
        ];
        if once_in(&mut self.random, 4) {
            pick(&mut self.random, &calls)(self);
        }
    }

    /// Not always, so that several changes meet before anything runs.
    fn compare_sometimes(&mut self) {
        if once_in(&mut self.random, 2) {
            self.compare();
        }
    }

    fn new_params(&mut self, count: usize) -> Vec<New> {
        let new = |_| {
            self.made += 1;
            settings::new(&mut self.random, &format!("w{}", self.made), self.is_mixed)
        };
        (0..count).map(new).collect()
    }

    fn take(&mut self, group: usize, params: Vec<New>) {
        for new in params {
            add(&mut self.model, group, &new);
            self.grads.insert(new.name.clone(), vec![0.0; new.len()]);
            self.grad_dtypes.insert(new.name, new.grad_dtype);
        }
    }

    fn add_params(&mut self) {
        // A walk of many parameters is a slow one.
        if self.model.params.len() < 12 {
            let (group, count) = (self.random.below(self.model.groups.len()), 1 + self.random.below(3));
            let params = self.new_params(count);
            self.note(format!("add {params:?} to group {group}"));
            self.device.add_params(group, &params).unwrap();
            self.take(group, params);
        }
    }

    fn add_group(&mut self) {
        if self.model.groups.len() < 6 {
            let hyperparams = settings::hyperparams(&mut self.random);
            let count = 1 + self.random.below(2);
            let params = self.new_params(count);
            self.note(format!("add group {hyperparams:?} of {params:?}"));
            let group = self.device.add_group((hyperparams.clone(), params.clone())).unwrap();
            assert_eq!(group, self.model.groups.len());
            self.model.groups.push(hyperparams);
            self.take(group, params);
        }
    }

    fn remove(&mut self) {
        let names = self.some_names(20);
        self.note(format!("remove {names:?}"));
        let removed = self.device.optimizer().remove_params(&names);
        if names.len() == self.model.params.len() {
            assert_eq!(removed, Err(Error::LastParam));
            return;
        }
        removed.unwrap();
        for name in &names {
            self.model.remove(name);
            self.device.forget(name);
            self.grads.remove(name);
            self.grad_dtypes.remove(name);
        }
    }

    fn set_group(&mut self) {
        let (names, group) = (self.some_names(20), self.random.below(self.model.groups.len()));
        self.note(format!("move {names:?} to group {group}"));
        self.device.optimizer().set_group(&names, group).unwrap();
        names.iter().for_each(|name| self.model.set_group(name, group));
    }

    /// All of them, or one of those that decide on the state.
    fn set_hyperparams(&mut self) {
        let group = self.random.below(self.model.groups.len());
        let before = self.model.groups[group].clone();
        let new = settings::hyperparams(&mut self.random);
        let hyperparams = match self.random.below(4) {
            0 => new,
            1 => Hyperparams { order: new.order, lr: new.lr, step_scale: new.step_scale, ..before },
            2 => Hyperparams { amsgrad: !before.amsgrad, ..before },
            _ => Hyperparams { switch_step: new.switch_step, ..before },
        };
        self.note(format!("set group {group} to {hyperparams:?}"));
        self.device.optimizer().set_hyperparams(group, hyperparams.clone()).unwrap();
        self.model.set_hyperparams(group, hyperparams);
    }

    fn set_lr(&mut self) {
        let group = self.random.below(self.model.groups.len());
        let lr = self.model.groups[group].lr * pick(&mut self.random, &[0.5, 0.9]);
        // Not so small that θ's own rounding hides the updates.
        let lr = if lr < 0.01 { 0.05 } else { lr };
        self.note(format!("set lr of group {group} to {lr}"));
        self.device.optimizer().set_lr(group, lr).unwrap();
        self.model.groups[group].lr = lr;
    }

    fn set_grad_options(&mut self) {
        let options = settings::grad_options(&mut self.random, self.is_mixed);
        self.take_grad_options(options);
    }

    /// The gradients may be bad already.
    fn set_grad_options_between(&mut self) {
        let options = settings::grad_options(&mut self.random, self.is_mixed);
        let skip_non_finite = options.skip_non_finite || self.model.options.skip_non_finite;
        self.take_grad_options(GradOptions { skip_non_finite, ..options });
    }

    fn take_grad_options(&mut self, options: GradOptions) {
        self.note(format!("set {options:?}"));
        self.device.optimizer().set_grad_options(options).unwrap();
        self.model.options = options;
    }

    fn scatter(&mut self) {
        self.note("scatter".to_owned());
        self.device.scatter();
    }

    fn release(&mut self) {
        self.note("release".to_owned());
        let released = self.device.optimizer().release_integrals();
        assert_eq!(released.is_ok(), self.model.can_release(), "{released:?}");
        if released.is_ok() {
            self.model.release();
        }
    }

    /// Rows of some parameters that have equally many, in another order and number.
    fn remap(&mut self) {
        let lens: Vec<_> = self.model.params.values().map(Tensor::len).filter(|&len| len > 0).collect();
        if lens.is_empty() {
            return;
        }
        let len = pick(&mut self.random, &lens);
        let divisors: Vec<_> = (1..=len).filter(|before| len.is_multiple_of(*before)).collect();
        let before = pick(&mut self.random, &divisors);
        let count = self.random.below(before + 4);
        // Parameters of one row would grow without end.
        let fits = |len: usize| len > 0 && len.is_multiple_of(before) && len / before * count <= LONGEST;
        let names = self.some_names(70).into_iter().filter(|name| fits(self.model.params[name].len()));
        let names: Vec<_> = names.collect();
        let row = |_| if once_in(&mut self.random, 6) { FRESH } else { self.random.below(before) as u32 };
        let mut rows: Vec<_> = (0..count).map(row).collect();
        let is_bad = count > 0 && once_in(&mut self.random, 10);
        if is_bad {
            let at = self.random.below(count);
            rows[at] = (before + self.random.below(5)) as u32;
        }
        let moved: Vec<_> = names.iter().map(|name| self.with_rows(name, before, &rows)).collect();
        self.note(format!("remap {names:?} from {before} rows to {rows:?}"));
        let done = self.device.remap(&moved, before, &rows);
        if is_bad && D::KNOWS_AT_ONCE {
            assert!(done.is_err());
            return;
        }
        done.unwrap();
        for new in moved {
            self.model.remap(&new.name, before, &rows, &widen(&new.param.single()));
            self.grads.insert(new.name.clone(), vec![0.0; new.len()]);
        }
    }

    /// A parameter's values in other rows. Those that are not there are drawn.
    fn with_rows(&mut self, name: &str, before: usize, rows: &[u32]) -> New {
        let tensor = &self.model.params[name];
        let width = tensor.len() / before;
        let mut values = Vec::new();
        for &row in rows {
            match row as usize {
                row if row < before => values.extend_from_slice(&tensor.theta[row * width..][..width]),
                _ => values.extend((0..width).map(|_| f64::from(self.random.normal()))),
            }
        }
        New { name: name.to_owned(), param: narrow(tensor.dtype, &values), grad_dtype: self.grad_dtypes[name] }
    }
}
