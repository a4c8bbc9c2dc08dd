//! The tables and pictures of what came out.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use miadam_support::command_line::say;

use super::Study;
use super::entrants::Entrant;
use crate::drawing::{Forest, Interval, Panel, forest};
use crate::lab::Lab;
use crate::stats::{Mean, paired};
use crate::training::Outcome;

/// An entrant at one noise.
struct Row {
    noise: u32,
    entrant: Entrant,
    /// In percent, over the seeds.
    last: Mean,
    best: Mean,
    /// In points, seed by seed, over the reference.
    difference: Mean,
}

/// Writes `NAME.csv` and `NAME.svg`, and prints the table. `entrants` are those of a noise; the others are compared with the
/// first.
pub fn write(
    lab: &Lab,
    study: &Study,
    name: &str,
    out: &Path,
    entrants: &dyn Fn(u32) -> Vec<Entrant>,
) -> Result<(), Box<dyn Error>> {
    let rows = rows(lab, study, entrants, 0);
    let write = |end: &str, text: String| {
        let path = out.join(format!("{name}.{end}"));
        fs::write(&path, text).map_err(|error| format!("{}: {error}; choose a folder to write to", path.display()))
    };
    write("csv", csv(&rows)?)?;
    write("svg", picture(&rows, name, study)?)?;
    print(&rows)
}

/// Prints the table of one set of entrants, compared with the one of this name.
pub fn print_against(lab: &Lab, study: &Study, entrants: &[Entrant], name: &str) -> Result<(), Box<dyn Error>> {
    let Some(reference) = entrants.iter().position(|entrant| entrant.label == name) else {
        let labels: Vec<_> = entrants.iter().map(|entrant| format!("'{}'", entrant.label)).collect();
        return Err(format!("--against {name}: there is no such row; name one of {}", labels.join(", ")).into());
    };
    print(&rows(lab, study, &|_| entrants.to_vec(), reference))
}

/// The entrants of all noises that have been run from all seeds, each compared with the one at `reference`.
fn rows(lab: &Lab, study: &Study, entrants: &dyn Fn(u32) -> Vec<Entrant>, reference: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for &noise in &study.noise {
        let entrants = entrants(noise);
        let outcomes = |entrant: &Entrant| -> Option<Vec<&Outcome>> {
            study.finals(entrant.setting, noise).map(|run| lab.outcome(&run)).collect()
        };
        let percent = |outcomes: &[&Outcome], part: fn(&Outcome) -> f64| -> Vec<f64> {
            outcomes.iter().map(|outcome| 100.0 * part(outcome)).collect()
        };
        let Some(base) = entrants.get(reference).and_then(outcomes) else { continue };
        let base = percent(&base, |outcome| outcome.last);
        for entrant in entrants {
            let Some(outcomes) = outcomes(&entrant) else { continue };
            let (last, best) = (percent(&outcomes, |outcome| outcome.last), percent(&outcomes, |outcome| outcome.best));
            let difference = paired(&last, &base);
            rows.push(Row { noise, entrant, last: Mean::of(&last), best: Mean::of(&best), difference });
        }
    }
    rows
}

fn csv(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(
        "noise_percent,entrant,setting,lr,seeds,last_percent,last_deviation,best_percent,best_deviation,\
         difference_points,difference_half_width_95\n",
    );
    for Row { noise, entrant: Entrant { label, setting }, last, best, difference } in rows {
        writeln!(
            text,
            "{noise},\"{label}\",\"{setting}\",{},{},{:.3},{:.3},{:.3},{:.3},{:.3},{:.3}",
            setting.lr,
            last.count,
            last.mean,
            last.deviation,
            best.mean,
            best.deviation,
            difference.mean,
            difference.half_width(),
        )?;
    }
    Ok(text)
}

fn picture(rows: &[Row], name: &str, study: &Study) -> Result<String, Box<dyn Error>> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        if !names.contains(&row.entrant.label) {
            names.push(row.entrant.label.clone());
        }
    }
    let reference = if names.is_empty() { String::new() } else { names.remove(0) };
    let panel = |&noise: &u32| {
        let find = |name: &String| rows.iter().find(|row| row.noise == noise && row.entrant.label == *name);
        let interval =
            |name| find(name).map(|row| Interval { mean: row.difference.mean, half: row.difference.half_width() });
        let at = find(&reference).map_or(String::new(), |row| format!(", {reference} {:.2} %", row.last.mean));
        Panel { name: format!("{noise} % wrong{at}"), rows: names.iter().map(interval).collect() }
    };
    let mut noises = study.noise.clone();
    noises.sort_unstable();
    forest(&Forest {
        title: format!("Test accuracy less that of {reference}: {name} settings, {} seeds", study.seeds),
        x: "points after the last epoch, seed by seed, with 95 % intervals; hollow where 0 is inside".into(),
        panels: noises.iter().map(panel).collect(),
        names,
    })
}

fn print(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    for rows in rows.chunk_by(|a, b| a.noise == b.noise) {
        say("")?;
        say(&format!("{:>2} % wrong      last epoch      best   less the reference, 95 %", rows[0].noise))?;
        for Row { entrant: Entrant { label, setting }, last, best, difference, .. } in rows {
            let first = format!("{:.2} ± {:.2}   {:.2}", last.mean, last.deviation, best.mean);
            let difference = format!("{:+.2} ± {:.2}", difference.mean, difference.half_width());
            say(&format!("{label:26} {first:22} {difference}"))?;
            let chosen = setting.to_string();
            if chosen != *label {
                say(&format!("    {chosen}, lr {:e}", setting.lr))?;
            }
        }
    }
    Ok(())
}
