//! How long optimizers stay in a sharp minimum, beside what Theorem 1 says.
//!
//! Walkers start in the sharp minimum of [`Landscape::Waves`](super::landscapes::Landscape::Waves). Each step's gradient gets
//! normal noise of the deviation σ in either coordinate. A walker has escaped once the phase u = x + y² is well past that of a
//! ridge. The theory's assumptions are a quadratic loss around both points, quasi-equilibrium in the minimum, and low
//! temperature. All of them hold better, the larger Adam's exponent 2ΔL/(α·σ) is.
//!
//! t̃ is called "the continuous time" where the paper integrates over it (Eq. 9 to 11). In Theorem 1 it is a factor on α that has no
//! definition: it is not said at what time it is to be taken. So it is free here, and measured: the escape times of each
//! optimizer give a slope over Adam's exponent, and t̃ is the slope's reciprocal, relative to Adam's own slope. Under
//! `Paper` with κ 0.5 the integral's gain, 1/(1-κ) = 2, is the natural guess.

mod report;
mod theory;

use std::error::Error;

use indicatif::ProgressBar;

use super::contenders::{Contender, Rule, beta1_of_same_lag};
use super::intervals::{Estimate, waiting_time};
use super::landscapes::{Landscape, Point, way_out};
use super::noise::Noise;
use super::swarm::OnCpu;

pub use report::{Fit, csv, fits, fits_csv, picture, printed};
pub use theory::Exit;

/// The phases at the two ridges about the sharp minimum, and how far past them a walker has escaped.
const RIDGES: [f64; 2] = [std::f64::consts::FRAC_PI_2, 2.5 * std::f64::consts::PI];
const PAST: f64 = 0.6;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    pub lrs: Vec<f64>,
    /// The values of Adam's exponent; each stands for a σ.
    pub exponents: Vec<f64>,
    pub walkers: usize,
    pub most_steps: u32,
    pub seed: u64,
}

/// One optimizer at one rate and one σ.
#[derive(Debug, Clone)]
pub struct Measured {
    pub contender: usize,
    pub name: String,
    pub lr: f64,
    pub noise: f64,
    pub exponent: f64,
    pub escaped: usize,
    pub walkers: usize,
    /// The mean escape time in steps.
    pub steps: Estimate,
    /// By Eq. 15.
    pub predicted: f64,
    /// By Eq. 14 with [`guess`] for t̃.
    pub predicted_miadam: f64,
    /// By Kramers' formula, for Adam.
    pub kramers: f64,
}

/// The contenders at a rate: none ever switches. Beside MIAdam1 stand Adam with its step, and with its step and lag.
pub fn contenders(lr: f64) -> Vec<Contender> {
    let never = miadam::Hyperparams::NEVER;
    let lag = |rule: Rule| beta1_of_same_lag(1, rule.kappa());
    let (unit, paper) = (lag(Rule::Unit), lag(Rule::Paper));
    vec![
        Contender::adam("Adam", lr, 0.9),
        Contender::miadam(Rule::Unit, 1, lr, never),
        Contender::adam(format!("Adam, β1 {unit:.3}"), lr, unit),
        Contender::miadam(Rule::Paper, 1, lr, never),
        Contender::adam("Adam, lr doubled", 2.0 * lr, 0.9),
        Contender::adam(format!("Adam, lr doubled, β1 {paper:.3}"), 2.0 * lr, paper),
    ]
}

/// The gain of the integrals under the step scale, effective_lr/lr: the natural guess for t̃.
pub fn guess(contender: &Contender, lr: f64) -> f64 {
    contender.first.effective_lr() / lr
}

/// Measures all of it. The bar counts runs.
///
/// # Errors
/// If an optimizer refuses its hyperparameters.
pub fn measure(plan: &Plan, bar: &ProgressBar) -> Result<Vec<Measured>, Box<dyn Error>> {
    let exit = Exit::of_waves();
    let mut measured = Vec::new();
    for &lr in &plan.lrs {
        for (number, contender) in contenders(lr).iter().enumerate() {
            for &exponent in &plan.exponents {
                let noise = exit.noise(lr, exponent);
                let times = times(contender, noise, plan)?;
                let escaped = times.iter().flatten().count();
                let waited = times.iter().map(|time| f64::from(time.unwrap_or(plan.most_steps))).sum();
                measured.push(Measured {
                    contender: number,
                    name: contender.name.clone(),
                    lr,
                    noise,
                    exponent,
                    escaped,
                    walkers: plan.walkers,
                    steps: waiting_time(waited, escaped),
                    predicted: exit.steps(lr, noise, 1.0),
                    predicted_miadam: exit.steps(lr, noise, guess(contender, lr)),
                    kramers: exit.kramers(lr, noise),
                });
                bar.inc(1);
            }
        }
    }
    Ok(measured)
}

/// The runs that [`measure`] makes.
pub fn runs(plan: &Plan) -> usize {
    plan.lrs.iter().map(|&lr| contenders(lr).len() * plan.exponents.len()).sum()
}

/// The step at which each walker has escaped, if it has.
fn times(contender: &Contender, noise: f64, plan: &Plan) -> Result<Vec<Option<u32>>, miadam::Error> {
    let [sharp, ..] = way_out();
    let mut swarm = OnCpu::new(contender, &vec![sharp; plan.walkers])?;
    // The same noise for every contender, so that they differ in nothing else.
    let mut random = Noise::new(plan.seed);
    let mut times = vec![None; plan.walkers];
    for step in 1..=plan.most_steps {
        swarm.step(|point| {
            let ([gx, gy], [nx, ny]) = (Landscape::Waves.gradient(point), random.pair());
            [gx + noise * nx, gy + noise * ny]
        })?;
        for (time, point) in times.iter_mut().zip(swarm.points()) {
            if time.is_none() && is_out(point) {
                *time = Some(step);
            }
        }
        if times.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(times)
}

fn is_out([x, y]: Point) -> bool {
    let phase = x + y * y;
    // A walker may also jump over y = 0, to the other sharp minimum.
    y < 0.0 || !(RIDGES[0] - PAST..=RIDGES[1] + PAST).contains(&phase)
}
