//! A table for people, or JSON lines for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::Case;
use crate::options::Cost;

/// One measured case; the keys of a JSON line.
#[derive(Serialize)]
pub struct Row {
    pub device: String,
    pub case: &'static str,
    pub tensors: usize,
    /// Elements of all tensors together.
    pub len: usize,
    pub order: u32,
    /// Median time of a step.
    pub ms: f64,
    /// Bytes that the step has to move, over that time.
    pub gbps: f64,
    /// Dispatches a step; 0 on the CPU.
    pub dispatches: usize,
    /// Median host time to record a step; 0 on the CPU.
    pub record_us: f64,
    /// `ms` over the median time of a pass that only loads and stores the same bytes.
    pub limit_ratio: f64,
}

impl Row {
    pub fn new(device: &str, case: &Case, times: &Times) -> Self {
        let ms = median(&times.step);
        Self {
            device: device.to_owned(),
            case: case.name,
            tensors: case.lens.len(),
            len: case.elements(),
            order: case.order,
            ms,
            gbps: case.bytes() as f64 / ms / 1e6,
            dispatches: 0,
            record_us: 0.0,
            limit_ratio: ms / median(&times.limit),
        }
    }
}

/// Milliseconds of each round.
#[derive(Default)]
pub struct Times {
    pub step: Vec<f64>,
    pub limit: Vec<f64>,
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

pub struct Report {
    json: bool,
    device: String,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { json, device: String::new() }
    }

    /// Something to tell a person; JSON stays JSON.
    pub fn note(&self, text: &str) -> io::Result<()> {
        if self.json { writeln!(io::stderr(), "{text}") } else { writeln!(io::stdout(), "{text}") }
    }

    fn json(line: &impl Serialize) -> io::Result<()> {
        writeln!(io::stdout(), "{}", serde_json::to_string(line)?)
    }

    pub fn costs(&mut self, costs: &[Cost]) -> io::Result<()> {
        if self.json {
            return costs.iter().try_for_each(Self::json);
        }
        for Cost { device, case, order, option, ms, plain_ratio } in costs {
            if *device != self.device {
                self.device.clone_from(device);
                let header = format!("{:<22}{:>6}  {:<18}{:>8}{:>10}", "case", "order", "option", "ms", "to plain");
                writeln!(io::stdout(), "\n{device}\n{header}")?;
            }
            writeln!(io::stdout(), "{case:<22}{order:>6}  {option:<18}{ms:>8.3}{plain_ratio:>10.2}")?;
        }
        Ok(())
    }

    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        if self.json {
            return Self::json(row);
        }
        if row.device != self.device {
            self.device.clone_from(&row.device);
            writeln!(
                io::stdout(),
                "\n{}\n{:<22}{:>6}{:>10}{:>8}{:>12}{:>11}{:>8}  of the limit",
                row.device,
                "case",
                "order",
                "ms",
                "GB/s",
                "dispatches",
                "record µs",
                "ratio"
            )?;
        }
        let share = (1.0 / row.limit_ratio).min(1.0);
        writeln!(
            io::stdout(),
            "{:<22}{:>6}{:>10.3}{:>8.1}{:>12}{:>11.0}{:>8.2}  {:<20} {:.0} %",
            row.case,
            row.order,
            row.ms,
            row.gbps,
            row.dispatches,
            row.record_us,
            row.limit_ratio,
            "█".repeat((20.0 * share).round() as usize),
            100.0 * share
        )
    }
}
