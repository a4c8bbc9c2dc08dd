//! The table and the pictures of all runs.

use std::error::Error;
use std::path::Path;

use miadam_support::command_line::{say, wrapped};

use crate::paper::optimizer::Kind;
use crate::paper::results::{Name, Results, Row, replace};
use miadam_support::plot::{self, Chart, Curve};

type Run = (Name, Vec<Row>);

/// Writes `table.md` and a picture for each data set and network into the folder, and says the table.
pub fn write(results: &Results, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut table = "| data | model | optimizer | runs | last epoch, % | best epoch, % | s an epoch |\n".to_owned();
    table += "|---|---|---|---|---|---|---|\n";
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for (name, _) in &results.runs {
        let case = (name.data.as_str(), name.model.as_str());
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    for (data, model) in cases {
        let mut curves = Vec::new();
        for kind in Kind::ALL {
            let is_of_it = |name: &Name| name.data == data && name.model == model && name.optimizer == kind;
            let runs: Vec<&Run> = results.runs.iter().filter(|(name, _)| is_of_it(name)).collect();
            if runs.iter().all(|(_, rows)| rows.is_empty()) {
                continue;
            }
            table += &line(data, model, kind, &runs);
            curves.push(curve(kind, &runs));
        }
        let file = folder.join(format!("{data}-{model}.svg").to_lowercase().replace(' ', "-"));
        plot::draw(&file, &[Chart { curves: &curves, across: "epoch", up: "test accuracy, % (mean over the seeds)" }])?;
    }
    say(&table)?;
    let note = "Mean ± standard deviation over the seeds. The best epoch is chosen by the test set, as the paper does: \
                it is too good by what chance adds.";
    say(&wrapped(note))?;
    Ok(replace(&folder.join("table.md"), format!("{table}\n{note}\n").as_bytes())?)
}

fn line(data: &str, model: &str, kind: Kind, runs: &[&Run]) -> String {
    let rows = || runs.iter().map(|(_, rows)| rows).filter(|rows| !rows.is_empty());
    let last: Vec<f64> = rows().filter_map(|rows| rows.last()).map(|row| row.test_accuracy).collect();
    let best: Vec<f64> = rows().map(|rows| rows.iter().map(|row| row.test_accuracy).fold(0.0, f64::max)).collect();
    let seconds: Vec<f64> = rows().flatten().map(|row| row.seconds).collect();
    let seconds = mean(&seconds);
    let [last, best] = [last, best].map(|values| spread(&values));
    format!("| {data} | {model} | {} | {} | {last} | {best} | {seconds:.1} |\n", kind.name(), runs.len())
}

/// The mean over the runs that have come to an epoch.
fn curve(kind: Kind, runs: &[&Run]) -> Curve {
    let epochs = runs.iter().map(|(_, rows)| rows.len()).max().unwrap_or_default();
    let point = |epoch: usize| {
        let values: Vec<f64> =
            runs.iter().filter_map(|(_, rows)| rows.get(epoch)).map(|row| row.test_accuracy).collect();
        ((epoch + 1) as f64, mean(&values))
    };
    let points: Vec<_> = (0..epochs).map(point).collect();
    let last = points.last().map_or(0.0, |point| point.1);
    Curve { name: format!("{}: {last:.2} % at the end", kind.name()), points }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Mean ± standard deviation, which a single value has not.
fn spread(values: &[f64]) -> String {
    let mean = mean(values);
    if values.len() < 2 {
        return format!("{mean:.2}");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{mean:.2} ± {:.2}", (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_last_and_best() {
        let name = |seed| Name { data: "d".to_owned(), model: "m".to_owned(), optimizer: Kind::Adam, seed };
        let row = |epoch, test_accuracy| Row { epoch, train_loss: 1.0, test_accuracy, seconds: 2.0 };
        let runs = [(name(1), vec![row(1, 50.0), row(2, 40.0)]), (name(2), vec![row(1, 30.0), row(2, 44.0)])];
        let line = line("d", "m", Kind::Adam, &runs.iter().collect::<Vec<_>>());
        // 40 and 44 at the end, 50 and 44 at best.
        assert_eq!(line, "| d | m | Adam | 2 | 42.00 ± 2.83 | 47.00 ± 4.24 | 2.0 |\n");
        assert_eq!(spread(&[3.0]), "3.00");
        let curve = curve(Kind::Adam, &runs.iter().collect::<Vec<_>>());
        assert_eq!(curve.points, [(1.0, 40.0), (2.0, 42.0)]);
    }
}
