//! Choosing settings without the test digits: some trials at random, a second look at the best, and the best of these.

use std::error::Error;

use miadam_support::mnist::data::Data;

use super::Study;
use super::entrants::{Entrant, TUNED};
use crate::lab::Lab;
use crate::setting::Setting;
use crate::training::{Run, Split};

/// Trials that get a second look.
const SECOND: usize = 3;
/// Seeds of the second look, the first's among them. None of them is a seed of the test runs.
const SEEDS: [u64; 3] = [1000, 1001, 1002];

/// Tunes every optimizer at one noise, on the same number of trials each, and runs the chosen settings on the test digits.
pub fn tune(lab: &mut Lab, study: &Study, noise: u32, data: &Data) -> Result<Vec<Entrant>, Box<dyn Error>> {
    let validation = |setting: Setting, seed| study.run(setting, noise, seed, Split::Validation);
    let title = |what: &str| format!("{what}, {noise} % noise");

    let trials: Vec<Vec<Setting>> = TUNED.iter().map(|tuned| tuned.trials(study.trials)).collect();
    let first: Vec<Run> = trials.iter().flatten().map(|&setting| validation(setting, SEEDS[0])).collect();
    lab.run(&title("trials"), &first, data, study.threads)?;

    let best: Vec<Vec<Setting>> =
        trials.into_iter().map(|trials| best(lab, trials, &SEEDS[..1], &validation)).collect();
    let second: Vec<Run> = best
        .iter()
        .flat_map(|trials| trials.iter().take(SECOND))
        .flat_map(|&setting| SEEDS.map(|seed| validation(setting, seed)))
        .collect();
    lab.run(&title("second looks"), &second, data, study.threads)?;

    let chosen =
        best.into_iter().map(|trials| self::best(lab, trials.into_iter().take(SECOND).collect(), &SEEDS, &validation));
    let entrants: Vec<_> = TUNED
        .iter()
        .zip(chosen)
        .map(|(tuned, trials)| Entrant { label: tuned.label.to_owned(), setting: trials[0] })
        .collect();
    let finals: Vec<_> = entrants.iter().flat_map(|entrant| study.finals(entrant.setting, noise)).collect();
    lab.run(&title("tuned settings"), &finals, data, study.threads)?;
    Ok(entrants)
}

/// The trials from the best mean accuracy on the digits held out to the worst.
fn best(lab: &Lab, mut trials: Vec<Setting>, seeds: &[u64], run: &dyn Fn(Setting, u64) -> Run) -> Vec<Setting> {
    let accuracy = |setting: Setting| -> f64 {
        seeds.iter().filter_map(|&seed| lab.outcome(&run(setting, seed))).map(|outcome| outcome.last).sum()
    };
    trials.sort_by(|&a, &b| accuracy(b).total_cmp(&accuracy(a)));
    trials
}
