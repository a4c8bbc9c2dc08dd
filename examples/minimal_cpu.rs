//! The whole story on the CPU: vectors of one's own, a tiny loss, steps, a report, a checkpoint.
//!
//! `cargo run --release --example minimal_cpu`

use std::io::{self, Write};

use env_logger::Env;
use miadam::{Checkpoint, Error, Hyperparams, Param, ParamGroup, cpu};

fn main() -> Result<(), Error> {
    // Without RUST_LOG, what the optimizer warns of is shown.
    env_logger::init_from_env(Env::default().default_filter_or("off,miadam=warn,minimal_cpu=warn"));
    let mut w = vec![0.0_f32; 1024];
    let mut gradient = vec![0.0_f32; w.len()];

    let group = ParamGroup::new(Hyperparams { lr: 0.05, ..Hyperparams::default() }, [Param::new("w", w.len())]);
    let mut optimizer = cpu::MiAdam::new([group])?;
    for _ in 0..200 {
        // The loss ½·Σ (w - 3)² has the gradient w - 3.
        gradient.iter_mut().zip(&w).for_each(|(gradient, w)| *gradient = w - 3.0);
        optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
    }
    let report = optimizer.read_report();
    // A reader who has gone away, as `| head` does, is no reason to stop.
    let _ = writeln!(io::stdout(), "step {}: w[0] is {:.3}, and should be 3", report.step, w[0]);

    // Parameters are the caller's, so that the caller adds them to what is saved.
    let mut checkpoint = optimizer.read_checkpoint();
    checkpoint.insert_param("w", &w)?;
    let file = std::env::temp_dir().join("miadam-minimal-cpu.safetensors");
    checkpoint.save(&file)?;

    // In another process, an optimizer with the same parameters by name goes on from the file.
    let saved = Checkpoint::open(&file)?;
    optimizer.load(&saved)?;
    saved.copy_param("w", &mut w)
}
