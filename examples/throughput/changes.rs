//! Models that change: steps of a few parameters, rows that are put in another order. Each is beside a pass that moves the
//! bytes that it has to move.

use std::time::Instant;

use miadam::{Binding, Rows, StatePrecision};
use miadam_support::cases::{Case, Home};
use miadam_support::gpu::Gpu;
use miadam_support::random::Random;
use miadam_support::steppers::{CpuStepper, GpuStepper, Setup};
use miadam_support::throughput::{self, Row, Times, median, ms};
use wgpu::BufferUsages;

use crate::cpu;

/// What happens in each round.
#[derive(Clone, Copy, PartialEq)]
pub enum Change {
    /// A step of every tenth tensor, others each time, as in a mixture of experts.
    Tenth,
    /// All rows of four elements are put in another order.
    Rows,
}

/// The case, and what happens to it.
pub fn all() -> Vec<(Case, Change)> {
    let orders = |name, lens: Vec<usize>, change| {
        [0, 1, 3].map(|order| {
            (Case { name, home: Home::Pool, lens: lens.clone(), order, state: StatePrecision::F32 }, change)
        })
    };
    let tenth = orders("1000 x 4096, 100 on", vec![4096; 1000], Change::Tenth);
    let rows = orders("remap 1M x 4", vec![4 << 20], Change::Rows);
    [tenth, rows].concat()
}

/// A pass that moves the same bytes: so many elements of this case.
fn limit_case(case: &Case, change: Change) -> Case {
    let order = case.order as usize;
    let elements = match change {
        Change::Tenth => case.elements() / 10,
        // Moments and integrals both ways, where a step has θ and the gradient as well.
        Change::Rows => case.elements() * (16 + 8 * order) / (28 + 8 * order),
    };
    Case { lens: vec![elements], ..case.clone() }
}

/// The tensors that a step leaves out, for each round.
struct Idle {
    random: Random,
    count: usize,
}

impl Idle {
    fn next(&mut self) -> Vec<String> {
        // Each time others, so that in time each has a history of its own.
        let mut names: Vec<_> = (0..self.count).map(|number| number.to_string()).collect();
        for on in 0..self.count / 10 {
            names.swap_remove(self.random.below(self.count - on));
        }
        names
    }
}

/// Or why the case does not fit this adapter.
pub fn measure_gpu(gpu: &Gpu, (case, change): &(Case, Change), rounds: u32) -> Result<Row, String> {
    let mut optimizer = GpuStepper::new(gpu, case, &Setup::plain(case))?.optimizer;
    let moved = limit_case(case, *change);
    let limit = throughput::Limit::guarded(gpu, &moved, 2)?;
    let rows = case.elements() / 4;
    let numbers = Numbers::new(gpu, if *change == Change::Rows { rows } else { 0 })?;
    let (mut times, mut record) = (Times::default(), Vec::new());
    let mut idle = Idle { random: Random(1), count: case.lens.len() };
    for round in 0..=rounds {
        let names = idle.next();
        let mut encoder = gpu.encoder();
        let start = Instant::now();
        match change {
            Change::Tenth => optimizer.skip(&names).and_then(|()| optimizer.step(&mut encoder)).map_err(text)?,
            Change::Rows => {
                let place = optimizer.bindings().next().map(|Binding { param, grad, .. }| (param, grad));
                let binding = place.map(|(param, grad)| Binding::new("0", param, grad));
                optimizer.remap(&mut encoder, binding, &Rows::new(rows, &numbers.0, rows)).map_err(text)?;
            }
        }
        let recorded = start.elapsed();
        let changed = recorded + gpu.run(encoder).map_err(text)?;
        let mut encoder = gpu.encoder();
        limit.record(&mut encoder);
        let limit = gpu.run(encoder).map_err(text)?;
        // The first round touches the memory for the first time.
        if round > 0 {
            record.push(1e3 * ms(recorded));
            times.step.push(ms(changed));
            times.limit.push(ms(limit));
        }
    }
    let dispatches = optimizer.dispatches().map_err(text)?;
    Ok(Row { dispatches, record_us: median(&record), ..row(&gpu.name, case, &moved, &times) })
}

/// The numbers of all rows, from the last to the first.
struct Numbers(wgpu::Buffer);

impl Numbers {
    fn new(gpu: &Gpu, rows: usize) -> Result<Self, String> {
        let numbers: Vec<u32> = (0..rows.max(1) as u32).rev().collect();
        gpu.buffer_with("rows", bytemuck::cast_slice(&numbers), BufferUsages::STORAGE).map(Self).map_err(text)
    }
}

pub fn measure_cpu((case, change): &(Case, Change), rounds: u32) -> Result<Row, miadam::Error> {
    let mut stepper = CpuStepper::new(case, &Setup::plain(case))?;
    let moved = limit_case(case, *change);
    let mut limit = cpu::Limit::new(&moved, 2);
    let numbers: Vec<u32> = (0..case.elements() as u32 / 4).rev().collect();
    let mut idle = Idle { random: Random(1), count: case.lens.len() };
    let mut times = Times::default();
    for round in 0..=rounds {
        let names = idle.next();
        let start = Instant::now();
        match change {
            Change::Tenth => {
                stepper.optimizer.skip(&names)?;
                stepper.step()?;
            }
            Change::Rows => stepper.optimizer.remap(["0"], numbers.len(), &numbers)?,
        }
        let changed = start.elapsed();
        let start = Instant::now();
        limit.pass();
        if round > 0 {
            times.step.push(ms(changed));
            times.limit.push(ms(start.elapsed()));
        }
    }
    Ok(row(&cpu::device(), case, &moved, &times))
}

/// The row of a case whose bytes are those of another.
fn row(device: &str, case: &Case, moved: &Case, times: &Times) -> Row {
    Row { tensors: case.lens.len(), len: case.elements(), ..Row::new(device, moved, times) }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
