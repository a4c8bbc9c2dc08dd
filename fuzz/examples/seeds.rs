//! Writes the seeds of `corpus/`: `cargo run --example seeds`, in this folder.

use std::error::Error;
use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use half::bf16;
use miadam::cpu::{Binding, MiAdam};
use miadam::{Dtype, GradOptions, GradScaler, Hyperparams, Param, ParamGroup, Schedule};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    checkpoints()?;
    for case in ["adam_schedule", "options", "loss_scale", "clip_norm", "paper_orders", "schedule"] {
        write("case", case, &cut_case(&golden(case)?, "")?)?;
    }
    write("case", "f16-master", &cut_case(&golden("options")?, r#""dtype":"f16","#)?)?;
    write("case", "bf16-stochastic", &cut_case(&golden("options")?, r#""dtype":"bf16","stochastic_seed":7,"#)?)?;
    idx_files()?;
    // Bytes are as good as any to a planner.
    let mut state = 1_u64;
    let mut bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    for len in [64, 200, 500, 1000] {
        write("planner", &format!("bytes-{len}"), &bytes.by_ref().take(len).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder = format!("corpus/{target}");
    fs::create_dir_all(&folder)?;
    Ok(fs::write(format!("{folder}/{name}.seed"), bytes)?)
}

/// Of the parameters that the target's optimizer has: new, and after a step with everything switched on.
fn checkpoints() -> Outcome {
    let amsgrad = Hyperparams { order: 2, amsgrad: true, ..Hyperparams::default() };
    let cosine = Schedule::Cosine { steps: 10, end_factor: 0.1 };
    let warmup = Schedule::LinearWarmup { start_factor: 0.1, steps: 5 };
    let sequence = Schedule::Sequence(vec![(0, warmup), (5, cosine)]);
    let half = Param::new("h", 3).with_dtype(Dtype::Bf16);
    let mut optimizer = MiAdam::new([
        ParamGroup::new(Hyperparams { schedule: sequence, ..Hyperparams::default() }, [Param::new("w", 2), half]),
        ParamGroup::new(amsgrad, [Param::new("v", 1)]),
    ])?;
    write("checkpoint", "new", &optimizer.read_checkpoint().to_bytes()?)?;

    optimizer.set_grad_options(GradOptions {
        clip_norm: Some(1.0),
        scaler: Some(GradScaler::default()),
        ..GradOptions::default()
    })?;
    optimizer.step([
        Binding::new("w", &mut [1.0_f32; 2], &mut [0.5_f32; 2]),
        Binding::new("h", &mut [bf16::ONE; 3], &mut [0.25_f32; 3]),
        Binding::new("v", &mut [-1.0_f32], &mut [-0.5_f32]),
    ])?;
    let mut checkpoint = optimizer.read_checkpoint();
    checkpoint.insert_param("h", &[bf16::ONE; 3])?;
    let bytes = checkpoint.to_bytes()?;
    write("checkpoint", "step", &bytes)?;
    // What a long run counts.
    write("checkpoint", "full-counts", &with_counts(&bytes, "4294967295", "4294967295")?)?;
    write("checkpoint", "long-run", &with_counts(&bytes, "4294967295", "4294967294")?)
}

fn with_counts(file: &[u8], steps: &str, good_steps: &str) -> Outcome<Vec<u8>> {
    let (len, _) = SafeTensors::read_metadata(file)?;
    let mut header = std::str::from_utf8(&file[8..8 + len])?.trim_end().to_owned();
    for (field, count) in [("step", steps), ("skipped", steps), ("recorded", steps), ("good_steps", good_steps)] {
        let field = format!(r#"\"{field}\":"#);
        let at = header.find(&field).ok_or("no such count")? + field.len();
        let digits = header[at..].bytes().take_while(u8::is_ascii_digit).count();
        header.replace_range(at..at + digits, count);
    }
    Ok([&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + len..]].concat())
}

fn golden(case: &str) -> Outcome<Vec<u8>> {
    Ok(fs::read(format!("../tests/golden/{case}.safetensors"))?)
}

/// A golden case of its first two steps and of a parameter's first two elements, with more fields in every group.
fn cut_case(file: &[u8], fields: &str) -> Outcome<Vec<u8>> {
    let (_, header) = SafeTensors::read_metadata(file)?;
    let mut metadata = header.metadata().clone().ok_or("no metadata")?;
    metadata.remove("about");
    if let Some(groups) = metadata.get_mut("groups") {
        *groups = groups.replace(r#""params":"#, &format!(r#"{fields}"params":"#));
    }
    if let Some(lrs) = metadata.get_mut("lr_per_step") {
        let steps: Vec<serde_json::Value> = serde_json::from_str(lrs)?;
        *lrs = serde_json::to_string(&steps[..2])?;
    }
    let file = SafeTensors::deserialize(file)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        if ["param/", "grad/1/", "grad/2/"].iter().any(|kind| name.starts_with(kind)) {
            let len = view.shape().iter().product::<usize>().min(2);
            tensors.push((name, TensorView::new(view.dtype(), vec![len], &view.data()[..4 * len])?));
        }
    }
    Ok(safetensors::serialize(tensors, Some(metadata))?)
}

/// Two digits, plain and gzipped.
fn idx_files() -> Outcome {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28][..], &[7; 2 * 28 * 28]].concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 3, 9];
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    let pair = |images: &[u8], labels: &[u8]| [&(images.len() as u16).to_be_bytes(), images, labels].concat();
    write("idx", "plain", &pair(&images, &labels))?;
    write("idx", "gzipped", &pair(&gzip(&images)?, &gzip(&labels)?))?;
    write("idx", "mixed", &pair(&gzip(&images)?, &labels))
}
