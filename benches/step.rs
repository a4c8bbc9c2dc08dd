//! Steps of the GPU and the CPU optimizer over the cases of the `throughput` example, to be compared with an
//! earlier run of the same machine.
//!
//! `cargo bench --bench step -- [FILTER]`. BERT-base takes long and is run only if the filter names it.

use std::time::Duration;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, measurement::WallTime};
use miadam_support::adapter::{self, AdapterError};
use miadam_support::cases::{self, Case};
use miadam_support::gpu::Gpu;
use miadam_support::steppers::{CpuStepper, GpuStepper, Setup, check_first_step};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let cases = wanted_cases();
    match open() {
        Ok(gpu) => bench_gpu(&mut criterion, &gpu, &cases),
        Err(reason) => eprintln!("CPU only: {reason}"),
    }
    bench_cpu(&mut criterion, &cases);
    criterion.final_summary();
}

fn wanted_cases() -> Vec<Case> {
    let with_bert = std::env::args().any(|arg| arg.contains("BERT"));
    cases::all().into_iter().filter(|case| with_bert || !case.name.contains("BERT")).collect()
}

fn open() -> Result<Gpu, AdapterError> {
    let adapter = adapter::choose(None)?;
    Gpu::open(&adapter, adapter.limits())
}

fn bench_gpu(criterion: &mut Criterion, gpu: &Gpu, cases: &[Case]) {
    eprintln!("GPU: {}", gpu.name);
    let mut group = criterion.benchmark_group("gpu");
    let most = gpu.device.limits().max_buffer_size;
    for case in cases {
        let size = 4 * case.places().0.into_iter().max().unwrap_or(0) as u64;
        if size > most {
            eprintln!("left out {case}: a buffer of {size} bytes is above the adapter's {most}");
            continue;
        }
        let new = || {
            let mut stepper = GpuStepper::new(gpu, case, &Setup::plain(case))?;
            stepper.step()?;
            check_first_step(case, &stepper.ends()?)?;
            Ok(stepper)
        };
        bench_case(&mut group, case, new, GpuStepper::step);
    }
}

fn bench_cpu(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = criterion.benchmark_group("cpu");
    for case in cases {
        let new = || {
            let mut stepper = CpuStepper::new(case, &Setup::plain(case)).map_err(|error| error.to_string())?;
            stepper.step().map_err(|error| error.to_string())?;
            check_first_step(case, &stepper.ends())?;
            Ok(stepper)
        };
        bench_case(&mut group, case, new, CpuStepper::step);
    }
}

/// `new` is called only if the command line's filter lets the case run.
fn bench_case<S, E: std::fmt::Debug>(
    group: &mut BenchmarkGroup<WallTime>,
    case: &Case,
    new: impl Fn() -> Result<S, String>,
    step: impl Fn(&mut S) -> Result<(), E>,
) {
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Bytes(case.bytes()));
    let mut stepper = None;
    group.bench_function(BenchmarkId::new(case.name, format!("order {}", case.order)), |bencher| {
        let stepper = stepper.get_or_insert_with(|| new().expect("the case can be set up"));
        bencher.iter(|| step(stepper).expect("a step succeeds"));
    });
}
