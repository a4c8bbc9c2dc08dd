//! One check: some steps on the GPU and on the CPU with the same gradients, and how far apart they end.

use std::error::Error;

use miadam::{Binding, MiAdam, Param, ParamGroup, ParamState, Plane, StatePrecision, cpu};
use miadam_support::gpu::Gpu;
use miadam_support::random::Random;
use miadam_support::values::Values;
use wgpu::{Buffer, BufferUsages};

use crate::checks::Check;

/// Around the quad (4), the workgroup (1024 elements) and the chunk (4096), and one with a tail.
const LENS: [usize; 6] = [1, 5, 1023, 1024, 4097, 40_003];
const STEPS: u32 = 12;

/// Both sides of a check. The tensors lie one after the other in two buffers.
struct Pair<'a> {
    gpu: &'a Gpu,
    check: &'a Check,
    buffers: [Buffer; 2],
    optimizer: MiAdam,
    twin: cpu::MiAdam,
    params: Vec<Values>,
}

impl Check {
    /// The largest difference, as a part of what is allowed.
    pub fn run(&self, gpu: &Gpu) -> Result<f32, Box<dyn Error>> {
        let mut random = Random(1);
        let mut pair = Pair::new(gpu, self, &mut random)?;
        let mut furthest: f32 = 0.0;
        for step in 1..=STEPS {
            let before = [pair.found()?, pair.expected()];
            pair.step(step, &mut random)?;
            if self.resumes && step == STEPS / 2 {
                pair.resume()?;
            }
            furthest = worst(furthest, self.apart(before, [pair.found()?, pair.expected()]));
            if self.options.zero && pair.gpu.read(&pair.buffers[1])?.iter().any(|byte| *byte != 0) {
                return Err(format!("gradients are left after step {step}").into());
            }
        }
        Ok(worst(furthest, pair.states_apart()?))
    }

    /// How far apart the updates are, from all parameters before to all after, those of the GPU first.
    fn apart(&self, before: [Vec<f32>; 2], after: [Vec<f32>; 2]) -> f32 {
        if self.dtype.width() == 2 {
            return halves_apart(&after);
        }
        let updates = |side: usize| after[side].iter().zip(&before[side]).map(|(after, before)| after - before);
        let largest = updates(1).fold(0.0, |largest: f32, update| largest.max(update.abs()));
        let pairs = updates(0).zip(updates(1)).zip(&after[0]);
        // WGSL allows 2.5 units of the last place for a division and a root each, and 1 for each of a dozen other operations. Rounding
        // the parameter costs half a unit of its own, before and after, on either side.
        let parts = pairs.map(|((found, expected), param)| {
            (found - expected).abs() / (f32::EPSILON * (64.0 * largest + 2.0 * param.abs()).max(f32::MIN_POSITIVE))
        });
        furthest(parts, self.rounds_state())
    }

    /// Whether state is rounded at random.
    fn rounds_state(&self) -> bool {
        self.hyperparams.state_precision != StatePrecision::F32
    }
}

/// The worst of the differences. Where state is rounded at random, the last bit of a number may decide which way it goes: one in a hundred
/// may be further off than allowed.
fn furthest(parts: impl ExactSizeIterator<Item = f32>, rounds: bool) -> f32 {
    if !rounds {
        return parts.fold(0.0, worst);
    }
    let len = parts.len() as f32;
    parts.filter(|part| part.is_nan() || *part > 1.0).count() as f32 / (0.01 * len)
}

/// Halves may differ by a unit of the last place, where the number before the rounding lies between two of them. One in a hundred is
/// allowed to.
fn halves_apart([found, expected]: &[Vec<f32>; 2]) -> f32 {
    let pairs = || found.iter().zip(expected);
    let differ = pairs().filter(|(a, b)| a != b).count() as f32 / (0.01 * found.len() as f32);
    // A unit of bf16 is up to 2⁻⁷ of the number.
    let far = pairs().map(|(a, b)| (a - b).abs() / (b.abs() / 128.0).max(f32::MIN_POSITIVE)).fold(0.0, worst);
    worst(differ, far)
}

