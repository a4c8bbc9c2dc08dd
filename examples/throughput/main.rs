//! How fast a step is on the adapter at hand and on the CPU, beside a pass that only moves the same bytes.
//!
//! `cargo run --release --example throughput -- [--json]`, and with `--options` what clipping, loss scaling and the other
//! options cost beside the plain step.

mod changes;
mod cpu;
mod options;
mod report;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use miadam::StatePrecision;
use miadam_support::adapter::{AdapterError, AdapterFlags};
use miadam_support::cases::{self, Case};
use miadam_support::command_line::{self, number};
use miadam_support::gpu::Gpu;
use miadam_support::state::State;
use miadam_support::throughput;
use report::Report;

#[derive(Parser)]
#[command(about = "Measures optimizer steps against the memory's own speed")]
struct Flags {
    /// One JSON object a line instead of the table
    #[arg(long)]
    json: bool,
    /// What each option costs beside the plain step, instead of the plain step beside the limit; of cases up to 5M
    #[arg(long)]
    options: bool,
    /// What happens to models that change, instead of plain steps: steps of a few parameters, rows in another order
    #[arg(long, conflicts_with = "options")]
    changes: bool,
    #[command(flatten)]
    adapter: AdapterFlags,
    /// Only the cases whose name contains this
    #[arg(long, default_value = "")]
    case: String,
    /// Only this order
    #[arg(long, value_parser = number(0..=3_u32))]
    order: Option<u32>,
    /// Only cases whose state is kept so
    #[arg(long, value_enum, conflicts_with_all = ["options", "changes"])]
    state: Option<State>,
    /// Measured rounds of each case, of which the median counts
    #[arg(long, default_value_t = 15, value_parser = number(1..=1_000_000_u32))]
    rounds: u32,
}

impl Flags {
    /// The cases that are asked for.
    fn cases(&self) -> Result<Vec<Case>, String> {
        let mut all = cases::all();
        if self.options {
            all.retain(|case| case.elements() <= options::MOST);
        } else {
            all.extend(cases::packed());
        }
        all.retain(|case| self.state.is_none_or(|state| StatePrecision::from(state) == case.state));
        self.wanted(all, |case| case)
    }

    /// Those of the cases that are asked for by name and order.
    fn wanted<T>(&self, all: Vec<T>, case: impl Fn(&T) -> &Case) -> Result<Vec<T>, String> {
        if let Some(order) = self.order.filter(|&order| all.iter().all(|one| case(one).order != order)) {
            return Err(format!("--order {order}: no case has it; choose 0, 1 or 3"));
        }
        let mut names = Vec::new();
        for one in &all {
            let name = case(one).name;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let is_wanted =
            |case: &Case| case.name.contains(&self.case) && self.order.is_none_or(|order| order == case.order);
        let wanted: Vec<_> = all.into_iter().filter(|one| is_wanted(case(one))).collect();
        if wanted.is_empty() {
            return Err(format!("no case matches --case `{}`; there are: {}", self.case, names.join(", ")));
        }
        Ok(wanted)
    }

    fn gpu(&self) -> Result<Gpu, AdapterError> {
        let adapter = self.adapter.choose()?;
        Gpu::open(&adapter, adapter.limits())
    }
}

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    if flags.changes {
        return changes(flags);
    }
    let wanted = flags.cases()?;
    let mut report = Report::new(flags.json);
    match flags.gpu() {
        Ok(gpu) => on_gpu(&gpu, &wanted, flags, &mut report)?,
        Err(reason) if reason.is_missing() && flags.adapter.adapter.is_none() => {
            report.note(&format!("CPU rows only: {reason}"))?;
        }
        Err(error) => return Err(error.into()),
    }
    for case in &wanted {
        if flags.options {
            report.costs(&options::measure_cpu(case, flags.rounds)?)?;
        } else {
            report.row(&cpu::measure(case, flags.rounds)?)?;
        }
    }
    Ok(())
}

fn changes(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let wanted = flags.wanted(changes::all(), |(case, _)| case)?;
    let mut report = Report::new(flags.json);
    match flags.gpu() {
        Ok(gpu) => {
            for case in &wanted {
                let measured = changes::measure_gpu(&gpu, case, flags.rounds).map(|row| report.row(&row));
                measured
                    .unwrap_or_else(|reason| report.note(&format!("{}: left out {}: {reason}", gpu.name, case.0)))?;
            }
        }
        Err(reason) if reason.is_missing() && flags.adapter.adapter.is_none() => {
            report.note(&format!("CPU rows only: {reason}"))?;
        }
        Err(error) => return Err(error.into()),
    }
    for case in &wanted {
        report.row(&changes::measure_cpu(case, flags.rounds)?)?;
    }
    Ok(())
}

/// A case that the adapter is too small for is left out.
fn on_gpu(gpu: &Gpu, wanted: &[Case], flags: &Flags, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for case in wanted {
        let measured = match flags.options {
            true => options::measure_gpu(gpu, case, flags.rounds).map(|costs| report.costs(&costs)),
            false => throughput::measure(gpu, case, flags.rounds).map(|row| report.row(&row)),
        };
        measured.unwrap_or_else(|reason| report.note(&format!("{}: left out {case}: {reason}", gpu.name)))?;
    }
    Ok(())
}
