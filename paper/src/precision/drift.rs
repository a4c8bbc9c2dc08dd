//! How far state in fewer bits drifts from state in `f32`, on one stream of gradients.
//!
//! The gradients do not depend on the parameters, so that all differences are the state's own. Each element's gradient is
//!
//! > a·(0.3·cos(2π·t/T + φ) + N(0, 1))
//!
//! with a scale a of its own between 1/spread and 1, a period T between 500 and 20,000 steps and a phase φ: a slow signal that the
//! integrals find in noise, among elements of different sizes that share a scale in `Q8`. θ starts at 0.

use std::error::Error;
use std::f64::consts::TAU;
use std::fmt::Write;
use std::path::Path;

use miadam::{Hyperparams, Param, ParamGroup, StatePrecision, StepScale, cpu};
use miadam_support::command_line::say;
use miadam_support::random::Random;

use super::{ORDERS, PACKED, write};
use crate::drawing::{HeatMap, HeatMaps, heat_maps};
use crate::lab::progress_bar;
use crate::threads::on_threads;

/// Elements: the fewest that are kept in fewer bits.
pub const ELEMENTS: usize = StatePrecision::SMALLEST;
const KAPPAS: [f64; 4] = [0.5, 0.9, 0.98, 1.0];
/// Eight elements share a scale. Those of a layer are of one size, more or less; the last is worse than we know of any.
pub const SPREADS: [f64; 3] = [10.0, 100.0, 1000.0];

/// One order and κ, and how far the gradients' sizes lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    pub spread: f64,
    pub order: u32,
    pub kappa: f64,
}

/// The differences from `f32` of one precision after some steps.
struct Drift {
    case: Case,
    precision: StatePrecision,
    steps: u32,
    /// ‖u - u'‖ / ‖u'‖ of the last step's update u.
    update: f64,
    /// ‖θ - θ'‖ / ‖θ'‖.
    way: f64,
    /// ‖u‖ / ‖u'‖: 1 unless something is lost for good.
    length: f64,
}

/// Writes `drift.csv` and `drift.svg`, and prints the last rows.
pub fn run(out: &Path, threads: usize, steps: u32) -> Result<(), Box<dyn Error>> {
    // Order 0 has no κ.
    let cases_of = |spread: f64| {
        let all = ORDERS.into_iter().flat_map(move |order| KAPPAS.map(|kappa| Case { spread, order, kappa }));
        all.filter(|case| case.order > 0 || case.kappa == KAPPAS[0])
    };
    let cases: Vec<_> = SPREADS.into_iter().flat_map(cases_of).collect();
    let bar = progress_bar("drift", cases.len() as u64);
    let drifts = on_threads(threads, &cases, |&case| {
        let drifts = drift(case, steps)?;
        bar.inc(1);
        Ok(drifts)
    });
    bar.finish_and_clear();
    let drifts: Vec<_> = drifts?.into_iter().flatten().collect();
    write(out, "drift.csv", csv(&drifts)?)?;
    write(out, "drift.svg", picture(&drifts, steps)?)?;
    print(&drifts, steps)
}

/// The gradients, step after step.
pub struct Gradients {
    random: Random,
    /// The size, the period and the phase of each element's.
    elements: Vec<[f64; 3]>,
    step: u32,
    grad: Vec<f32>,
}

impl Gradients {
    pub fn new(spread: f64) -> Self {
        let mut random = Random(1);
        let mut element = || {
            let [scale, period, phase] = std::array::from_fn(|_| f64::from(random.uniform()));
            [spread.powf(-scale), 500.0 * 40_f64.powf(period), TAU * phase]
        };
        let elements = (0..ELEMENTS).map(|_| element()).collect();
        Self { random, elements, step: 0, grad: vec![0.0; ELEMENTS] }
    }

    pub fn next_step(&mut self) -> &mut [f32] {
        self.step += 1;
        for (grad, [scale, period, phase]) in self.grad.iter_mut().zip(&self.elements) {
            let signal = (TAU * f64::from(self.step) / period + phase).cos();
            *grad = (scale * (0.3 * signal + f64::from(self.random.normal()))) as f32;
        }
        &mut self.grad
    }
}

/// α of all steps.
const LR: f64 = 0.1;

/// The update of one step, and the way so far.
pub struct Walker {
    optimizer: cpu::MiAdam,
    theta: Vec<f32>,
    before: Vec<f32>,
}

impl Walker {
    pub fn new(Case { order, kappa, .. }: Case, state_precision: StatePrecision) -> Result<Self, miadam::Error> {
        // α is the same whatever κ: at κ = 1 the integrals have no gain.
        let (step_scale, switch_step) = (StepScale::Paper, Hyperparams::NEVER);
        let hyperparams =
            Hyperparams { order, kappa, lr: LR, step_scale, switch_step, state_precision, ..Hyperparams::default() };
        let optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", ELEMENTS)])])?;
        Ok(Self { optimizer, theta: vec![0.0; ELEMENTS], before: vec![0.0; ELEMENTS] })
    }

