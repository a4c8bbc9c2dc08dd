//! Tables and pictures.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use miadam_support::command_line::say;

use super::journal::Record;
use super::plan::Flags;
use super::rank::spearman;
use super::scatter;
use crate::hessian::drawing::{self, Spectrum};
use crate::stats::Mean;

/// A run under the name of its contender.
pub struct Row {
    pub name: String,
    pub record: Record,
}

impl Row {
    pub fn noise(&self) -> f64 {
        self.record.key.run.noise
    }

    /// Of the test digits after the last epoch, in %.
    pub fn accuracy(&self) -> f64 {
        100.0 * self.record.outcome.last
    }

    pub fn top(&self) -> f64 {
        self.record.flatness.top.value
    }

    fn trace(&self) -> f64 {
        self.record.flatness.trace.mean
    }
}

/// The seeds of one contender under one noise.
struct Summary<'a> {
    noise: f64,
    name: &'a str,
    accuracy: Mean,
    best: Mean,
    loss: Mean,
    top: Mean,
    trace: Mean,
}

type Side = fn(&Row) -> f64;

/// What is correlated with the accuracy.
const SIDES: [(&str, Side); 3] =
    [("top eigenvalue", Row::top), ("trace", Row::trace), ("loss", |row| row.record.flatness.loss)];

const CAVEAT: &str = "A rank correlation of -1 would say: the flatter, the more accurate. Read it with care. The runs are few, \
    and those of one optimizer lie together, so that there are about as many independent points as optimizers: with 7, a \
    correlation within ±0.79 is what chance alone gives in 95 of 100 studies. Both sides may follow from a third, such as \
    how far the loss has come down; its own correlation stands beside theirs.";

/// The summary and the rank correlations on stdout.
pub fn print(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    say("")?;
    say("noise  optimizer            test %          best %          loss             top eigenvalue   trace")?;
    for Summary { noise, name, accuracy, best, loss, top, trace } in summaries(rows) {
        let [accuracy, best] = [accuracy, best].map(|mean| format!("{:.2} ± {:.2}", mean.mean, mean.deviation));
        let [loss, top, trace] =
            [loss, top, trace].map(|mean| format!("{} ± {}", short(mean.mean), short(mean.deviation)));
        let noise = format!("{:.0} %", 100.0 * noise);
        say(&format!("{noise:<6} {name:<20} {accuracy:<15} {best:<15} {loss:<16} {top:<16} {trace}"))?;
    }
    say("")?;
    say("Rank correlation (Spearman) with the test accuracy after the last epoch:")?;
    for Rank { noise, side, runs, of_runs, names, of_names } in ranks(rows) {
        let [of_runs, of_names] =
            [of_runs, of_names].map(|rank| rank.map_or("none".into(), |rank| format!("{rank:+.2}")));
        let noise = format!("{:.0} %", 100.0 * noise);
        say(&format!("{noise:<6} {side:<15} {of_runs} over {runs} runs, {of_names} over {names} optimizers' means"))?;
    }
    Ok(say(&format!("\n{CAVEAT}"))?)
}

/// Three digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        size => format!("{value:.*}", 2 + (-size.log10()).ceil().clamp(0.0, 9.0) as usize),
    }
}

fn noises(rows: &[Row]) -> Vec<f64> {
    let mut noises: Vec<_> = rows.iter().map(Row::noise).collect();
    noises.dedup();
    noises
}

/// In the order of the rows.
fn summaries(rows: &[Row]) -> Vec<Summary<'_>> {
    let same = |a: &Row, b: &Row| a.noise() == b.noise() && a.name == b.name;
    let summary = |runs: &[_]| {
        let runs: &[Row] = runs;
        let mean = |side: Side| Mean::of(&runs.iter().map(side).collect::<Vec<_>>());
        (
            mean(Row::accuracy),
            mean(|row| 100.0 * row.record.outcome.best),
            mean(SIDES[2].1),
            mean(Row::top),
            mean(Row::trace),
        )
    };
    let groups = rows.chunk_by(same);
    groups
        .map(|runs| {
            let (accuracy, best, loss, top, trace) = summary(runs);
            Summary { noise: runs[0].noise(), name: &runs[0].name, accuracy, best, loss, top, trace }
        })
        .collect()
}

