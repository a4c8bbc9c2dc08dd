//! A table for people, or JSON lines for programs.

use std::io::{self, Write};
use std::time::Duration;

use miadam_support::cases::Case;
use miadam_support::command_line::{one_line, say, wrapped};
use serde::Serialize;

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

pub fn ms(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

/// The length of a full bar, which ends a line of 80 columns.
const BAR: f64 = 8.0;

pub struct Report {
    json: bool,
    /// The device of the last line.
    device: String,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { json, device: String::new() }
    }

    /// Something to tell a person; JSON stays JSON.
    pub fn note(&self, text: &str) -> io::Result<()> {
        let text = wrapped(&one_line(text));
        if self.json { writeln!(io::stderr(), "{text}") } else { say(&text) }
    }

    fn json(line: &impl Serialize) -> io::Result<()> {
        say(&serde_json::to_string(line)?)
    }

    /// Begins a table where the device is another.
    fn header(&mut self, device: &str, columns: &str) -> io::Result<()> {
        if device == self.device {
            return Ok(());
        }
        device.clone_into(&mut self.device);
        say(&format!("\n{}\n{columns}", wrapped(device)))
    }

    pub fn costs(&mut self, costs: &[Cost]) -> io::Result<()> {
        if self.json {
            return costs.iter().try_for_each(Self::json);
        }
        for Cost { device, case, order, option, ms, plain_ratio, limit_ratio } in costs {
            self.header(device, "case                   order  option                  ms  to plain  to limit")?;
            let to_limit = limit_ratio.map(|ratio| format!("{ratio:>10.2}")).unwrap_or_default();
            say(&format!("{case:<22}{order:>6}  {option:<18}{ms:>8.3}{plain_ratio:>10.2}{to_limit}"))?;
        }
        Ok(())
    }

    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        if self.json {
            return Self::json(row);
        }
        let Row { device, case, order, ms, gbps, dispatches, record_us, limit_ratio, .. } = row;
        let columns = format!(
            "{:<20}{:>6}{:>10}{:>7}{:>11}{:>10}{:>6}  of limit",
            "case", "order", "ms", "GB/s", "dispatches", "record µs", "ratio"
        );
        self.header(device, &columns)?;
        let bar = "█".repeat((BAR * (1.0 / limit_ratio).min(1.0)).round() as usize);
        say(&format!(
            "{case:<20}{order:>6}{ms:>10.3}{gbps:>7.1}{dispatches:>11}{record_us:>10.0}{limit_ratio:>6.2}  {bar}"
        ))
    }
}
