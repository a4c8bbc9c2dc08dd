//! A random walk over everything that can be done to an optimizer while it trains, on either device, against the model.
//!
//! A walk that fails prints its seed. `MIADAM_WALK_SEED=N cargo test --release --test suite walk` takes that walk alone.
//! `MIADAM_WALK_STEPS=N` ends every walk after N steps, for drivers that are slow.

use std::collections::{BTreeMap, VecDeque};

use miadam::{Checkpoint, Dtype, Hyperparams};

use super::cpu::OnCpu;
use super::device::{Device, Named, New, widen};
use super::gpu::OnGpu;
use super::model::Model;
use super::settings::{self, once_in, pick};
use crate::common::Random;

/// Seeds, and the steps of their walks. An odd seed's is slower on a GPU in software: see `settings.rs`.
const WALKS: [(u64, usize); 2] = [(14, 8000), (15, 2000)];

#[test]
fn on_cpu() {
    walk_all::<OnCpu>();
}

#[test]
fn on_gpu() {
    walk_all::<OnGpu>();
}

fn walk_all<D: Device>() {
    let number = |name: &str| -> Option<u64> {
        std::env::var(name).ok().map(|word| word.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let walks = number("MIADAM_WALK_SEED").map_or_else(|| WALKS.to_vec(), |seed| vec![(seed, 5000)]);
    let most = number("MIADAM_WALK_STEPS").map_or(usize::MAX, |steps| steps as usize);
    for (seed, steps) in walks {
        let Some(mut walk) = Walk::<D>::new(seed) else { return };
        while walk.taken < steps.min(most) {
            walk.turn();
        }
    }
}

/// A new parameter of the model.
pub(super) fn add(model: &mut Model, group: usize, new: &New) {
    model.add(&new.name, group, new.dtype(), &widen(&new.param.single()));
}

/// State and parameters at an earlier time, by the model and by the device.
pub(super) struct Saved {
    pub model: Model,
    pub grad_dtypes: BTreeMap<String, Dtype>,
    pub checkpoint: Checkpoint,
}

pub(super) struct Walk<D: Device> {
    seed: u64,
    /// Which half of the types and options there is.
    pub is_mixed: bool,
    pub random: Random,
    pub device: D,
    pub model: Model,
    /// What the buffers of the gradients should hold.
    pub grads: Named,
    /// The types of the gradients.
    pub grad_dtypes: BTreeMap<String, Dtype>,
    pub saved: Option<Saved>,
    /// Parameters made so far, by which new ones are named.
    pub made: usize,
    /// Steps so far.
    taken: usize,
    calls: VecDeque<String>,
}

impl<D: Device> Walk<D> {
    fn new(seed: u64) -> Option<Self> {
        let (mut random, is_mixed) = (Random(seed), seed % 2 == 1);
        let (mut model, mut grads, mut grad_dtypes, mut made) = (Model::default(), Named::new(), BTreeMap::new(), 0);
        let mut groups: Vec<(Hyperparams, Vec<New>)> = Vec::new();
        for group in 0..1 + random.below(3) {
            let hyperparams = settings::hyperparams(&mut random);
            model.groups.push(hyperparams.clone());
            let mut params = Vec::new();
            for _ in 0..1 + random.below(4) {
                made += 1;
                let new = settings::new(&mut random, &format!("w{made}"), is_mixed);
                add(&mut model, group, &new);
                grads.insert(new.name.clone(), vec![0.0; new.len()]);
                grad_dtypes.insert(new.name.clone(), new.grad_dtype);
                params.push(new);
            }
            groups.push((hyperparams, params));
        }
        let device = D::new(&groups, seed)?;
        let calls = VecDeque::new();
        Some(Self { seed, is_mixed, random, device, model, grads, grad_dtypes, saved: None, made, taken: 0, calls })
    }

    /// Some calls, some steps, and a comparison.
    fn turn(&mut self) {
        self.change();
        self.save_or_load();
        self.be_refused();
        self.rest();
        self.steps();
    }

    /// Notes a call, for those who look for a failure.
    pub fn note(&mut self, call: String) {
        self.calls.push_back(call);
        if self.calls.len() > 30 {
            self.calls.pop_front();
        }
    }

    /// Parameters leave, or take part again, for a step or for longer.
    fn rest(&mut self) {
        if once_in(&mut self.random, 3) {
            let most = once_in(&mut self.random, 2);
            let names = self.some_names(if most { 90 } else { 40 });
            self.skip(&names);
        }
        if once_in(&mut self.random, 12) {
            let names = self.some_names(30);
            self.note(format!("freeze {names:?}"));
            self.device.optimizer().freeze(&names).unwrap();
            names.iter().for_each(|name| self.model.tensor(name).frozen = true);
        }
        if once_in(&mut self.random, 8) {
            let names = self.some_names(60);
            self.note(format!("thaw {names:?}"));
            self.device.optimizer().thaw(&names).unwrap();
            names.iter().for_each(|name| self.model.tensor(name).frozen = false);
        }
        if once_in(&mut self.random, 40) {
            let (group, frozen) = (self.random.below(self.model.groups.len()), once_in(&mut self.random, 2));
            self.note(format!("group {group} frozen: {frozen}"));
            let optimizer = self.device.optimizer();
            let done = if frozen { optimizer.freeze_group(group) } else { optimizer.thaw_group(group) };
            done.unwrap();
            let own = self.model.params.values_mut().filter(|tensor| tensor.group == group);
            own.for_each(|tensor| tensor.frozen = frozen);
        }
        let frozen = self.model.params.iter().filter(|(_, tensor)| tensor.frozen).map(|(name, _)| name.clone());
        let mut found: Vec<_> = self.device.optimizer().frozen().map(str::to_owned).collect();
        found.sort();
        assert_eq!(found, frozen.collect::<Vec<_>>());
    }

    fn skip(&mut self, names: &[String]) {
        self.note(format!("skip {names:?}"));
        self.device.optimizer().skip(names).unwrap();
        names.iter().for_each(|name| self.model.tensor(name).skipped = true);
    }

    /// Each parameter's name with a probability of so many in a hundred.
    pub fn some_names(&mut self, percent: usize) -> Vec<String> {
        let all = self.model.params.keys().cloned().collect::<Vec<_>>();
        all.into_iter().filter(|_| self.random.below(100) < percent).collect()
    }

    /// One step, or several that are recorded before they run.
    fn steps(&mut self) {
        let times = pick(&mut self.random, &[1, 1, 1, 2, 3]);
        self.grads = self.draw_grads(times == 1);
        self.device.set_grads(&self.grads);
        for time in 0..times {
            if time > 0 && once_in(&mut self.random, 2) {
                self.rest();
                self.change_between();
            }
            let active = self.model.active();
            self.note(format!("step of {active:?}"));
            self.device.step(&active).unwrap();
            self.model.step(&mut self.grads);
            self.taken += 1;
            if D::KNOWS_AT_ONCE {
                self.model.params.values_mut().for_each(|tensor| tensor.known = tensor.count);
            }
        }
        self.compare();
    }

    pub fn compare(&mut self) {
        let found = self.device.read(&self.grads).unwrap_or_else(|error| panic!("{error}"));
        self.model.meet(&found).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(self.device.optimizer().recorded(), self.model.recorded);
        assert!(self.device.optimizer().hyperparams().eq(&self.model.groups));
    }

    /// Gradients of all parameters. Nobody may look at those of parameters that rest, if there is only one step, and sometimes a
    /// step has to be skipped.
    fn draw_grads(&mut self, once: bool) -> Named {
        let mut grads = Named::new();
        for (name, tensor) in &self.model.params {
            let mut grad = settings::grad(&mut self.random, self.grad_dtypes[name], tensor.len());
            if once && (tensor.frozen || tensor.skipped) {
                grad.fill(f32::NAN);
            }
            grads.insert(name.clone(), widen(&grad));
        }
        let active = self.model.active();
        if self.model.options.skip_non_finite && !active.is_empty() && once_in(&mut self.random, 6) {
            let grad = grads.get_mut(&pick(&mut self.random, &active)).unwrap();
            if !grad.is_empty() {
                let at = self.random.below(grad.len());
                grad[at] = pick(&mut self.random, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
            }
        }
        grads
    }
}

impl<D: Device> Drop for Walk<D> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, calls, taken, .. } = self;
            let calls = calls.iter().map(|call| format!("\n    {call}")).collect::<String>();
            eprintln!("after {taken} steps of the walk MIADAM_WALK_SEED={seed}; its last calls:{calls}");
        }
    }
}
