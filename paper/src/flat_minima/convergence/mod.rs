//! Whether MIAdam settles: what Theorem 2 is about.
//!
//! The theorem says that the average regret of MIAdam1 does not go to 0 without the switch, on convex losses, with the rate
//! α/√t and β1·λ^(t-1). The text concludes that MIAdam hovers. Here are the distance to the minimum of a convex loss at a
//! constant rate, with and without the switch, and the average regret under the theorem's own schedule.
//!
//! ```text
//! L = ½·(x² + 10·y²)
//! ```

mod report;

use std::error::Error;

use miadam::{Hyperparams, StepScale};

use super::contenders::{Contender, Rule, integrating};
use super::landscapes::Point;
use super::noise::Noise;
use super::stability::hover;
use super::swarm::OnCpu;

pub use report::{Ending, csv, distances_picture, endings, printed, regret_csv, regret_picture};

/// The second derivatives along x and y.
const CURVATURES: Point = [1.0, 10.0];
/// The noise where there is any: as large as the gradient at a distance of 1 along x.
const NOISE: f64 = 1.0;
/// The theorem's λ.
const LAMBDA: f64 = 0.999;
const BETA1: f64 = 0.9;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    pub lr: f64,
    pub steps: u32,
    pub regret_steps: u32,
    pub walkers: usize,
    pub seed: u64,
}

/// A curve of numbers over steps.
#[derive(Debug, Clone)]
pub struct Series {
    pub contender: usize,
    pub name: String,
    pub is_noisy: bool,
    /// None without one.
    pub switch_step: Option<u32>,
    /// How far the linear model says that it swings.
    pub hover: f64,
    /// A step, and the number after it.
    pub points: Vec<(u32, f64)>,
}

/// Adam, and MIAdam with its step scales.
fn contenders(lr: f64, switch_step: u32) -> Vec<Contender> {
    let miadam = |rule, order| Contender::miadam(rule, order, lr, switch_step);
    // Algorithm 1 with the κ of the authors' code.
    let algorithm_1 = Contender {
        name: "MIAdam1 Paper κ 0.98".to_owned(),
        first: Hyperparams { kappa: 0.98, ..integrating(Rule::Paper, 1, lr, switch_step) },
        then: None,
    };
    vec![
        Contender::adam("Adam", lr, BETA1),
        miadam(Rule::Unit, 1),
        miadam(Rule::Unit, 3),
        miadam(Rule::Paper, 1),
        miadam(Rule::Reference, 1),
        algorithm_1,
    ]
}

/// Starts on a circle of radius 1, none of them on an axis.
fn circle(walkers: usize) -> Vec<Point> {
    let angle = |walker: usize| (walker as f64 + 0.5) / walkers as f64 * std::f64::consts::TAU;
    (0..walkers).map(|walker| [angle(walker).cos(), angle(walker).sin()]).collect()
}

fn gradient([x, y]: Point, noise: Point) -> Point {
    [CURVATURES[0] * x + noise[0], CURVATURES[1] * y + noise[1]]
}

fn value([x, y]: Point) -> f64 {
    (CURVATURES[0] * x * x + CURVATURES[1] * y * y) / 2.0
}

/// The distance to the minimum, the root of its mean square over all walkers: each contender, without noise and with, without
/// the switch and with.
///
/// # Errors
/// If an optimizer refuses its hyperparameters.
pub fn distances(plan: &Plan) -> Result<Vec<Series>, Box<dyn Error>> {
    let mut all = Vec::new();
    for is_noisy in [false, true] {
        for switch_step in [None, Some(plan.steps / 2 + 1)] {
            let contenders = contenders(plan.lr, switch_step.unwrap_or(Hyperparams::NEVER));
            for (number, contender) in contenders.iter().enumerate() {
                let points = distance(contender, plan, if is_noisy { NOISE } else { 0.0 })?;
                let hover = hover(&contender.first);
                let name = contender.name.clone();
                all.push(Series { contender: number, name, is_noisy, switch_step, hover, points });
            }
        }
    }
    Ok(all)
}

fn distance(contender: &Contender, plan: &Plan, noise: f64) -> Result<Vec<(u32, f64)>, Box<dyn Error>> {
    let mut swarm = OnCpu::new(contender, &circle(plan.walkers))?;
    let mut random = Noise::new(plan.seed);
    let mut points = Vec::new();
    for step in 1..=plan.steps {
        swarm.step(|point| gradient(point, random.pair().map(|part| noise * part)))?;
        let square: f64 = swarm.points().map(|[x, y]| x * x + y * y).sum();
        points.push((step, (square / plan.walkers as f64).sqrt()));
    }
    Ok(points)
}

/// The average regret R(t)/t under the theorem's schedule. The losses are all the same, so that the minimum of their sum is 0.
///
/// # Errors
/// If an optimizer refuses its hyperparameters.
pub fn regrets(plan: &Plan) -> Result<Vec<Series>, Box<dyn Error>> {
    let never = Hyperparams::NEVER;
    let paper = |kappa: f64| Hyperparams { kappa, ..integrating(Rule::Paper, 1, plan.lr, never) };
    let all = [
        ("Adam".to_owned(), Hyperparams { order: 0, ..paper(0.0) }),
        ("MIAdam1 UnitGain κ 0.9".to_owned(), integrating(Rule::Unit, 1, plan.lr, never)),
        ("MIAdam1 Paper κ 0.5".to_owned(), paper(0.5)),
        ("MIAdam1 Paper κ 0.9".to_owned(), paper(0.9)),
        ("MIAdam1 Paper κ 0.98".to_owned(), paper(0.98)),
        ("MIAdam1 Paper κ 1".to_owned(), paper(1.0)),
        ("MIAdam1 ExactGain κ 1".to_owned(), Hyperparams { step_scale: StepScale::ExactGain, ..paper(1.0) }),
    ];
    let series = |(number, (name, first)): (usize, (String, Hyperparams))| {
        let contender = Contender { name: name.clone(), first, then: None };
        let points = regret(&contender, plan)?;
        // The rate falls all the time, so that there is no such amplitude.
        Ok(Series { contender: number, name, is_noisy: false, switch_step: None, hover: f64::NAN, points })
    };
    all.into_iter().enumerate().map(series).collect()
}

fn regret(contender: &Contender, plan: &Plan) -> Result<Vec<(u32, f64)>, Box<dyn Error>> {
    let mut swarm = OnCpu::new(contender, &circle(plan.walkers))?;
    let (mut sum, mut points) = (0.0, Vec::new());
    for step in 1..=plan.regret_steps {
        // The loss counts at the place that the step starts from.
        sum += swarm.points().map(value).sum::<f64>() / plan.walkers as f64;
        points.push((step, sum / f64::from(step)));
        let lr = plan.lr / f64::from(step).sqrt();
        let beta1 = BETA1 * LAMBDA.powi(step as i32 - 1);
        swarm.set_hyperparams(Hyperparams { lr, beta1, ..contender.first.clone() })?;
        swarm.step(|point| gradient(point, [0.0; 2]))?;
    }
    Ok(points)
}
