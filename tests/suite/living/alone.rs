//! Whatever happens to the others, a parameter is as if it were alone: same device, same bits.

use std::collections::BTreeMap;

use miadam::{Dtype, HalfParams, Hyperparams, ParamGroup, StepScale, WeightDecay};

use super::host::{Grads, Host, HostOnCpu, HostOnGpu, param};
use crate::common::{Random, Start};

/// Groups whose state has different planes.
fn groups() -> [Hyperparams; 3] {
    let base = Hyperparams { lr: 0.01, ..Hyperparams::default() };
    [
        Hyperparams { switch_step: 9, ..base.clone() },
        Hyperparams { order: 0, amsgrad: true, weight_decay: WeightDecay::Decoupled(0.1), ..base.clone() },
        Hyperparams { order: 3, step_scale: StepScale::ExactGain, weight_decay: WeightDecay::Coupled(0.1), ..base },
    ]
}

struct Alone<H> {
    host: H,
    group: usize,
    frozen: bool,
}

struct Walk<H> {
    together: H,
    alone: BTreeMap<String, Alone<H>>,
    groups: Vec<Hyperparams>,
    random: Random,
    made: usize,
}

impl<H: Host> Walk<H> {
    fn new(seed: u64) -> Option<Self> {
        let groups = groups();
        let mut random = Random(seed);
        let start = start(&mut random, 0);
        let together = H::new(ParamGroup::new(groups[0].clone(), [param(&start)]), std::slice::from_ref(&start))?;
        let mut walk = Self { together, alone: BTreeMap::new(), groups: vec![groups[0].clone()], random, made: 1 };
        walk.watch(0, &[start]);
        for group in &groups[1..] {
            let starts = walk.starts();
            walk.together.add_group(ParamGroup::new(group.clone(), starts.iter().map(param)), &starts);
            walk.groups.push(group.clone());
            walk.watch(walk.groups.len() - 1, &starts);
        }
        Some(walk)
    }

    fn starts(&mut self) -> Vec<Start> {
        let count = 1 + self.random.below(3);
        (0..count)
            .map(|_| {
                start(&mut self.random, {
                    self.made += 1;
                    self.made
                })
            })
            .collect()
    }

    fn watch(&mut self, group: usize, starts: &[Start]) {
        for start in starts {
            let own = ParamGroup::new(self.groups[group].clone(), [param(start)]);
            let host = H::new(own, std::slice::from_ref(start)).unwrap();
            self.alone.insert(start.name.clone(), Alone { host, group, frozen: false });
        }
    }

    fn some(&mut self, chance: f32) -> Vec<String> {
        self.alone.keys().filter(|_| self.random.uniform() < chance).cloned().collect()
    }

    fn change(&mut self) {
        let optimizer = self.together.optimizer();
        match self.random.below(7) {
            0 => {
                let names = self.some(0.3);
                self.together.optimizer().freeze(&names).unwrap();
                names.iter().for_each(|name| self.alone.get_mut(name).unwrap().frozen = true);
            }
            1 => {
                let names = self.some(0.5);
                self.together.optimizer().thaw(&names).unwrap();
                names.iter().for_each(|name| self.alone.get_mut(name).unwrap().frozen = false);
            }
            2 => {
                let (group, starts) = (self.random.below(self.groups.len()), self.starts());
                self.together.add_params(group, &starts);
                self.watch(group, &starts);
            }
            3 => {
                let names = self.some(0.2);
                if names.len() < self.alone.len() {
                    self.together.optimizer().remove_params(&names).unwrap();
                    names.iter().for_each(|name| drop(self.alone.remove(name)));
                }
            }
            4 => {
                let (names, group) = (self.some(0.2), self.random.below(self.groups.len()));
                self.together.optimizer().set_group(&names, group).unwrap();
                for name in names {
                    let alone = self.alone.get_mut(&name).unwrap();
                    alone.group = group;
                    alone.host.optimizer().set_hyperparams(0, self.groups[group].clone()).unwrap();
                }
            }
            5 => {
                let group = self.random.below(self.groups.len());
                let order = self.random.below(4) as u32;
                let amsgrad = self.random.below(2) == 0;
                let half_params =
                    if self.random.below(2) == 0 { HalfParams::Master } else { HalfParams::Stochastic { seed: 1 } };
                let changed = Hyperparams { order, amsgrad, half_params, beta2: 0.99, ..self.groups[group].clone() };
                optimizer.set_hyperparams(group, changed.clone()).unwrap();
                for alone in self.alone.values_mut().filter(|alone| alone.group == group) {
                    alone.host.optimizer().set_hyperparams(0, changed.clone()).unwrap();
                }
                self.groups[group] = changed;
            }
            _ => {}
        }
        // What is recorded with it is lost as well, moves of state among it.
        if self.random.below(3) == 0 {
            self.together.lose_step();
        }
    }

    fn step(&mut self) {
        let skipped = self.some(0.2);
        self.together.optimizer().skip(&skipped).unwrap();
        let mut grads = Grads::new();
        for (name, alone) in &mut self.alone {
            if alone.frozen || skipped.contains(name) {
                continue;
            }
            let len = alone.host.optimizer().params().next().unwrap().len;
            let grad: Vec<_> = (0..len).map(|_| self.random.normal()).collect();
            alone.host.step(&Grads::from([(name.clone(), grad.clone())]));
            grads.insert(name.clone(), grad);
        }
        self.together.step(&grads);
    }

    fn check(&self, context: &str) {
        for state in self.together.state() {
            let alone = &self.alone[&state.name];
            assert!(self.together.values(&state.name) == alone.host.values(&state.name), "{} {context}", state.name);
            let expected = &alone.host.state()[0];
            assert_eq!(state.step(), expected.step(), "{} {context}", state.name);
            for (plane, values) in expected.planes() {
                assert!(state.plane(plane) == Some(values), "{plane} of {} {context}", state.name);
            }
            assert!(state == *expected, "{} {context}", state.name);
        }
    }
}

/// Of any length, in one of two types.
fn start(random: &mut Random, number: usize) -> Start {
    let len = [0, 1, 5, 37, 1024, 4099][random.below(6)];
    let dtype = [Dtype::F32, Dtype::F32, Dtype::Bf16][random.below(3)];
    Start { name: format!("w.{number}"), dtype, values: (0..len).map(|_| random.normal()).collect() }
}

fn a_parameter_is_as_if_it_were_alone<H: Host>() {
    for seed in 0..6 {
        let Some(mut walk) = Walk::<H>::new(seed) else { return };
        for number in 0..40 {
            walk.change();
            walk.step();
            if number % 10 == 9 {
                walk.check(&format!("after step {number} of seed {seed}"));
            }
        }
    }
}

#[test]
fn a_parameter_is_as_if_it_were_alone_on_the_cpu() {
    a_parameter_is_as_if_it_were_alone::<HostOnCpu>();
}

#[test]
fn a_parameter_is_as_if_it_were_alone_on_the_gpu() {
    a_parameter_is_as_if_it_were_alone::<HostOnGpu>();
}

#[test]
fn a_parameter_is_as_if_it_were_alone_in_many_pages() {
    a_parameter_is_as_if_it_were_alone::<HostOnGpu<true>>();
}
