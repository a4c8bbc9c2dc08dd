//! Rows of parameters whose state is kept in fewer bits, before or after.

use miadam::{Binding, FRESH_ROW, Param, ParamGroup, Plane, Rows, StatePrecision, cpu};

use super::{PACKED, group, half_step, step_cpu};
use crate::common::{Gpu, Random, gpu};

/// Rows are gathered on both sides, which have the same bits then and after the next step.
#[test]
fn rows_have_the_twins_bits() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random(9);
    let some = |random: &mut Random, before: u32, count: usize| -> Vec<u32> {
        (0..count)
            .map(|_| if random.below(9) == 0 { FRESH_ROW } else { random.below(before as usize) as u32 })
            .collect()
    };
    for precision in PACKED {
        // A parameter's elements, its rows before and after. The last two grow out of f32 state and shrink into it.
        for (len, before, count) in [
            (8192, 1024, 1025),
            (8192, 2048, 1111),
            (8193, 2731, 3000),
            (5000, 5000, 4999),
            (90, 30, 2000),
            (9000, 1000, 5),
        ] {
            let rows = some(&mut random, before, count);
            let context = format!("{len} elements, {before} rows, {precision:?}");
            let (mut optimizer, mut twin, mut tensors) = pair(&gpu, precision, len);
            step_pair(&gpu, &mut optimizer, &mut twin, &mut tensors, &mut random);
            assert!(states(&gpu, &optimizer) == states_of(&twin), "before, {context}");
            tensors = Tensors::new(&gpu, len / before as usize * count);
            let numbers = gpu.buffer_of(&rows.iter().copied().map(f32::from_bits).collect::<Vec<_>>());
            let mut encoder = gpu.encoder();
            optimizer.remap(&mut encoder, [tensors.binding()], &Rows::new(before as usize, &numbers, count)).unwrap();
            gpu.submit(encoder);
            twin.remap(["w"], before as usize, &rows).unwrap();
            assert!(states(&gpu, &optimizer) == states_of(&twin), "after, {context}");
            step_pair(&gpu, &mut optimizer, &mut twin, &mut tensors, &mut random);
            assert!(states(&gpu, &optimizer) == states_of(&twin), "a step later, {context}");
        }
    }
}

/// Where the state takes many pages, a block may be gathered in several rounds, and is rounded in each.
#[test]
fn rows_follow_from_page_to_page() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    let mut random = Random(9);
    for precision in PACKED {
        // The parameter itself fills its binding; its planes take several pages.
        let (len, width) = (16_384, 2);
        let (mut optimizer, mut twin, mut tensors) = pair(&gpu, precision, len);
        step_pair(&gpu, &mut optimizer, &mut twin, &mut tensors, &mut random);
        let before = states_of(&twin);
        let rows: Vec<u32> = (0..8000).map(|_| random.below(len / width) as u32).collect();
        let numbers = gpu.buffer_of(&rows.iter().copied().map(f32::from_bits).collect::<Vec<_>>());
        tensors = Tensors::new(&gpu, width * rows.len());
        let mut encoder = gpu.encoder();
        optimizer.remap(&mut encoder, [tensors.binding()], &Rows::new(len / width, &numbers, rows.len())).unwrap();
        gpu.submit(encoder);
        for (number, (found, before)) in states(&gpu, &optimizer).iter().zip(&before).enumerate() {
            let plane = if number == 1 { Plane::SecondMoment } else { Plane::FirstMoment };
            let expected = rows.iter().flat_map(|&row| &before[row as usize * width..][..width]);
            let expected: Vec<_> = expected.map(|bits| f32::from_bits(*bits)).collect();
            for (at, (found, before)) in found.iter().zip(&expected).enumerate() {
                // The second round adds another half of a step.
                let furthest = 2.0 * half_step(precision, plane, &expected, at);
                assert!((f32::from_bits(*found) - before).abs() <= furthest, "plane {number}: {found} for {before}");
            }
        }
    }
}

/// The tensors of the one parameter on the GPU.
struct Tensors {
    len: usize,
    param: wgpu::Buffer,
    grad: wgpu::Buffer,
}

impl Tensors {
    fn new(gpu: &Gpu, len: usize) -> Self {
        let [param, grad] = [0.0, 0.0].map(|value| gpu.buffer_of(&vec![value; len]));
        Self { len, param, grad }
    }

    fn binding(&self) -> Binding<'_> {
        Binding::new("w", &self.param, &self.grad)
    }
}

/// An optimizer of one parameter on the GPU, and its twin.
fn pair(gpu: &Gpu, precision: StatePrecision, len: usize) -> (miadam::MiAdam, cpu::MiAdam, Tensors) {
    let group = ParamGroup { params: vec![Param::new("w", len)], ..group(precision, "w") };
    let tensors = Tensors::new(gpu, len);
    let optimizer = miadam::MiAdam::new(&gpu.device, &gpu.queue, [group.clone()], [tensors.binding()]).unwrap();
    (optimizer, cpu::MiAdam::new([group]).unwrap(), tensors)
}

fn step_pair(
    gpu: &Gpu,
    optimizer: &mut miadam::MiAdam,
    twin: &mut cpu::MiAdam,
    tensors: &mut Tensors,
    random: &mut Random,
) {
    let mut grad: Vec<f32> = (0..tensors.len).map(|_| random.normal()).collect();
    gpu.queue.write_buffer(&tensors.grad, 0, bytemuck::cast_slice(&grad));
    gpu.step(optimizer);
    twin.step([cpu::Binding::new("w", &mut vec![0.0; tensors.len][..], &mut grad[..])]).unwrap();
}

/// The bits of all planes.
fn states(gpu: &Gpu, optimizer: &miadam::MiAdam) -> Vec<Vec<u32>> {
    bits(&gpu.state(optimizer).params[0])
}

fn states_of(optimizer: &cpu::MiAdam) -> Vec<Vec<u32>> {
    bits(&optimizer.read_state().params[0])
}

fn bits(state: &miadam::ParamState) -> Vec<Vec<u32>> {
    state.planes().map(|(_, values)| values.iter().map(|value| value.to_bits()).collect()).collect()
}

#[test]
fn rows_keep_their_values_on_the_cpu() {
    for precision in PACKED {
        let mut optimizer = cpu::MiAdam::new([group(precision, "w")]).unwrap();
        let mut random = Random(1);
        (0..3).for_each(|_| drop(step_cpu(&mut optimizer, &mut random)));
        let before = optimizer.read_state();
        // The eight elements that share a scale stay together when rows of eight are turned around.
        let rows: Vec<u32> = (0..1024).rev().chain([FRESH_ROW]).collect();
        optimizer.remap(["w"], 1024, &rows).unwrap();
        let after = optimizer.read_state();
        for ((_, old), (plane, new)) in before.params[0].planes().zip(after.params[0].planes()) {
            let expected: Vec<f32> = old.chunks(8).rev().flatten().copied().chain([0.0; 8]).collect();
            assert!(new == expected, "{plane}, {precision:?}");
        }
    }
}
