//! What needs a process of its own: a run that another process goes on with, and a device that is lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use miadam_burn::MiAdam;
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::{self, Checkpoint, Hyperparams, ParamGroup, cpu};

use crate::common::{ByPath, Mlp, Net, Twin, assert_bits, gpu, of_order, rate, values};

/// Where a child finds what it needs.
const DIR: &str = "MIADAM_BURN_TEST_DIR";

/// Runs a test of this binary in a process of its own.
fn child(test: &str, dir: &Path) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(DIR, dir).output().unwrap()
}

fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("miadam-burn-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn optimizer(device: &Device) -> MiAdam {
    MiAdamConfig::new(of_order(2, 5)).init(device).unwrap()
}

/// Gradients by formula: burn may tune its products in another way in another process.
struct Formula(usize, GradientsParams);

impl ModuleVisitor for Formula {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.shape();
        let number = |n: usize| ((n * 29 + self.0 * 17) % 41) as f32 / 20.0 - 1.0;
        let values = (0..shape.num_elements()).map(number).collect::<Vec<_>>();
        let device = param.val().device().without_autodiff();
        self.1.register(param.id, Tensor::<D>::from_data(TensorData::new(values, shape), &device));
    }
}

/// The second layer has its first gradient at step 4.
fn step(optimizer: &mut MiAdam, net: Mlp, step: usize) -> Mlp {
    let mut formula = Formula(step, GradientsParams::new());
    if step < 4 {
        net.first.visit(&mut formula);
    } else {
        net.visit(&mut formula);
    }
    optimizer.step(rate(step), net, formula.1).unwrap()
}

fn write(dir: &Path, values: &ByPath) {
    for (path, values) in values {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(dir.join(path), bytes).unwrap();
    }
}

fn read(dir: &Path, path: &str) -> Vec<f32> {
    std::fs::read(dir.join(path)).unwrap().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The module with the values of a folder.
struct FromDir<'a>(&'a Path, Vec<String>);

impl ModuleMapper for FromDir<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.1.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.1.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = read(self.0, &self.1.join("."));
        let device = param.val().device();
        param.map(|old| Tensor::from_data(TensorData::new(values, old.shape()), &device).require_grad())
    }
}

#[test]
fn another_process_goes_on_with_the_same_bits() {
    for device in [gpu(), Device::flex()] {
        let dir = dir("resumed");
        let (mut whole, mut net) = (optimizer(&device), Mlp::new(&device));
        for number in 0..3 {
            net = step(&mut whole, net, number);
        }
        whole.save(dir.join("optimizer.safetensors")).unwrap();
        write(&dir, &values(&net));
        std::fs::write(dir.join("device"), if device == Device::flex() { "flex" } else { "gpu" }).unwrap();
        for number in 3..8 {
            net = step(&mut whole, net, number);
        }
        let output = child("processes::the_other_process", &dir);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = values(&net);
        let found = expected.keys().map(|path| (path.clone(), read(&dir, path))).collect();
        assert_bits(&found, &expected, "resumed");
        let saved = Checkpoint::open(dir.join("optimizer.safetensors")).unwrap();
        assert!(saved == whole.checkpoint().unwrap());
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
#[ignore = "run by another_process_goes_on_with_the_same_bits"]
fn the_other_process() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let device = if std::fs::read(dir.join("device")).unwrap() == b"flex" { Device::flex() } else { gpu() };
    let mut net = Mlp::new(&device).map(&mut FromDir(&dir, Vec::new()));
    let mut optimizer = optimizer(&device);
    optimizer.load(dir.join("optimizer.safetensors")).unwrap();
    for number in 3..8 {
        net = step(&mut optimizer, net, number);
    }
    write(&dir, &values(&net));
    optimizer.save(dir.join("optimizer.safetensors")).unwrap();
}

#[test]
fn core_and_adapter_share_one_format() {
    for device in [gpu(), Device::flex()] {
        // From the adapter to the core.
        let (mut ours, mut net) = (optimizer(&device), Mlp::new(&device));
        for number in 4..6 {
            net = step(&mut ours, net, number);
        }
        let saved = Checkpoint::from_bytes(&ours.checkpoint().unwrap().to_bytes().unwrap()).unwrap();
        let hyperparams = Hyperparams { lr: rate(5), ..of_order(2, 5) };
        let params = values(&net);
        let group =
            ParamGroup::new(hyperparams, params.iter().map(|(path, values)| miadam::Param::new(path, values.len())));
        let mut core = cpu::MiAdam::new([group]).unwrap();
        core.load(&saved).unwrap();
        assert_eq!(core.read_checkpoint().step(), 2);

        // And back: the core's state after a step of its own.
        let mut twin = Twin { optimizer: core, params };
        let mut formula = Formula(6, GradientsParams::new());
        net.visit(&mut formula);
        twin.step(rate(6), &crate::common::gradients(&net, &formula.1));
        let mut again = optimizer(&device);
        again.load_checkpoint(twin.optimizer.read_checkpoint(), Default::default()).unwrap();
        again = {
            let dir = dir("format");
            write(&dir, &twin.params);
            let net = Mlp::new(&device).map(&mut FromDir(&dir, Vec::new()));
            std::fs::remove_dir_all(dir).unwrap();
            drop(step(&mut again, net, 7));
            again
        };
        assert_eq!(again.report().unwrap().step, 4);
        assert!(again.checkpoint().unwrap().states().iter().all(|state| state.step() == 4));
    }
}

#[test]
fn a_lost_device_is_an_error() {
    let dir = dir("lost");
    let output = child("processes::a_process_that_loses_its_device", &dir);
    std::fs::remove_dir_all(dir).unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("step: the device is lost"), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("report: the device is lost"), "{stdout}");
}

#[test]
#[ignore = "run by a_lost_device_is_an_error"]
fn a_process_that_loses_its_device() {
    let (device, setup) = crate::devices::another_with_setup();
    let (mut optimizer, net) = (optimizer(&device), Mlp::new(&device));
    let net = step(&mut optimizer, net, 4);
    let mut formula = Formula(5, GradientsParams::new());
    net.visit(&mut formula);
    device.sync().unwrap();
    setup.device.destroy();
    let refused = optimizer.step(rate(5), net, formula.1).unwrap_err();
    println!("step: {refused}");
    println!("report: {}", optimizer.report().unwrap_err());
    // burn's own drops after a loss are not ours to test.
    std::process::exit(0);
}