/// The larger. What is no number is worse than any.
fn worst(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::INFINITY } else { a.max(b) }
}

impl<'a> Pair<'a> {
    fn new(gpu: &'a Gpu, check: &'a Check, random: &mut Random) -> Result<Self, Box<dyn Error>> {
        let start: Vec<_> = LENS.map(|len| Values::new(check.dtype, &normals(random, len))).into();
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let size = place(check, LENS.len());
        let buffers = [gpu.buffer("parameters", size, usage)?, gpu.buffer("gradients", size, usage)?];
        for (number, values) in start.iter().enumerate() {
            gpu.write(&buffers[0], place(check, number), &values.bytes())?;
        }
        let names: Vec<_> = (0..LENS.len()).map(|number| number.to_string()).collect();
        let params = names.iter().zip(LENS).map(|(name, len)| Param::new(name, len).with_dtype(check.dtype));
        let group = ParamGroup::new(check.hyperparams.clone(), params);
        let bindings = names.iter().enumerate().map(|(number, name)| {
            let at = place(check, number);
            Binding::new(name, (&buffers[0], at), (&buffers[1], at)).with_grad_dtype(check.dtype)
        });
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group.clone()], bindings)?;
        let mut twin = cpu::MiAdam::new([group])?;
        optimizer.set_grad_options(check.options)?;
        twin.set_grad_options(check.options)?;
        Ok(Self { gpu, check, buffers, optimizer, twin, params: start })
    }

    fn step(&mut self, step: u32, random: &mut Random) -> Result<(), Box<dyn Error>> {
        let mut grads: Vec<_> = LENS.map(|len| normals(random, len)).into();
        if self.check.spoilt == Some(step) {
            grads[2][7] = f32::NAN;
        }
        let mut grads: Vec<_> = grads.iter().map(|grads| Values::new(self.check.dtype, grads)).collect();
        for (number, values) in grads.iter().enumerate() {
            self.gpu.write(&self.buffers[1], place(self.check, number), &values.bytes())?;
        }
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder)?;
        self.gpu.run(encoder)?;
        let names: Vec<_> = (0..LENS.len()).map(|number| number.to_string()).collect();
        let tensors = names.iter().zip(&mut self.params).zip(&mut grads);
        self.twin.step(tensors.map(|((name, param), grad)| cpu::Binding::new(name, param, grad)))?;
        Ok(())
    }

    /// Saves the GPU's optimizer, and loads it again.
    fn resume(&mut self) -> Result<(), Box<dyn Error>> {
        let mut encoder = self.gpu.encoder();
        let checkpoint = self.optimizer.read_checkpoint(&mut encoder, true)?;
        self.gpu.run(encoder)?;
        let bytes = checkpoint.wait()?.to_bytes()?;
        self.optimizer.load(&miadam::Checkpoint::from_bytes(&bytes)?)?;
        Ok(())
    }

    /// The GPU's parameters.
    fn found(&self) -> Result<Vec<f32>, Box<dyn Error>> {
        let bytes = self.gpu.read(&self.buffers[0])?;
        let values = LENS.into_iter().enumerate().flat_map(|(number, len)| {
            Values::from_bytes(self.check.dtype, &bytes[place(self.check, number) as usize..], len).single()
        });
        Ok(values.collect())
    }

    /// The CPU's.
    fn expected(&self) -> Vec<f32> {
        self.params.iter().flat_map(Values::single).collect()
    }

    /// How far apart moments and integrals are.
    fn states_apart(&self) -> Result<f32, Box<dyn Error>> {
        let mut encoder = self.gpu.encoder();
        let state = self.optimizer.read_state(&mut encoder)?;
        self.gpu.run(encoder)?;
        let (found, expected) = (state.wait()?, self.twin.read_state());
        if found.step != expected.step {
            return Err(format!("the GPU counts {} steps, the CPU {}", found.step, expected.step).into());
        }
        Ok(found.params.iter().zip(&expected.params).map(|(a, b)| self.planes_apart(a, b)).fold(0.0, worst))
    }

    fn planes_apart(&self, found: &ParamState, expected: &ParamState) -> f32 {
        let largest = |values: &[f32]| values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let second = expected.plane(Plane::SecondMoment).map_or(0.0, largest);
        let mut apart = 0.0;
        for ((plane, found), (_, expected)) in found.planes().zip(expected.planes()) {
            let scale = match plane {
                Plane::SecondMoment | Plane::MaxSecondMoment => second,
                // What adds up may be larger than the sum: up to the root of the second moment, or the largest sum.
                Plane::FirstMoment | Plane::Integral(_) => largest(expected).max(second.sqrt()),
                // A mean of parameters is about as far off as they are.
                Plane::Average => largest(expected),
                // Their rounding is compared.
                Plane::Master => continue,
            };
            // Three roundings a step at most.
            let allowed = (3 * STEPS) as f32 * f32::EPSILON * scale.max(f32::MIN_POSITIVE);
            let parts = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / allowed);
            let rounds = self.check.rounds_state() && found.len() >= StatePrecision::SMALLEST;
            apart = worst(apart, furthest(parts, rounds));
        }
        apart
    }
}

