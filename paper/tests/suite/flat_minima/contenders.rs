//! The controls are matched as their names say.

use miadam_paper::flat_minima::contenders::{Contender, Rule, all, beta1_of_same_lag, integrating, shown};

const LR: f64 = 0.1;
const SWITCH: u32 = 101;

#[test]
fn the_lag_of_one_integral_at_unit_gain_is_that_of_a_beta1_of_0_947() {
    assert!((beta1_of_same_lag(1, 0.9) - 0.947).abs() < 5e-4);
    assert!((beta1_of_same_lag(0, 0.9) - 0.9).abs() < 1e-15);
    assert!((beta1_of_same_lag(1, 0.5) - 10.0 / 11.0).abs() < 1e-15);
}

/// The mean lag of the weights that MIAdam gives to past gradients, by its recurrence.
fn lag(order: u32, kappa: f64) -> f64 {
    let mut planes = vec![0.0; order as usize + 1];
    let (mut total, mut moment) = (0.0, 0.0);
    for age in 0..5000 {
        // One gradient of 1 at age 0.
        planes[0] = 0.9 * planes[0] + if age == 0 { 0.1 } else { 0.0 };
        for j in 1..planes.len() {
            planes[j] = kappa * planes[j] + planes[j - 1];
        }
        total += planes[order as usize];
        moment += f64::from(age) * planes[order as usize];
    }
    moment / total
}

#[test]
fn the_lag_is_that_of_the_recurrence() {
    for rule in Rule::ALL {
        for order in 1..=3 {
            let beta1 = beta1_of_same_lag(order, rule.kappa());
            // What is older than 5000 steps weighs less than 1e-40.
            assert!((beta1 / (1.0 - beta1) - lag(order, rule.kappa())).abs() < 1e-6, "{rule:?}, order {order}");
        }
    }
}

#[test]
fn controls_have_the_step_that_they_stand_for() {
    for rule in Rule::ALL {
        for order in 1..=3 {
            let steady = integrating(rule, order, LR, SWITCH).effective_lr();
            for control in
                [Contender::same_step, Contender::same_step_and_lag].map(|make| make(rule, order, LR, SWITCH))
            {
                assert_eq!((control.first.lr, control.first.order), (steady, 0), "{}", control.name);
                let (step, then) = control.then.unwrap();
                assert_eq!((step, then.lr, then.beta1, then.order), (SWITCH, LR, 0.9, 0));
            }
        }
    }
}

#[test]
fn every_contender_is_valid_and_has_a_name_of_its_own() {
    for lr in [0.05, 0.1, 0.15] {
        let all = all(lr, SWITCH);
        let names: std::collections::BTreeSet<_> = all.iter().map(|contender| &contender.name).collect();
        assert_eq!(names.len(), all.len());
        for (number, contender) in all.iter().enumerate() {
            contender.first.validate(0).unwrap();
            let is_shown = shown(lr, SWITCH).get(number).is_some_and(|shown| shown.name == contender.name);
            assert_eq!(is_shown, number < 12, "those that are drawn come first");
        }
    }
}
