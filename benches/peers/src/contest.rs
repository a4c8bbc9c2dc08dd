//! Who takes part in which shape, and who is compared with whom.

use std::path::Path;

use miadam_peers::device;
use miadam_support::adapter::AdapterError;
use miadam_support::cases::{self, Case, Home};
use miadam_support::gpu::Gpu;

use crate::process::Process;
use crate::report::Table;
use crate::runner::{Entrant, race};
use crate::{burn, candle, miadam};

/// What names of cases start with: the shapes, without the home of their tensors.
pub const SHAPES: [&str; 4] = ["1 x 4M", "1 x 16M", "1000 x 4096", "10000 x 256"];

pub struct Contest {
    cases: Vec<Case>,
    threads: usize,
    gpu: Result<Gpu, String>,
    burn: Result<Process, String>,
    torch: [(&'static str, Result<Process, String>); 2],
}

impl Contest {
    pub fn new(python: &Path, threads: usize) -> Self {
        Self {
            cases: cases::all(),
            threads,
            gpu: open().map_err(|reason| reason.to_string()),
            burn: Process::burn(),
            torch: ["fused", "foreach"].map(|variant| (variant, Process::torch(python, variant, threads))),
        }
    }

    pub fn description(&self) -> String {
        let adapter = match &self.gpu {
            Ok(gpu) => &gpu.name,
            Err(reason) => reason,
        };
        format!("GPU: {adapter}\nCPU: {} threads", self.threads)
    }

    /// Lets everybody step over the shape, in turns.
    pub fn hold(&mut self, shape: &str, rounds: u32) -> Table {
        let of_shape = |case: &&Case| case.name.starts_with(shape) && case.home != Home::Mixed;
        let mut cases: Vec<_> = self.cases.iter().filter(of_shape).collect();
        // Orders above 0 are for information, and stay beside the order 0 that they are compared with.
        cases.sort_by_key(|case| (case.home == Home::Separate, case.order));
        // Apart, since long steps on all cores slow a virtual machine down for a while.
        let mut entrants = enter_gpu(&cases, &self.gpu, &mut self.burn);
        race(&mut entrants, rounds);
        let mut on_cpu = enter_cpu(&cases, &mut self.torch);
        race(&mut on_cpu, rounds);
        entrants.extend(on_cpu);
        Table::new(shape, &entrants)
    }
}

/// With all that the adapter can do.
fn open() -> Result<Gpu, AdapterError> {
    let adapter = device::adapter()?;
    Gpu::open(&adapter, adapter.limits())
}

fn enter_gpu<'a>(
    cases: &[&'a Case],
    gpu: &'a Result<Gpu, String>,
    burn: &'a mut Result<Process, String>,
) -> Vec<Entrant<'a>> {
    let homes =
        if cases.iter().any(|case| case.home == Home::Separate) { &[", pool", ", separate"] } else { &["", ""] };
    let name = |case: &Case| format!("miadam GPU{}", homes[usize::from(case.home == Home::Separate)]);
    let gpu = gpu.as_ref().map_err(String::clone);
    let mut entrants: Vec<_> = cases
        .iter()
        .map(|case| enter_order(&name(case), case, gpu.clone().and_then(|gpu| miadam::gpu(gpu, case))))
        .collect();
    let adams = || cases.iter().filter(|case| case.order == 0);
    if let Some(case) = adams().next() {
        let against = adams().map(|case| name(case)).collect();
        let burn = burn.as_mut().map_err(|reason| reason.clone()).and_then(|burn| burn.adam(case));
        entrants.push(Entrant::new(format!("{} GPU", burn::NAME), against, case, burn));
    }
    entrants
}

fn enter_cpu<'a>(cases: &[&'a Case], torch: &'a mut [(&'static str, Result<Process, String>)]) -> Vec<Entrant<'a>> {
    const NAME: &str = "miadam CPU";
    // To the CPU, parts of a pool are slices like any other.
    let pooled: Vec<_> = cases.iter().filter(|case| case.home == Home::Pool).collect();
    let mut entrants: Vec<_> = pooled.iter().map(|case| enter_order(NAME, case, miadam::cpu(case))).collect();
    if let Some(case) = pooled.iter().find(|case| case.order == 0) {
        let against = || vec![NAME.to_owned()];
        for (variant, torch) in torch {
            let name = torch.as_ref().map_or_else(|_| format!("torch {variant}"), |torch| torch.name.clone());
            let name = format!("{name} CPU");
            let runner = torch.as_mut().map_err(|reason| reason.clone()).and_then(|torch| torch.adam(case));
            entrants.push(Entrant::new(name, against(), case, runner));
        }
        entrants.push(Entrant::new(format!("{} CPU", candle::NAME), against(), case, candle::adamw(case)));
    }
    entrants
}

/// Order 0 under its plain name, to be compared with; another order beside it.
fn enter_order<'a>(name: &str, case: &'a Case, runner: crate::runner::Entry<'a>) -> Entrant<'a> {
    match case.order {
        0 => Entrant::new(name, Vec::new(), case, runner),
        order => Entrant::new(format!("{name}, order {order}"), vec![name.to_owned()], case, runner),
    }
}
