//! One parameter of the model.

use std::collections::HashMap;

use half::{bf16, f16};
use miadam::{Dtype, Hyperparams, Plane, StepScale, WeightDecay};

use super::device::widen;
use super::model::{exact, planes};
use super::number::Number;

#[derive(Debug, Clone)]
pub struct Tensor {
    pub group: usize,
    pub dtype: Dtype,
    /// The parameter's own steps: t in bias corrections, and what ζ is compared with.
    pub count: u32,
    /// The count that the optimizer has last heard of.
    pub known: u32,
    /// Left out until it thaws.
    pub frozen: bool,
    /// Left out of the next recorded step.
    pub skipped: bool,
    /// The parameter, which its type can represent.
    pub theta: Vec<f64>,
    /// The sum of all updates since the last [`sync`](Self::sync), of the master copy where there is one.
    pub moved: Vec<Number>,
    /// Steps since then.
    pub steps: usize,
    pub planes: HashMap<Plane, Vec<Number>>,
    /// What each integral has made of a constant gradient of 1.
    pub gains: Vec<f64>,
}

impl Tensor {
    pub fn new(group: usize, dtype: Dtype, theta: &[f64], planes: &[Plane]) -> Self {
        let mut new = Self {
            group,
            dtype,
            count: 0,
            known: 0,
            frozen: false,
            skipped: false,
            theta: theta.to_vec(),
            moved: vec![Number::default(); theta.len()],
            steps: 0,
            planes: HashMap::new(),
            gains: Vec::new(),
        };
        for &plane in planes {
            new.planes.insert(plane, vec![Number::default(); theta.len()]);
        }
        new.fit_gains();
        new
    }

    pub fn len(&self) -> usize {
        self.theta.len()
    }

    pub fn has_integrals(&self) -> bool {
        self.planes.contains_key(&Plane::Integral(1))
    }

    /// Whether the next step still integrates, as far as the optimizer knows.
    pub fn needs_integrals(&self, hyperparams: &Hyperparams) -> bool {
        hyperparams.order > 0 && self.known + 1 < hyperparams.switch_step
    }

    /// Goes on under other settings. Integrals above the new order are gone. New ones start at 0, and so does the largest second
    /// moment. No integrals come back that are not needed.
    pub fn obey(&mut self, hyperparams: &Hyperparams) {
        let mut list = planes(hyperparams, self.dtype);
        if !self.has_integrals() && !self.needs_integrals(hyperparams) {
            list.retain(|plane| !matches!(plane, Plane::Integral(_)));
        }
        self.planes.retain(|plane, _| list.contains(plane));
        for plane in list {
            self.planes.entry(plane).or_insert_with(|| vec![Number::default(); self.theta.len()]);
        }
        self.fit_gains();
    }

    /// There is a gain for each integral. New ones are 0, as the integrals are.
    fn fit_gains(&mut self) {
        let integrals = self.planes.keys().filter(|plane| matches!(plane, Plane::Integral(_)));
        self.gains.resize(integrals.count(), 0.0);
    }