/// The first byte of a tensor in either buffer: on the grid of 16 bytes or off it, in turns.
fn place(check: &Check, number: usize) -> u64 {
    let before = |len: &usize| (check.dtype.width() * *len as u64).next_multiple_of(4) + 4;
    LENS[..number].iter().map(before).sum()
}

fn normals(random: &mut Random, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.normal()).collect()
}

#[cfg(test)]
mod tests {
    use miadam::{Dtype, Hyperparams};
    use miadam_support::adapter;

    use super::*;
    use crate::checks;

    fn named(name: &str) -> Check {
        checks::all().into_iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn a_few_checks_pass() {
        let Some(adapter) = adapter::for_test() else { return };
        let gpu = Gpu::open(&adapter, wgpu::Limits::default()).unwrap();
        for name in
            ["order 2, ExactGain", "clipping by norm", "bf16, random rounding", "gradients reset", "state in 8 bits"]
        {
            let furthest = named(name).run(&gpu).unwrap();
            assert!(furthest <= 1.0, "{name}: {furthest}");
        }
    }

    #[test]
    fn another_update_is_found() {
        let check = named("order 0");
        let (before, after) = (vec![1.0, 2.0], vec![1.01, 1.99]);
        let same = check.apart([before.clone(), before.clone()], [after.clone(), after.clone()]);
        assert_eq!(same, 0.0);
        // A ten-thousandth of the update.
        let other = check.apart([before.clone(), before.clone()], [vec![1.010_001, 1.99], after.clone()]);
        assert!(other > 1.0, "{other}");
        let none = check.apart([before.clone(), before], [vec![f32::NAN, 1.99], after]);
        assert!(none > 1.0);
    }

    #[test]
    fn state_that_is_rounded_otherwise_is_found() {
        let check = named("state in 8 bits");
        let before = vec![1.0; 1000];
        let with = |number: usize| {
            let mut other = vec![1.01; 1000];
            other[..number].fill(1.011);
            check.apart([before.clone(), before.clone()], [other, vec![1.01; 1000]])
        };
        assert!(with(10) <= 1.0, "one in a hundred");
        assert!(with(11) > 1.0, "more");
    }

    #[test]
    fn other_halves_are_found() {
        let check = Check { dtype: Dtype::Bf16, hyperparams: Hyperparams::default(), ..named("order 0") };
        let halves = vec![1.0_f32; 1000];
        let with = |number: usize, value: f32| {
            let mut other = halves.clone();
            other[..number].fill(value);
            check.apart([halves.clone(), halves.clone()], [other, halves.clone()])
        };
        assert!(with(5, 1.0 + 1.0 / 128.0) <= 1.0, "a few by one unit");
        assert!(with(20, 1.0 + 1.0 / 128.0) > 1.0, "many by one unit");
        assert!(with(1, 1.1) > 1.0, "one by far");
    }
}