struct Rank {
    noise: f64,
    side: &'static str,
    runs: usize,
    of_runs: Option<f64>,
    names: usize,
    of_names: Option<f64>,
}

fn ranks(rows: &[Row]) -> Vec<Rank> {
    let mut ranks = Vec::new();
    for noise in noises(rows) {
        for (name, side) in SIDES {
            let of_noise = || rows.iter().filter(|row| row.noise() == noise);
            let pairs: Vec<_> = of_noise().map(|row| (side(row), row.accuracy())).collect();
            let names: Vec<_> = of_noise().collect();
            let mean = |runs: &[&Row], side: Side| runs.iter().map(|row| side(row)).sum::<f64>() / runs.len() as f64;
            let means = names.chunk_by(|a, b| a.name == b.name);
            let means: Vec<_> = means.map(|runs| (mean(runs, side), mean(runs, Row::accuracy))).collect();
            ranks.push(Rank {
                noise,
                side: name,
                runs: pairs.len(),
                of_runs: spearman(&pairs),
                names: means.len(),
                of_names: spearman(&means),
            });
        }
    }
    ranks
}

/// Everything into the folder.
pub fn write(folder: &Path, flags: &Flags, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}; choose a folder to write to", path.display()))
    };
    write("runs.csv", runs_csv(rows)?)?;
    write("summary.csv", summary_csv(rows)?)?;
    write("ranks.csv", ranks_csv(rows)?)?;
    write("flatness.svg", scatter::picture(rows)?)?;
    for noise in noises(rows) {
        let drawn = rows.iter().filter(|row| row.noise() == noise);
        let spectra: Vec<_> = drawn.filter_map(spectrum).collect();
        let name = format!("density_{:.0}", 100.0 * noise);
        let digits = flags.measured().subset;
        let title = format!("{:.0} % wrong labels, seed 0: Hessian over {digits} training digits", 100.0 * noise);
        write(&format!("{name}.svg"), drawing::picture(&title, &spectra)?)?;
        write(&format!("{name}.csv"), drawing::csv(&spectra))?;
    }
    Ok(())
}

fn spectrum(row: &Row) -> Option<Spectrum<'_>> {
    let density = row.record.flatness.density.as_ref()?;
    let name =
        format!("{}: test {:.2} %, top {}, trace {}", row.name, row.accuracy(), short(row.top()), short(row.trace()));
    Some(Spectrum { name, density })
}

fn runs_csv(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(
        "noise,optimizer,seed,test_last,test_best,train_loss,digits,loss,gradient_norm,top,top_residual,lanczos_steps,\
         trace,trace_standard_error\n",
    );
    for Row { name, record } in rows {
        let (run, outcome, flatness) = (&record.key.run, &record.outcome, &record.flatness);
        writeln!(
            text,
            "{},\"{name}\",{},{},{},{},{},{},{},{},{:e},{},{},{}",
            run.noise,
            run.seed,
            outcome.last,
            outcome.best,
            outcome.train_loss,
            record.key.measured.subset,
            flatness.loss,
            flatness.gradient,
            flatness.top.value,
            flatness.top.residual,
            flatness.top.steps,
            flatness.trace.mean,
            flatness.trace.standard_error,
        )?;
    }
    Ok(text)
}

fn summary_csv(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("noise,optimizer,seeds");
    for column in ["test_last_percent", "test_best_percent", "loss", "top", "trace"] {
        write!(text, ",{column},{column}_deviation")?;
    }
    text.push('\n');
    for Summary { noise, name, accuracy, best, loss, top, trace } in summaries(rows) {
        write!(text, "{noise},\"{name}\",{}", accuracy.count)?;
        for Mean { mean, deviation, .. } in [accuracy, best, loss, top, trace] {
            write!(text, ",{mean},{deviation}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn ranks_csv(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("noise,measure,runs,spearman_runs,optimizers,spearman_means\n");
    for Rank { noise, side, runs, of_runs, names, of_names } in ranks(rows) {
        let [of_runs, of_names] = [of_runs, of_names].map(|rank| rank.map_or(String::new(), |rank| rank.to_string()));
        writeln!(text, "{noise},{side},{runs},{of_runs},{names},{of_names}")?;
    }
    Ok(text)
}
