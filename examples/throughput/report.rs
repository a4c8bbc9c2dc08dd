//! A table for people, or JSON lines for programs.

use std::io::{self, Write};

use miadam_support::command_line::{one_line, say, wrapped};
use miadam_support::throughput::Row;
use serde::Serialize;

use crate::options::Cost;

/// The length of a full bar, which stands for the limit and ends a line of 80 columns.
const BAR: f64 = 5.0;

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
        let Row { device, case, order, state, ms, gbps, dispatches, record_us, limit_ratio, .. } = row;
        let columns = format!(
            "{:<20}{:>6}{:>6}{:>9}{:>6}{:>11}{:>10}{:>6}",
            "case", "order", "state", "ms", "GB/s", "dispatches", "record µs", "ratio"
        );
        self.header(device, &columns)?;
        let bar = "█".repeat((BAR * (1.0 / limit_ratio).min(1.0)).round() as usize);
        say(&format!(
            "{case:<20}{order:>6}{state:>6}{ms:>9.3}{gbps:>6.1}{dispatches:>11}{record_us:>10.0}{limit_ratio:>6.2} {bar}"
        ))
    }
}
