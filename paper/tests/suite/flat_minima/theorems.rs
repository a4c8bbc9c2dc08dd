//! The runs behind the two theorems, made small.

use indicatif::ProgressBar;
use miadam_paper::flat_minima::convergence::{self, distances, endings, regrets};
use miadam_paper::flat_minima::escape::{self, Exit, fits, measure};
use miadam_paper::flat_minima::noise::Noise;

#[test]
fn the_way_out_of_the_waves_is_the_one_that_the_docs_give() {
    let exit = Exit::of_waves();
    // L(u) - L(a) with cos u = -1/5: 10·√(24/25) up, 2·acos(-1/5) - 2π more of y².
    let expected = 10.0 * 0.96_f64.sqrt() + 2.0 * (-0.2_f64).acos() - std::f64::consts::TAU;
    assert!((exit.barrier - expected).abs() < 1e-12);
    assert!(exit.at_minimum > 50.0 && exit.at_saddle > 20.0);
    // Eq. 15 by hand, for the numbers at α = 0.1 and σ = 20.
    let (root_delta, alpha) = (exit.at_minimum.sqrt() / 20.0, 0.1);
    let front = std::f64::consts::PI * ((1.0 + 4.0 * alpha * root_delta * exit.at_saddle / 0.1).sqrt() + 1.0);
    let time = front * exit.determinants.sqrt().sqrt() / exit.at_saddle
        * (2.0 * root_delta * exit.barrier / alpha / exit.at_minimum.sqrt()).exp();
    assert!((exit.steps(0.1, 20.0, 1.0) / (time / alpha) - 1.0).abs() < 1e-12);
    assert!(exit.steps(0.1, 20.0, 2.0) < exit.steps(0.1, 20.0, 1.0));
    assert!((exit.exponent(0.1, exit.noise(0.1, 5.0)) - 5.0).abs() < 1e-12);
}

#[test]
fn noise_is_normal_and_seeded() {
    let mut noise = Noise::new(3);
    let numbers: Vec<f64> = (0..50_000).flat_map(|_| noise.pair()).collect();
    let moment = |power| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / numbers.len() as f64;
    // Three deviations of the mean, √(1/n), of the variance, √(2/n), and of the fourth moment, √(96/n).
    assert!(moment(1).abs() < 0.0095 && (moment(2) - 1.0).abs() < 0.0135 && (moment(4) - 3.0).abs() < 0.093);
    assert_eq!(Noise::new(3).pair(), [numbers[0], numbers[1]]);
    assert_ne!(Noise::new(4).pair(), [numbers[0], numbers[1]]);
}

#[test]
fn a_higher_barrier_holds_longer_and_a_doubled_rate_shorter() {
    let plan =
        escape::Plan { lrs: vec![0.05], exponents: vec![2.0, 3.0, 4.0, 5.0], walkers: 100, most_steps: 3000, seed: 1 };
    let bar = ProgressBar::hidden();
    let measured = measure(&plan, &bar).unwrap();
    assert_eq!(bar.position() as usize, escape::runs(&plan));
    let [adam, doubled] = ["Adam", "Adam, lr doubled"].map(|name| {
        let runs = measured.iter().filter(|run| run.name == name);
        runs.map(|run| run.steps.value).collect::<Vec<_>>()
    });
    assert!(adam.is_sorted() && adam[3] > 2.0 * adam[0], "{adam:?}");
    assert!(doubled[3] < adam[3] / 2.0, "{doubled:?} beside {adam:?}");
    let fits = fits(&measured);
    assert_eq!(fits[0].t_tilde, Some(1.0), "Adam is the measure");
    assert_eq!(measure(&plan, &bar).unwrap()[0].steps, measured[0].steps, "the same seed, the same times");
}

#[test]
fn adam_settles_on_the_quadratic_and_the_switch_settles_algorithm_1() {
    let plan = convergence::Plan { lr: 0.05, steps: 2000, regret_steps: 200, walkers: 8, seed: 1 };
    let distances = distances(&plan).unwrap();
    let endings = endings(&distances);
    let end = |name: &str, is_noisy: bool, is_switched: bool| {
        let kind = (is_noisy, is_switched);
        let found = endings.iter().find(|e| e.name == name && (e.is_noisy, e.is_switched) == kind);
        found.unwrap().distance
    };
    assert!(end("Adam", false, false) < 1e-3);
    assert!(end("MIAdam1 Paper κ 0.98", false, true) < end("MIAdam1 Paper κ 0.98", false, false) / 10.0);
    // Under noise nothing settles at a constant rate.
    assert!(end("Adam", true, false) > 0.01);
    let regrets = regrets(&plan).unwrap();
    assert!(regrets[0].points[199].1 < regrets[0].points[0].1 / 5.0, "Adam's average regret falls");
}
