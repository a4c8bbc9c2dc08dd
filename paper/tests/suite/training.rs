//! What a run is: its labels, its learning rates, its digits.

use miadam_paper::setting::{Course, Name, Scale, Setting};
use miadam_paper::training::{Run, Split};
use miadam_support::mnist::data::Data;

fn run(setting: Setting, noise: f64, split: Split) -> Run {
    Run { setting, noise, seed: 3, epochs: 1, batch: 128, hidden: 16, split }
}

fn adam() -> Setting {
    Setting::new(Name::Adam, 1e-3)
}

#[test]
fn as_many_labels_are_wrong_as_the_noise_says_and_all_wrong_classes_alike() {
    let data = Data::built_in().unwrap();
    for noise in [0.0, 0.2, 0.4, 0.8] {
        let noisy = run(adam(), noise, Split::Test).train_samples(&data);
        let pairs = || data.train.labels.iter().zip(&noisy.labels).map(|(&right, &found)| (right, found));
        let wrong = pairs().filter(|(right, found)| right != found).count();
        assert_eq!(wrong, (noise * data.train.len() as f64) as usize);
        let mut shifts = [0; 10];
        pairs().for_each(|(right, found)| shifts[usize::from((10 + found - right) % 10)] += 1);
        for shift in &shifts[1..] {
            // Nine alike: a count of n has the deviation √n, and 5 of them are hardly ever reached.
            let expected = wrong as f64 / 9.0;
            assert!((f64::from(*shift) - expected).abs() <= 5.0 * expected.sqrt(), "{shifts:?}");
        }
    }
}

#[test]
fn validation_digits_are_held_out_and_as_noisy_as_the_others() {
    let data = Data::built_in().unwrap();
    let train = run(adam(), 0.4, Split::Validation).train_samples(&data);
    let all = run(adam(), 0.4, Split::Test).train_samples(&data);
    assert_eq!(train.len(), data.train.len() - data.train.len() / 6);
    assert!(all.labels.starts_with(&train.labels) && all.images.starts_with(&train.images));
    let wrong = |range: std::ops::Range<usize>| {
        let len = range.len() as f64;
        range.filter(|&at| all.labels[at] != data.train.labels[at]).count() as f64 / len
    };
    // 1333 labels: the deviation of the part is 0.013.
    assert!((wrong(train.len()..all.len()) - 0.4).abs() < 0.05);
}

#[test]
fn rates_are_those_of_the_schedule_and_lower_before_the_switch_of_a_control() {
    let steps = 1000;
    assert_eq!(adam().rates(steps), vec![1e-3; 1000]);
    let stepped = Setting { course: Course::Steps, ..adam() }.rates(steps);
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    for (at, rate) in [(332, 1e-3), (333, 1e-4), (499, 1e-4), (500, 1e-5)] {
        near(stepped[at], rate);
    }
    let cosine = Setting { course: Course::Cosine, ..adam() }.rates(steps);
    near(cosine[50], 1e-3);
    assert!(cosine[0] < 1e-4 && cosine[999] < 1e-8);
    let slow = Setting { slow: 20.0, switch: 0.125, ..adam() }.rates(steps);
    for (at, rate) in [(0, 5e-5), (124, 5e-5), (125, 1e-3)] {
        near(slow[at], rate);
    }
    // The same step is the first of plain Adam under MIAdam.
    let miadam = Setting { switch: 0.125, ..Setting::miadam(1, 0.98, Scale::Reference, 1e-3) };
    assert_eq!(miadam.hyperparams(steps).switch_step, 126);
}

#[test]
fn adam_is_the_crates_own_at_order_0() {
    let data = Data::built_in().unwrap();
    let accuracy = |setting| run(setting, 0.0, Split::Test).train(&data, &|| ()).unwrap().outcome;
    let (ours, crates) =
        (accuracy(adam()), accuracy(Setting { scale: Scale::Paper, ..Setting::miadam(0, 0.5, Scale::Paper, 1e-3) }));
    // 63 steps. Rounding differs, and may turn a few of the 2,000 digits.
    assert!((ours.last - crates.last).abs() <= 0.003, "{} and {}", ours.last, crates.last);
    assert!((ours.train_loss - crates.train_loss).abs() < 1e-3);
}

#[test]
fn an_average_is_what_is_tested_and_handed_on() {
    let data = Data::built_in().unwrap();
    let averaged = run(Setting { average: 0.99, ..adam() }, 0.0, Split::Test).train(&data, &|| ()).unwrap();
    let plain = run(adam(), 0.0, Split::Test).train(&data, &|| ()).unwrap();
    assert_ne!(averaged.outcome.last, plain.outcome.last);
    let mut network = averaged.network;
    assert_eq!(miadam_paper::training::accuracy(&mut network, &data.test), averaged.outcome.last);
}
