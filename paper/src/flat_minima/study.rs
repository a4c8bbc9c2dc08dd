//! The study: runs, tables, pictures.

use std::error::Error;
use std::fmt::Write;

use indicatif::{ProgressBar, ProgressStyle};
use miadam_support::command_line::say;

use super::contenders::{self, Contender, Rule};
use super::drawing::{Map, Trajectories, contours, maps};
use super::ends::{Summary, judge_all};
use super::folder::Folder;
use super::landscapes::{Landscape, Point};
use super::settings::{Flags, Settings};
use super::stability::hover;
use super::swarm::{Place, Run, grid};
use super::table::{self, Row};
use super::{convergence, escape};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The starts whose ways are drawn, as shares of the window's half-width.
const DRAWN: [Point; 4] = [[-0.9, 0.7], [0.75, 0.85], [0.6, -0.35], [-0.35, -0.8]];

/// Does all of it, by the flags.
///
/// # Errors
/// If the folder cannot be written, or if the device fails.
pub fn run(flags: &Flags) -> Result {
    let settings = if flags.quick { Settings::quick() } else { Settings::full() };
    let folder = Folder::create(&flags.out)?;
    let (gpu, note) = flags.device.open(&flags.adapter)?;
    let place = Place::new(gpu)?;
    let size = if flags.quick { "a quick run, too small to conclude from" } else { "the full run" };
    say(&format!("{size}: {} starts on the {}{note}", settings.side * settings.side, place.name()))?;
    let rows = ends(&settings, &place, &folder)?;
    ways(&settings, &place, &folder)?;
    escapes(&settings.escape, &folder)?;
    settling(&settings.convergence, &folder)?;
    say(&format!("{} lines in {}", rows, folder.path().display()))?;
    Ok(())
}

/// A progress bar for what takes longer than seconds.
fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_message(what)
}

/// The end points of all starts: the table, and the maps. Gives the number of the table's lines.
fn ends(settings: &Settings, place: &Place, folder: &Folder) -> Result<usize> {
    let mut rows = Vec::new();
    let count = contenders::all(0.1, settings.switch_step).len();
    let bar = bar(Landscape::ALL.len() * settings.lrs.len() * count, "end points");
    for landscape in Landscape::ALL {
        let starts = grid(landscape, settings.side);
        for &lr in &settings.lrs {
            let mut panels = Vec::new();
            let shown = contenders::shown(lr, settings.switch_step).len();
            for (number, contender) in contenders::all(lr, settings.switch_step).iter().enumerate() {
                let run = Run { landscape, contender, starts: &starts, watched: &[settings.steps] };
                let ends = judge_all(landscape, &place.run(&run)?[0]);
                rows.push(Row {
                    landscape,
                    lr,
                    contender: contender.name.clone(),
                    effective_lr: contender.first.effective_lr(),
                    hover: hover(&contender.first),
                    summary: Summary::new(&ends),
                });
                if number < shown {
                    let ends = ends.iter().map(|end| end.end).collect();
                    panels.push(Map { name: contender.name.clone(), ends });
                }
                bar.inc(1);
            }
            let name = format!("ends_{}_lr_{lr}", landscape.name());
            let title = format!("Where {} starts end on the {}, lr {lr}", starts.len(), landscape.name());
            folder.write(&format!("{name}.svg"), &maps(landscape, &title, &panels)?)?;
            folder.write(&format!("{name}.csv"), &map_csv(&starts, &panels))?;
        }
    }
    bar.finish_and_clear();
    folder.write("table.csv", &table::csv(&rows))?;
    folder.write("flat_over_hover.svg", &table::picture(&rows)?)?;
    say(&table::printed(&rows))?;
    Ok(rows.len())
}

/// A line for each start: f for a flat minimum, s for a sharp one, n for none.
fn map_csv(starts: &[Point], panels: &[Map]) -> String {
    let names: String = panels.iter().map(|panel| format!(",\"{}\"", panel.name)).collect();
    let mut csv = format!("x,y{names}\n");
    for (start, [x, y]) in starts.iter().enumerate() {
        let ends: String = panels.iter().flat_map(|panel| [',', panel.ends[start].letter()]).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(csv, "{x:.3},{y:.3}{ends}");
    }
    csv
}

