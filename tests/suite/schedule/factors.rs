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
    Linear { start_factor: f64, end_factor: f64, steps: u32 },
    Polynomial { steps: u32, power: f64, end_factor: f64 },
    Cosine { steps: u32, end_factor: f64 },
    CosineRestarts { steps: u32, growth: u32, end_factor: f64 },
    Step { every: u32, gamma: f64 },
    MultiStep { at: Vec<u32>, gamma: f64 },
    Exponential { gamma: f64 },
    OneCycle { steps: u32, warmup: f64, div_factor: f64, final_div_factor: f64 },
    Sequence { pieces: Vec<(u32, Described)> },
    Scaled { factor: f64, schedule: Box<Described> },
}

impl From<Described> for Schedule {
    fn from(described: Described) -> Self {
        match described {
            Described::Constant => Self::Constant,
            Described::LinearWarmup { start_factor, steps } => Self::LinearWarmup { start_factor, steps },
            Described::Linear { start_factor, end_factor, steps } => Self::Linear { start_factor, end_factor, steps },
            Described::Polynomial { steps, power, end_factor } => Self::Polynomial { steps, power, end_factor },
            Described::Cosine { steps, end_factor } => Self::Cosine { steps, end_factor },
            Described::CosineRestarts { steps, growth, end_factor } => {
                Self::CosineRestarts { steps, growth, end_factor }
            }
            Described::Step { every, gamma } => Self::Step { every, gamma },
            Described::MultiStep { at, gamma } => Self::MultiStep { at, gamma },
            Described::Exponential { gamma } => Self::Exponential { gamma },
            Described::OneCycle { steps, warmup, div_factor, final_div_factor } => {
                Self::OneCycle { steps, warmup, div_factor, final_div_factor }
            }
            Described::Sequence { pieces } => {
                Self::Sequence(pieces.into_iter().map(|(first, piece)| (first, piece.into())).collect())
            }
            Described::Scaled { factor, schedule } => Self::from(*schedule).scaled(factor),
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
    assert!(golden.len() >= 72);
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
    let ends = [1.0, 1.0, 0.2, 0.3, 0.1, 0.0, 0.027, 0.0, 1.0 / 200.0, 0.1, 0.04];
    let has_end = |schedule: &Schedule| !matches!(schedule, Schedule::CosineRestarts { .. });
    for (schedule, end) in all_kinds().into_iter().filter(has_end).zip(ends) {
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
    let halfway = Schedule::Linear { start_factor: 1.0, end_factor: 0.0, steps: longest }.factor(longest / 2);
    assert!((halfway - 0.5).abs() < 1e-9);
    let halfway = Schedule::Polynomial { steps: longest, power: 2.0, end_factor: 0.0 }.factor(longest / 2);
    assert!((halfway - 0.25).abs() < 1e-9);
    assert_eq!(Schedule::Step { every: longest, gamma: 0.5 }.factor(longest), 0.5);
    assert_eq!(Schedule::MultiStep { at: vec![longest; 2], gamma: 0.5 }.factor(longest), 0.25);
    let late = Schedule::Sequence(vec![(0, Schedule::Constant), (longest, cosine())]);
    assert_eq!([0, longest - 1, longest].map(|step| late.factor(step)), [1.0; 3]);
}

/// Nothing cancels on the way to 0 or from it, however long the way is.
#[test]
fn linear_schedules_are_as_exact_near_zero() {
    let steps = 4_000_000_000;
    let falling = Schedule::Linear { start_factor: 1.0, end_factor: 0.0, steps };
    let rising = Schedule::Linear { start_factor: 0.0, end_factor: 1.0, steps };
    for step in [1, 3, 1_000, steps - 1] {
        assert_eq!(rising.factor(step), f64::from(step) / 4e9);
        assert_eq!(falling.factor(steps - step), f64::from(step) / 4e9);
    }
}

/// PyTorch's polynomial ends at 0. Another end squeezes it.
#[test]
fn a_polynomial_with_an_end_is_squeezed() {
    let to_zero = Schedule::Polynomial { steps: 60, power: 1.7, end_factor: 0.0 };
    for end_factor in [0.1, 1.0, 2.5] {
        let squeezed = Schedule::Polynomial { steps: 60, power: 1.7, end_factor };
        for step in 0..80 {
            let expected = end_factor + (1.0 - end_factor) * to_zero.factor(step);
            let found = squeezed.factor(step);
            assert!((found - expected).abs() < 1e-15, "to {end_factor}, step {step}: {found}, not {expected}");
        }
    }
}

/// Every cycle of every schedule of restarts that fits 2³² steps begins at 1 and ends just above its end.
#[test]
fn restarts_are_found_at_any_step() {
    for (steps, growth) in [(1, 2), (1, 3), (7, 2), (10, 10), (3, 65_535), (1_000_003, 2), (5, u32::MAX)] {
        let schedule = Schedule::CosineRestarts { steps, growth, end_factor: 0.25 };
        let (mut first, mut length) = (0, u64::from(steps));
        while first + length <= u64::from(u32::MAX) {
            let at = |step: u64| schedule.factor(step as u32);
            assert_eq!(at(first), 1.0, "{schedule:?}, step {first}");
            // Exact but for the roundings of two numbers below 1.
            let last = 0.25 + 0.75 * (std::f64::consts::FRAC_PI_2 / length as f64).sin().powi(2);
            let found = at(first + length - 1);
            assert!((found - last).abs() < 1e-15, "{schedule:?}, step {}: {found}, not {last}", first + length - 1);
            let middle = at(first + length / 2);
            let expected = 0.625 + 0.375 * (std::f64::consts::PI * (length / 2) as f64 / length as f64).cos();
            assert!((middle - expected).abs() < 1e-15, "{schedule:?}, step {}: {middle}", first + length / 2);
            first += length;
            length *= u64::from(growth);
        }
        assert_eq!(schedule.factor(first as u32), 1.0, "{schedule:?}, the last restart, at {first}");
    }
    let even = Schedule::CosineRestarts { steps: 1_000, growth: 1, end_factor: 0.0 };
    assert_eq!(even.factor(4_294_967_000), 1.0);
    assert_eq!(even.factor(u32::MAX), even.factor(295));
}

#[test]
fn warmup_cosine_is_a_warmup_and_a_cosine() {
    let schedule = Schedule::warmup_cosine(9, 109, 0.2);
    let cosine = Schedule::Cosine { steps: 100, end_factor: 0.2 };
    for step in 0..9 {
        let found = schedule.factor(step);
        assert!((found - f64::from(step + 1) / 10.0).abs() < 1e-15, "step {step}: {found}");
    }
    assert!((9..200).all(|step| schedule.factor(step) == cosine.factor(step - 9)));
    assert_eq!(Schedule::warmup_cosine(0, 100, 0.2), cosine);
    let longest = Schedule::warmup_cosine(u32::MAX - 1, u32::MAX, 0.0);
    assert_eq!([u32::MAX - 1, u32::MAX].map(|step| longest.factor(step)), [1.0, 0.0]);
    Hyperparams { schedule: longest, ..Hyperparams::default() }.validate(0).unwrap();
}

#[test]
fn a_factor_of_its_own_multiplies_a_schedule() {
    for schedule in all_kinds() {
        let scaled = schedule.clone().scaled(0.375);
        assert!((0..50).all(|step| scaled.factor(step) == 0.375 * schedule.factor(step)), "{schedule:?}");
    }
    // For a piece, its own factor; for a sequence, one for all of its pieces.
    let pieces = |by: [f64; 2]| Schedule::Sequence(vec![(0, cosine().scaled(by[0])), (6, cosine().scaled(by[1]))]);
    let nested = pieces([2.0, 0.5]).scaled(0.25);
    assert!((0..50).all(|step| nested.factor(step) == pieces([0.5, 0.125]).factor(step)));
    // 0 times what has grown to infinity.
    assert_eq!(Schedule::Exponential { gamma: 2.0 }.scaled(0.0).factor(u32::MAX), 0.0);
}

/// In checkpoints and elsewhere: the new kinds by their names, the old ones as they were.
#[test]
fn the_form_in_files_is_kept() {
    let json = [
        r#""Constant""#,
        r#"{"LinearWarmup":{"start_factor":0.1,"steps":4}}"#,
        r#"{"Linear":{"start_factor":1.5,"end_factor":0.2,"steps":6}}"#,
        r#"{"Polynomial":{"steps":7,"power":2.0,"end_factor":0.3}}"#,
        r#"{"Cosine":{"steps":6,"end_factor":0.1}}"#,
        r#"{"CosineRestarts":{"steps":2,"growth":3,"end_factor":0.1}}"#,
        r#"{"Step":{"every":2,"gamma":0.5}}"#,
        r#"{"MultiStep":{"at":[1,5,5],"gamma":0.3}}"#,
        r#"{"Exponential":{"gamma":0.7}}"#,
        r#"{"OneCycle":{"steps":7,"warmup":0.4,"div_factor":10.0,"final_div_factor":20.0}}"#,
        r#"{"Sequence":[[0,{"LinearWarmup":{"start_factor":0.0,"steps":3}}],[3,{"Cosine":{"steps":6,"end_factor":0.1}}]]}"#,
        r#"{"Scaled":{"factor":0.8,"schedule":{"Sequence":[[0,{"Cosine":{"steps":6,"end_factor":0.1}}],[4,{"Scaled":{"factor":0.5,"schedule":{"Cosine":{"steps":6,"end_factor":0.1}}}}]]}}}"#,
    ];
    for (schedule, json) in all_kinds().into_iter().zip(json) {
        assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
        assert_eq!(serde_json::from_str::<Schedule>(json).unwrap(), schedule);
    }
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