    fn step(&mut self, grad: &mut [f32]) -> Result<(), miadam::Error> {
        self.before.copy_from_slice(&self.theta);
        self.optimizer.step([cpu::Binding::new("w", &mut self.theta, grad)])
    }

    /// Takes one step from θ = 0, and gives its update in units of α.
    pub fn lone_update(&mut self, grad: &mut [f32]) -> Result<Vec<f64>, miadam::Error> {
        self.theta.fill(0.0);
        self.step(grad)?;
        Ok(self.theta.iter().map(|theta| -f64::from(*theta) / LR).collect())
    }

    fn update(&self) -> Vec<f64> {
        self.theta.iter().zip(&self.before).map(|(after, before)| f64::from(*after) - f64::from(*before)).collect()
    }

    fn way(&self) -> Vec<f64> {
        self.theta.iter().copied().map(f64::from).collect()
    }
}

fn drift(case: Case, steps: u32) -> Result<Vec<Drift>, miadam::Error> {
    let mut gradients = Gradients::new(case.spread);
    let mut exact = Walker::new(case, StatePrecision::F32)?;
    let [bf16, q8] = PACKED;
    let mut packed = [(bf16, Walker::new(case, bf16)?), (q8, Walker::new(case, q8)?)];
    let mut drifts = Vec::new();
    for step in 1..=steps {
        let grad = gradients.next_step();
        exact.step(grad)?;
        for (precision, walker) in &mut packed {
            walker.step(grad)?;
            if step == steps || [10, 100, 1000].contains(&step) {
                let (update, expected) = (walker.update(), exact.update());
                drifts.push(Drift {
                    case,
                    precision: *precision,
                    steps: step,
                    update: distance(&update, &expected) / norm(&expected),
                    way: distance(&walker.way(), &exact.way()) / norm(&exact.way()),
                    length: norm(&update) / norm(&expected),
                });
            }
        }
    }
    Ok(drifts)
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

pub fn distance(values: &[f64], others: &[f64]) -> f64 {
    values.iter().zip(others).map(|(value, other)| (value - other).powi(2)).sum::<f64>().sqrt()
}

fn csv(drifts: &[Drift]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("spread,order,kappa,state,steps,update_error,way_error,update_length\n");
    for Drift { case: Case { spread, order, kappa }, precision, steps, update, way, length } in drifts {
        let kappa = if *order == 0 { String::new() } else { kappa.to_string() };
        writeln!(text, "{spread},{order},{kappa},{precision:?},{steps},{update:.5},{way:.5},{length:.5}")?;
    }
    Ok(text)
}

/// The errors of the way, in percent.
fn picture(drifts: &[Drift], steps: u32) -> Result<String, Box<dyn Error>> {
    let map = |precision: StatePrecision, spread: f64| {
        let cell = |order: u32, kappa: f64| {
            let case = Case { spread, order, kappa: if order == 0 { KAPPAS[0] } else { kappa } };
            let is_own = |drift: &&Drift| drift.case == case && drift.precision == precision && drift.steps == steps;
            drifts.iter().find(is_own).map(|drift| 100.0 * drift.way)
        };
        let row = |&order: &u32| KAPPAS.iter().map(|&kappa| cell(order, kappa)).collect();
        let name = format!("{precision:?}, sizes up to 1 : {spread}");
        HeatMap { name, values: ORDERS.iter().rev().map(row).collect(), lines: vec![] }
    };
    let maps = |precision| SPREADS.map(|spread| map(precision, spread)).into();
    heat_maps(&HeatMaps {
        title: format!("Error of the way of {steps} steps, %"),
        axes: ["κ".into(), "order n".into()],
        columns: KAPPAS.iter().map(f64::to_string).collect(),
        rows: ORDERS.iter().rev().map(u32::to_string).collect(),
        maps: PACKED.into_iter().map(maps).collect(),
        range: [0.0, 20.0],
    })
}

fn print(drifts: &[Drift], steps: u32) -> Result<(), Box<dyn Error>> {
    say(&format!("After {steps} steps: the error of the last update, of the whole way, and the update's length"))?;
    for Drift { case, precision, update, way, length, .. } in drifts.iter().filter(|drift| drift.steps == steps) {
        let Case { spread, order, kappa } = case;
        let kappa = if *order == 0 { String::new() } else { format!("κ {kappa}") };
        let [update, way] = [update, way].map(|part| format!("{:.2} %", 100.0 * part));
        say(&format!(
            "1 : {spread:<4} n = {order} {kappa:6} {:4} {update:>8} {way:>8} {length:7.4}",
            format!("{precision:?}")
        ))?;
    }
    Ok(())
}
