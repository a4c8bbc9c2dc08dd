//! A table for people, or JSON lines for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::runner::Entrant;

/// One comparison; the keys of a JSON line.
#[derive(Serialize)]
struct Row {
    case: String,
    entrant: String,
    /// Median of the measured steps.
    ms: Option<f64>,
    rounds: usize,
    /// Bytes that any optimizer of this order has to move, over that time.
    gbps: Option<f64>,
    /// Who is compared with; none for miadam at order 0.
    against: Option<String>,
    /// `ms` over theirs: above 1, they are faster.
    ratio: Option<f64>,
    /// Why there is no time.
    missing: Option<String>,
}

/// All rows of a shape.
pub struct Table {
    shape: String,
    rows: Vec<Row>,
}

impl Table {
    pub fn new(shape: &str, entrants: &[Entrant<'_>]) -> Self {
        let ms = |entrant: &Entrant<'_>| entrant.times().ok().map(median);
        let ms_of = |name: &str| entrants.iter().find(|entrant| entrant.name == name).and_then(ms);
        let row = |entrant: &Entrant<'_>, against: Option<&String>| Row {
            case: shape.to_owned(),
            entrant: entrant.name.clone(),
            ms: ms(entrant),
            rounds: entrant.times().map_or(0, <[f64]>::len),
            gbps: ms(entrant).map(|ms| entrant.bytes() as f64 / ms / 1e6),
            against: against.cloned(),
            ratio: against.and_then(|name| Some(ms(entrant)? / ms_of(name)?)),
            missing: entrant.times().err().map(str::to_owned),
        };
        let mut rows = Vec::new();
        for entrant in entrants {
            if entrant.against.is_empty() {
                rows.push(row(entrant, None));
            }
            rows.extend(entrant.against.iter().map(|against| row(entrant, Some(against))));
        }
        Self { shape: shape.to_owned(), rows }
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

pub struct Report {
    json: bool,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Something to tell a person; JSON stays JSON.
    pub fn note(&self, text: &str) -> io::Result<()> {
        if self.json { writeln!(io::stderr(), "{text}") } else { writeln!(io::stdout(), "{text}") }
    }

    pub fn table(&self, table: &Table) -> io::Result<()> {
        let mut out = io::stdout();
        if self.json {
            return table.rows.iter().try_for_each(|row| writeln!(out, "{}", serde_json::to_string(row)?));
        }
        writeln!(out, "\n{:<34}{:>10}{:>8}{:>8}", table.shape, "ms", "GB/s", "ratio")?;
        table.rows.iter().try_for_each(|row| writeln!(out, "  {:<32}{}", row.entrant, figures(row)))
    }
}

fn figures(row: &Row) -> String {
    let (Some(ms), Some(gbps)) = (row.ms, row.gbps) else {
        return format!("{:>10}  {}", "-", row.missing.as_deref().unwrap_or("not measured"));
    };
    let compared = match (row.ratio, &row.against) {
        (Some(ratio), Some(against)) => format!("{ratio:>8.2}  of {against}"),
        _ => String::new(),
    };
    format!("{ms:>10.3}{gbps:>8.1}{compared}")
}
