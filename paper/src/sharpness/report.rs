//! Tables and pictures.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use miadam_support::command_line::{say, wrapped};

use super::scatter;
use super::summary::{Rank, Row, Side, by_name, by_noise, mean, ranks};
use crate::hessian::drawing::{self, Spectrum};
use crate::stats::Mean;

const CAVEAT: &str = "A rank correlation of -1 would say: the flatter, the more accurate. Read it with care. The runs are few, \
    and those of one optimizer lie together, so that there are about as many independent points as optimizers: with 9, a \
    correlation within ±0.70 is what chance alone gives in 95 of 100 studies. Both sides may follow from a third, such as \
    how far the loss has come down; its own correlation stands beside theirs.";

/// The summary and the rank correlations on stdout.
pub fn print(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    say("")?;
    say("noise  optimizer         test %        best   loss    top eigenvalue  trace")?;
    for runs in by_name(rows) {
        let (noise, name) = (percent(runs[0].noise()), &runs[0].name);
        let Mean { mean: last, deviation, .. } = mean(runs, Row::last);
        let last = format!("{last:.2} ± {deviation:.2}");
        let (best, loss) = (mean(runs, Row::best).mean, short(mean(runs, Row::loss).mean));
        let [top, trace] = [Row::top, Row::trace].map(|side: Side| mean(runs, side));
        let [top, trace] = [top, trace].map(|mean| format!("{} ± {}", short(mean.mean), short(mean.deviation)));
        say(&format!("{noise:<6} {name:<17} {last:<13} {best:<6.2} {loss:<7} {top:<15} {trace}"))?;
    }
    say("")?;
    say("Rank correlation (Spearman) with the test accuracy after the last epoch:")?;
    for Rank { noise, side, runs, of_runs, names, of_names } in ranks(rows) {
        let [of_runs, of_names] =
            [of_runs, of_names].map(|rank| rank.map_or("none".into(), |rank| format!("{rank:+.2}")));
        let noise = percent(noise);
        say(&format!("{noise:<6} {side:<15} {of_runs} over {runs} runs, {of_names} over {names} optimizers' means"))?;
    }
    say("")?;
    Ok(say(&wrapped(CAVEAT))?)
}

fn percent(part: f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

/// Three digits.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        size => format!("{value:.*}", 2 + (-size.log10()).ceil().clamp(0.0, 9.0) as usize),
    }
}

/// Everything into the folder.
pub fn write(folder: &Path, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}; choose a folder to write to", path.display()))
    };
    write("runs.csv", runs_csv(rows)?)?;
    write("summary.csv", summary_csv(rows)?)?;
    write("ranks.csv", ranks_csv(rows)?)?;
    write("flatness.svg", scatter::picture(rows)?)?;
    for rows in by_noise(rows) {
        let noise = rows[0].noise();
        let digits = rows[0].record.key.measured.subset;
        let spectra: Vec<_> = rows.iter().filter_map(spectrum).collect();
        let title = format!("{} wrong labels, seed 0: Hessian over {digits} training digits", percent(noise));
        let name = format!("density_{:.0}", 100.0 * noise);
        write(&format!("{name}.svg"), drawing::picture(&title, &spectra)?)?;
        write(&format!("{name}.csv"), drawing::csv(&spectra))?;
    }
    Ok(())
}

fn spectrum(row: &Row) -> Option<Spectrum<'_>> {
    let density = row.record.flatness.density.as_ref()?;
    let (top, trace) = (short(row.top()), short(row.trace()));
    Some(Spectrum { name: format!("{}: test {:.2} %, top {top}, trace {trace}", row.name, row.last()), density })
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
    const COLUMNS: [(&str, Side); 5] = [
        ("test_last_percent", Row::last),
        ("test_best_percent", Row::best),
        ("loss", Row::loss),
        ("top", Row::top),
        ("trace", Row::trace),
    ];
    let mut text = String::from("noise,optimizer,seeds");
    for (column, _) in COLUMNS {
        write!(text, ",{column},{column}_deviation")?;
    }
    text.push('\n');
    for runs in by_name(rows) {
        write!(text, "{},\"{}\",{}", runs[0].noise(), runs[0].name, runs.len())?;
        for (_, side) in COLUMNS {
            let Mean { mean, deviation, .. } = mean(runs, side);
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