/// The ways of a few starts, over contours.
fn ways(settings: &Settings, place: &Place, folder: &Folder) -> Result {
    for landscape in Landscape::ALL {
        let starts = DRAWN.map(|point| point.map(|share| share * landscape.half_width()));
        for &lr in &settings.lrs {
            // All steps at first, while the ways are long; then every fifth.
            let watched: Vec<u32> =
                (1..=settings.steps).filter(|step| *step <= 200 || step.is_multiple_of(5)).collect();
            let mut panels = Vec::new();
            for contender in drawn(lr, settings.switch_step) {
                let run = Run { landscape, contender: &contender, starts: &starts, watched: &watched };
                let seen = place.run(&run)?;
                let way = |(number, &start): (usize, &Point)| {
                    std::iter::once(start).chain(seen.iter().map(|places| places[number])).collect()
                };
                panels.push(Trajectories { name: contender.name, ways: starts.iter().enumerate().map(way).collect() });
            }
            let name = format!("ways_{}_lr_{lr}", landscape.name());
            let switch = settings.switch_step;
            let title = format!("The {}, lr {lr}: {} steps, switch at step {switch}", landscape.name(), settings.steps);
            folder.write(&format!("{name}.svg"), &contours(landscape, &title, &panels)?)?;
            folder.write(&format!("{name}.csv"), &ways_csv(&watched, &panels))?;
        }
    }
    Ok(())
}

fn drawn(lr: f64, switch_step: u32) -> Vec<Contender> {
    let longer = contenders::beta1_of_same_lag(1, Rule::Unit.kappa());
    vec![
        Contender::adam("Adam", lr, 0.9),
        Contender::adam(format!("Adam, β1 {longer:.3}"), lr, longer),
        Contender::miadam(Rule::Unit, 1, lr, switch_step),
        Contender::miadam(Rule::Unit, 3, lr, switch_step),
        Contender::miadam(Rule::Paper, 1, lr, switch_step),
        Contender::miadam(Rule::Reference, 1, lr, switch_step),
    ]
}

fn ways_csv(watched: &[u32], panels: &[Trajectories]) -> String {
    let mut csv = "optimizer,start,step,x,y\n".to_owned();
    for panel in panels {
        for (number, way) in (1..).zip(&panel.ways) {
            let steps = std::iter::once(0).chain(watched.iter().copied());
            for (step, [x, y]) in steps.zip(way).filter(|(step, _)| *step <= 50 || step.is_multiple_of(20)) {
                let _ = writeln!(csv, "\"{}\",{number},{step},{x:.4},{y:.4}", panel.name);
            }
        }
    }
    csv
}

/// Escape times beside Theorem 1.
fn escapes(plan: &escape::Plan, folder: &Folder) -> Result {
    let bar = bar(escape::runs(plan), "escapes");
    let measured = escape::measure(plan, &bar)?;
    bar.finish_and_clear();
    let fits = escape::fits(&measured);
    folder.write("escape.csv", &escape::csv(&measured))?;
    folder.write("escape_slopes.csv", &escape::fits_csv(&fits))?;
    folder.write("escape.svg", &escape::picture(&measured)?)?;
    Ok(say(&escape::printed(&measured, &fits))?)
}

/// Distances and regrets beside Theorem 2.
fn settling(plan: &convergence::Plan, folder: &Folder) -> Result {
    let distances = convergence::distances(plan)?;
    folder.write("distance.csv", &convergence::csv(&distances))?;
    folder.write("distance.svg", &convergence::distances_picture(&distances)?)?;
    let regrets = convergence::regrets(plan)?;
    folder.write("regret.csv", &convergence::regret_csv(&regrets))?;
    folder.write("regret.svg", &convergence::regret_picture(&regrets)?)?;
    let endings = convergence::endings(&distances);
    Ok(say(&convergence::printed(&endings, &regrets))?)
}
