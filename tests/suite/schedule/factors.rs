//! What a learning rate is multiplied by at each step, against PyTorch's and where PyTorch has none.

use miadam::{Hyperparams, Schedule};
use serde::Deserialize;

use super::{all_kinds, cosine};

/// A case of tests/golden/schedules.py.
#[derive(Deserialize)]
struct Case {
    lr: f64,
    lrs: Vec<f64>,
    #[serde(flatten)]
    schedule: Described,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Described {
    Constant,
    LinearWarmup { start_factor: f64, steps: u32 },
    Cosine { steps: u32, end_factor: f64 },
    Step { every: u32, gamma: f64 },
    MultiStep { at: Vec<u32>, gamma: f64 },
    Exponential { gamma: f64 },
    OneCycle { steps: u32, warmup: f64, div_factor: f64, final_div_factor: f64 },
    Sequence { pieces: Vec<(u32, Described)> },
}

impl From<Described> for Schedule {
    fn from(described: Described) -> Self {
        match described {
            Described::Constant => Self::Constant,
            Described::LinearWarmup { start_factor, steps } => Self::LinearWarmup { start_factor, steps },
            Described::Cosine { steps, end_factor } => Self::Cosine { steps, end_factor },
            Described::Step { every, gamma } => Self::Step { every, gamma },
            Described::MultiStep { at, gamma } => Self::MultiStep { at, gamma },
            Described::Exponential { gamma } => Self::Exponential { gamma },
            Described::OneCycle { steps, warmup, div_factor, final_div_factor } => {
                Self::OneCycle { steps, warmup, div_factor, final_div_factor }
            }
            Described::Sequence { pieces } => {
                Self::Sequence(pieces.into_iter().map(|(first, piece)| (first, piece.into())).collect())
            }
        }
    }
}

fn golden() -> Vec<(Hyperparams, Vec<f64>)> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../golden/schedules.json")).unwrap();
    let hyperparams = |lr, schedule: Described| Hyperparams { lr, schedule: schedule.into(), ..Default::default() };
    cases.into_iter().map(|case| (hyperparams(case.lr, case.schedule), case.lrs)).collect()
}

#[test]
fn match_pytorch_at_every_step() {
    let golden = golden();
    assert!(golden.len() >= 45);
    for (hyperparams, lrs) in golden {
        hyperparams.validate(0).unwrap();
        for (step, lr) in (0..).zip(lrs) {
            let found = hyperparams.lr_at(step);
            // The file's 13 digits are off by up to 2⁻⁴⁰·⁸ of a number. What PyTorch's own roundings of 2⁻⁵³ add up
            // to is less: it multiplies the learning rate before by a quotient, at each of up to 200 steps.
            let tolerance = 2f64.powi(-40) * lr;
            assert!((found - lr).abs() <= tolerance, "{:?}, step {step}: {found:e}, not {lr:e}", hyperparams.schedule);
            // Far below an f32's rounding: the same number, or its neighbour where that is close to a tie.
            let ulps = (found as f32).to_bits().abs_diff((lr as f32).to_bits());
            assert!(ulps <= 1, "{:?}, step {step}: {ulps} ulp", hyperparams.schedule);
        }
    }
}

#[test]
fn keep_their_last_value() {
    let ends = [1.0, 1.0, 0.1, 0.0, 0.027, 0.0, 1.0 / 200.0, 0.1];
    for (schedule, end) in all_kinds().into_iter().zip(ends) {
        for step in [10_000, u32::MAX - 1, u32::MAX] {
            let found = schedule.factor(step);
            assert!((found - end).abs() < 1e-15, "{schedule:?}, step {step}: {found}");
        }
    }
    // Whatever PyTorch does from there on.
    let at = |schedule: &Schedule, steps: [u32; 3]| steps.map(|step| schedule.factor(step));
    assert_eq!(at(&cosine(), [6, 7, 12]), [0.1; 3]);
    let one_cycle = |steps, warmup| Schedule::OneCycle { steps, warmup, div_factor: 2.0, final_div_factor: 4.0 };
    assert_eq!(at(&one_cycle(10, 0.3), [9, 10, u32::MAX]), [0.125; 3]);
    assert_eq!(at(&one_cycle(10, 1.0), [9, 10, u32::MAX]), [1.0; 3]);
    assert_eq!(at(&one_cycle(1, 0.5), [0, 1, u32::MAX]), [0.125; 3]);
    assert_eq!(at(&one_cycle(1, 1.0), [0, 1, u32::MAX]), [1.0; 3]);
    // The peak at the first step, where PyTorch divides by 0.
    assert_eq!(at(&one_cycle(10, 0.1), [0, 9, 10]), [1.0, 0.125, 0.125]);
    // The longest there are.
    let longest = u32::MAX;
    let halfway = Schedule::LinearWarmup { start_factor: 0.0, steps: longest }.factor(longest / 2);
    assert!((halfway - 0.5).abs() < 1e-9);
    let halfway = Schedule::Cosine { steps: longest, end_factor: 0.0 }.factor(longest / 2);
    assert!((halfway - 0.5).abs() < 1e-9);
    assert_eq!(Schedule::Step { every: longest, gamma: 0.5 }.factor(longest), 0.5);
    assert_eq!(Schedule::MultiStep { at: vec![longest; 2], gamma: 0.5 }.factor(longest), 0.25);
    let late = Schedule::Sequence(vec![(0, Schedule::Constant), (longest, cosine())]);
    assert_eq!([0, longest - 1, longest].map(|step| late.factor(step)), [1.0; 3]);
}

#[test]
fn a_sequence_within_another_counts_from_its_own_start() {
    let warmup = Schedule::LinearWarmup { start_factor: 0.1, steps: 5 };
    let decay = Schedule::Exponential { gamma: 0.9 };
    let inner = Schedule::Sequence(vec![(0, warmup.clone()), (5, cosine())]);
    let nested = Schedule::Sequence(vec![(0, inner.clone()), (20, inner.clone()), (40, decay.clone())]);
    let pieces = [(0, &warmup), (5, &cosine()), (20, &warmup), (25, &cosine()), (40, &decay)];
    let flat = Schedule::Sequence(pieces.map(|(first, schedule)| (first, schedule.clone())).to_vec());
    for step in 0..100 {
        assert_eq!(nested.factor(step), flat.factor(step), "step {step}");
    }
}