    /// Goes on from what a device has, so that its rounding errors do not add up.
    pub fn sync<'a>(&mut self, theta: &[f64], planes: impl Iterator<Item = (Plane, &'a [f32])>) {
        self.theta = theta.to_vec();
        self.moved = vec![Number::default(); theta.len()];
        (self.steps, self.known) = (0, self.count);
        for (plane, values) in planes {
            self.planes.insert(plane, exact(&widen(values))).unwrap();
        }
    }

    /// Rows of the old tensor, in another order and number. A fresh one has no history, and the caller's new values.
    pub fn remap(&mut self, before: usize, rows: &[u32], theta: &[f64]) {
        let width = self.len() / before;
        for values in self.planes.values_mut() {
            let row = |&row: &u32| match row as usize {
                row if row < before => values[row * width..][..width].to_vec(),
                _ => vec![Number::default(); width],
            };
            *values = rows.iter().flat_map(row).collect();
        }
        self.theta = theta.to_vec();
        self.moved = vec![Number::default(); theta.len()];
    }

    /// Takes into the master copy what others have written to the parameter: what the copy does not round to.
    pub fn adopt(&mut self) {
        let Some(master) = self.planes.get_mut(&Plane::Master) else { return };
        for (master, &theta) in master.iter_mut().zip(&self.theta) {
            if round(self.dtype, master.value) != theta {
                *master = Number::exact(theta);
            }
        }
    }

    /// Algorithm 1 by gradients that clipping has seen.
    pub fn step(&mut self, hyperparams: &Hyperparams, lr: f64, grad: &[f64]) {
        self.count += 1;
        self.steps += 1;
        if self.integrates(hyperparams) {
            let mut gain = 1.0 - hyperparams.beta1.powf(f64::from(self.count));
            for own in &mut self.gains {
                *own = hyperparams.kappa * *own + gain;
                gain = *own;
            }
        }
        for (i, &grad) in grad.iter().enumerate() {
            self.step_element(i, hyperparams, lr, grad);
        }
    }

    fn integrates(&self, hyperparams: &Hyperparams) -> bool {
        hyperparams.order > 0 && self.count < hyperparams.switch_step
    }

    fn step_element(&mut self, i: usize, h: &Hyperparams, lr: f64, grad: f64) {
        let coupled = if let WeightDecay::Coupled(decay) = h.weight_decay { decay } else { 0.0 };
        let theta = self.planes.get(&Plane::Master).map_or(self.theta[i], |master| master[i].value);
        let sign = if h.maximize { -1.0 } else { 1.0 };
        let g = Number::exact(sign * grad) + Number::exact(theta) * coupled;

        let m = self.at(Plane::FirstMoment, i);
        *m = *m * h.beta1 + g * (1.0 - h.beta1);
        let mut num = *m;
        let v = self.at(Plane::SecondMoment, i);
        *v = *v * h.beta2 + g.squared() * (1.0 - h.beta2);
        let mut root = *v;
        if h.amsgrad {
            let largest = self.at(Plane::MaxSecondMoment, i);
            if root.value > largest.value {
                *largest = root;
            }
            root = *largest;
        }
        let integrates = self.integrates(h);
        if integrates {
            for j in 1..=h.order {
                let s = self.at(Plane::Integral(j), i);
                *s = *s * h.kappa + num;
                num = *s;
            }
        }
        let t = f64::from(self.count);
        let alpha = if integrates { self.step_scale(h, lr, t) } else { lr };
        let root_scale = 1.0 / (1.0 - h.beta2.powf(t)).sqrt();
        let step = root.divide(num, root_scale, h.eps) * (alpha / (1.0 - h.beta1.powf(t)));
        let update = (step + decay(h, theta, num) * lr) * -1.0;

        self.moved[i] = self.moved[i] + update;
        let theta = theta + update.value;
        self.theta[i] = round(self.dtype, theta);
        if let Some(master) = self.planes.get_mut(&Plane::Master) {
            master[i] = Number::exact(theta);
        }
    }

    /// α_t before ζ.
    fn step_scale(&self, h: &Hyperparams, lr: f64, t: f64) -> f64 {
        let n = h.order as i32;
        match h.step_scale {
            StepScale::Paper => lr.powi(n),
            StepScale::Reference => lr.powi(n + 1),
            StepScale::UnitGain => lr * (1.0 - h.kappa).powi(n),
            StepScale::ExactGain => lr * (1.0 - h.beta1.powf(t)) / self.gains[h.order as usize - 1],
        }
    }

    fn at(&mut self, plane: Plane, i: usize) -> &mut Number {
        &mut self.planes.get_mut(&plane).unwrap()[i]
    }
}

/// What θ shrinks by, over α.
fn decay(h: &Hyperparams, theta: f64, num: Number) -> Number {
    match h.weight_decay {
        WeightDecay::None | WeightDecay::Coupled(_) => Number::default(),
        WeightDecay::Decoupled(decay) => Number::exact(decay * theta),
        WeightDecay::Cautious(decay) => {
            // Where rounding decides on the sign of num, either is right.
            let is_open = num.value.abs() < 1e-5 * num.scale;
            let value = if (theta >= 0.0) == (num.value >= 0.0) { decay * theta } else { 0.0 };
            Number { value, scale: value.abs() + if is_open { 1e7 * decay * theta.abs() } else { 0.0 } }
        }
    }
}

/// What a parameter of this type can hold. In `f32` nothing is rounded, since the model has no rounding.
pub fn round(dtype: Dtype, value: f64) -> f64 {
    match dtype {
        Dtype::F32 => value,
        Dtype::F16 => f16::from_f32(value as f32).to_f64(),
        Dtype::Bf16 => bf16::from_f32(value as f32).to_f64(),
    }
}
