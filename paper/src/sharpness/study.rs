//! The command: trains, measures, reports.

use std::error::Error;

use indicatif::ProgressBar;
use miadam_support::command_line::{say, wrapped};
use miadam_support::mnist::data::Data;

use super::journal::{Journal, Key, Record};
use super::measure::flatness;
use super::plan::{Flags, Labels};
use super::report;
use super::summary::Row;
use crate::lab::progress_bar;
use crate::threads::on_threads;

/// Trains and measures what is not yet in the folder, and writes all tables and pictures anew.
///
/// # Errors
/// If the digits cannot be read or the folder cannot be written, and if a network is not finite.
pub fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let data = match &flags.data {
        Some(folder) if !flags.quick => Data::from_folder(folder)?,
        Some(_) => return Err("--quick is a run on the digits compiled in; drop it or --data".into()),
        None => Data::built_in()?,
    };
    if flags.measured().subset > data.train.len() {
        let (subset, len) = (flags.subset, data.train.len());
        return Err(format!("--subset {subset}: there are {len} training digits; choose no more").into());
    }
    let mut journal = Journal::open(&flags.out)?;
    let rows = rows(flags, &data, &mut journal)?;
    for line in heading(flags, &data).lines() {
        say(&wrapped(line))?;
    }
    report::print(&rows)?;
    report::write(&flags.out, &rows)?;
    Ok(say(&wrapped(&format!("Tables and pictures are in {}.", flags.out.display())))?)
}

/// What the figures are of.
fn heading(flags: &Flags, data: &Data) -> String {
    let (measured, run) = (flags.measured(), flags.run(&flags.contenders()[0], 0.0, 0));
    let labels = match measured.labels {
        Labels::Trained => "the labels they were trained on, wrong ones included",
        Labels::Clean => "the right labels, which training did not see under noise",
    };
    let smoke = if flags.quick { "This is a smoke run: its figures mean nothing.\n" } else { "" };
    format!(
        "{smoke}{} digits, {} epochs, {} units, lr {}, constant; {} seeds, mean ± deviation.\n\
         The Hessian is that of the mean loss over {} of the training digits, with {labels}.",
        data.train.len(),
        run.epochs,
        run.hidden,
        flags.lr,
        flags.seeds(),
        measured.subset,
    )
}

/// All runs, in the order of the tables.
fn rows(flags: &Flags, data: &Data, journal: &mut Journal) -> Result<Vec<Row>, Box<dyn Error>> {
    let digits = data.sum();
    let mut wanted = Vec::new();
    for noise in flags.noises() {
        for contender in flags.contenders() {
            for seed in 0..flags.seeds() {
                let run = flags.run(&contender, noise, seed);
                let key = Key { run, measured: flags.measured(), digits, with_density: seed == 0 };
                wanted.push((contender.name.clone(), key));
            }
        }
    }
    let left: Vec<_> = wanted.iter().filter(|(_, key)| journal.find(key).is_none()).collect();
    let bar = progress_bar("networks", left.iter().map(|(_, key)| u64::from(key.run.epochs) + 1).sum());
    let new = on_threads(flags.threads(), &left, |(name, key)| {
        let record = record(key, data, &bar).map_err(|error| format!("{name}, seed {}: {error}", key.run.seed))?;
        journal.write(&record)?;
        Ok(record)
    });
    bar.finish_and_clear();
    let new = new?;
    let found = |key: &Key| journal.find(key).or_else(|| new.iter().find(|record| record.key == *key)).cloned();
    Ok(wanted.iter().filter_map(|(name, key)| Some(Row { name: name.clone(), record: found(key)? })).collect())
}

fn record(key: &Key, data: &Data, bar: &ProgressBar) -> Result<Record, Box<dyn Error + Send + Sync>> {
    let trained = key.run.train(data, &|| bar.inc(1))?;
    let samples = match key.measured.labels {
        Labels::Trained => &key.run.train_samples(data),
        Labels::Clean => &data.train,
    };
    let chosen = key.measured.chosen(samples.len());
    let flatness = flatness(&trained.network.weights, samples, &chosen, key.measured.effort, key.with_density)?;
    bar.inc(1);
    Ok(Record { key: key.clone(), outcome: trained.outcome, flatness })
}
