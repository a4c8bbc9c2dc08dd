//! All starts as one step, on both devices.

use miadam::wgpu::Limits;
use miadam_paper::flat_minima::contenders::{Contender, Rule};
use miadam_paper::flat_minima::landscapes::{Landscape, Point};
use miadam_paper::flat_minima::swarm::{Kernel, Place, Run, grid};
use miadam_paper::optimizers::{Adam, Optimizer, Tensor, Units};
use miadam_support::gpu::Gpu;

fn kernel() -> Option<Kernel> {
    Some(Kernel::new(Gpu::for_test(Limits::default())?).unwrap())
}

/// Starts that do not fill the last workgroup. None is on an axis, where a gradient is 0 but for rounding, of which Adam makes
/// whole steps.
fn starts(landscape: Landscape) -> Vec<Point> {
    grid(landscape, 12)
}

#[test]
fn a_grid_is_even_and_inside() {
    let grid = grid(Landscape::Wells, 4);
    assert_eq!(grid.len(), 16);
    assert_eq!([grid[0], grid[1], grid[15]], [[-3.75, -3.75], [-1.25, -3.75], [3.75, 3.75]]);
}

#[test]
fn gradients_on_the_gpu_are_those_of_the_formula() {
    let Some(kernel) = kernel() else { return };
    for landscape in Landscape::ALL {
        let starts = starts(landscape);
        for (start, found) in starts.iter().zip(kernel.gradients(landscape, &starts).unwrap()) {
            let start = start.map(|value| f64::from(value as f32));
            let expected = landscape.gradient(start);
            // WGSL lets cos be off by 2⁻¹¹, which ten times y multiplies; exp is far better.
            let tolerance = 5.0_f64.max(10.0 * start[1].abs()) / 2048.0 + 1e-5;
            for axis in [0, 1] {
                let error = (found[axis] - expected[axis]).abs();
                assert!(error < tolerance, "{landscape:?} at {start:?}: {found:?}, not {expected:?}");
            }
        }
    }
}

fn contenders() -> Vec<Contender> {
    vec![
        Contender::adam("Adam", 0.05, 0.9),
        Contender::miadam(Rule::Unit, 3, 0.05, 6),
        Contender::same_step_and_lag(Rule::Paper, 2, 0.05, 6),
    ]
}

#[test]
fn both_devices_go_the_same_way() {
    let Some(kernel) = kernel() else { return };
    let gpu = Place::Gpu(Box::new(kernel));
    for landscape in Landscape::ALL {
        let starts = starts(landscape);
        for contender in contenders() {
            let run = Run { landscape, contender: &contender, starts: &starts, watched: &[3, 10] };
            let [on_gpu, on_cpu] = [&gpu, &Place::Cpu].map(|place| place.run(&run).unwrap());
            assert_eq!(on_gpu.iter().map(Vec::len).collect::<Vec<_>>(), [144, 144]);
            for (found, expected) in on_gpu.as_flattened_points().zip(on_cpu.as_flattened_points()) {
                // Adam divides by the gradient's size, so that an error of the gradient moves a point by its share of the
                // step, 0.05; ten steps of a few per cent.
                let error = (found[0] - expected[0]).hypot(found[1] - expected[1]);
                assert!(error < 0.02, "{landscape:?}, {}: {found:?}, not {expected:?}", contender.name);
            }
        }
    }
}

trait Flat {
    fn as_flattened_points(&self) -> impl Iterator<Item = Point>;
}

impl Flat for Vec<Vec<Point>> {
    fn as_flattened_points(&self) -> impl Iterator<Item = Point> {
        self.iter().flatten().copied()
    }
}

#[test]
fn a_device_repeats_itself_to_the_bit() {
    let places = [Some(Place::Cpu), kernel().map(|kernel| Place::Gpu(Box::new(kernel)))];
    for place in places.into_iter().flatten() {
        let starts = starts(Landscape::Wells);
        let contender = Contender::miadam(Rule::Reference, 1, 0.1, 21);
        let run = Run { landscape: Landscape::Wells, contender: &contender, starts: &starts, watched: &[120] };
        assert_eq!(place.run(&run).unwrap(), place.run(&run).unwrap());
    }
}

#[test]
fn order_0_is_the_baselines_adam() {
    let starts = starts(Landscape::Waves);
    let contender = Contender::adam("Adam", 0.05, 0.9);
    let run = Run { landscape: Landscape::Waves, contender: &contender, starts: &starts, watched: &[20] };
    let ends = Place::Cpu.run(&run).unwrap();
    let mut values: Vec<f32> = starts.as_flattened().iter().map(|&value| value as f32).collect();
    let mut adam = Adam::new(0.9);
    for _ in 0..20 {
        let points = values.as_chunks::<2>().0.iter().map(|pair| Landscape::Waves.gradient(pair.map(f64::from)));
        let mut grads: Vec<f32> = points.flatten().map(|value| value as f32).collect();
        let tensor = Tensor { name: "points", values: &mut values, grads: &mut grads, units: Units::None };
        adam.step(0.05, &mut [tensor]).unwrap();
    }
    for (found, expected) in ends[0].as_flattened().iter().zip(values) {
        // Roundings of f32, which a steep wall may multiply.
        assert!((found - f64::from(expected)).abs() < 1e-3, "{found}, not {expected}");
    }
}

#[test]
fn a_control_changes_at_the_switch_and_not_before() {
    let starts = [[4.5, 4.5]];
    let control = Contender::until("slow, then Adam", [1e-9, 0.9], 0.1, 11);
    let run = Run { landscape: Landscape::Wells, contender: &control, starts: &starts, watched: &[10, 11] };
    let seen = Place::Cpu.run(&run).unwrap();
    assert!((seen[0][0][0] - 4.5).abs() < 1e-6, "it stands still before");
    assert!((seen[1][0][0] - 4.5).abs() > 0.05, "and goes on after");
}
