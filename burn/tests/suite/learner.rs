//! The whole-module optimizer in burn-train's `Learner`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::LossMetric;
use burn::train::{
    ExecutionStrategy, InferenceStep, Learner, MultiDeviceOptim, RegressionOutput, SupervisedTraining, TrainOutput,
    TrainStep,
};
use miadam_burn::miadam::{Checkpoint, GradOptions, Hyperparams, StepScale, WeightDecay};
use miadam_burn::{MiAdam, MiAdamConfig, learner};

const LR: f64 = 0.01;

#[derive(Module, Debug)]
struct Model {
    first: Linear,
    second: Linear,
}

#[derive(Clone, Debug)]
struct Batch {
    input: Tensor<2>,
    target: Tensor<2>,
}

struct Stacked;

impl Batcher<usize, Batch> for Stacked {
    fn batch(&self, items: Vec<usize>, device: &Device) -> Batch {
        let values = |width: usize, seed: usize| {
            let all = items.iter().flat_map(|item| (0..width).map(move |n| ((item * 31 + n * 7 + seed) as f32).sin()));
            Tensor::from_data(TensorData::new(all.collect::<Vec<_>>(), [items.len(), width]), device)
        };
        Batch { input: values(4, 1), target: values(2, 5) }
    }
}

impl Model {
    fn new(device: &Device) -> Self {
        let device = device.clone().autodiff();
        let [first, second] = [[4, 8], [8, 2]].map(|[from, to]| {
            let values = (0..from * to).map(|n| ((n * 37 % 23) as f32 - 11.0) / 40.0).collect::<Vec<_>>();
            let mut layer = LinearConfig::new(from, to).init(&device);
            layer.weight = Param::from_data(TensorData::new(values, [from, to]), &device);
            layer.bias = Some(Param::from_data(TensorData::new(vec![0.1_f32; to], [to]), &device));
            layer
        });
        Self { first, second }
    }

    fn forward(&self, batch: Batch) -> RegressionOutput {
        let output = self.second.forward(self.first.forward(batch.input).tanh());
        let loss = (output.clone() - batch.target.clone()).square().mean();
        RegressionOutput::new(loss, output, batch.target)
    }

    fn bits(&self) -> Vec<u32> {
        let mut bits = Vec::new();
        for layer in [&self.first, &self.second] {
            for data in [layer.weight.val().into_data(), layer.bias.as_ref().unwrap().val().into_data()] {
                bits.extend(data.try_to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
            }
        }
        bits
    }
}

impl TrainStep for Model {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let output = self.forward(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        learner::optimize(optim, lr, self, grads)
    }

    fn optimize_multi(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: MultiGradientsParams) -> Self {
        learner::optimize_multi(optim, lr, self, grads)
    }
}

impl InferenceStep for Model {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.forward(batch)
    }
}

fn config() -> MiAdamConfig {
    let hyperparams = Hyperparams {
        order: 2,
        step_scale: StepScale::ExactGain,
        switch_step: 7,
        weight_decay: WeightDecay::Decoupled(0.1),
        ..Hyperparams::default()
    };
    MiAdamConfig::new(hyperparams).with_grad_options(GradOptions { clip_norm: Some(0.5), ..GradOptions::default() })
}

/// Ten items in batches of two: five steps an epoch.
fn loader() -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(Stacked).batch_size(2).build(InMemDataset::new((0..10).collect()))
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("miadam-burn-{name}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn training(folder: &Path, epochs: usize) -> SupervisedTraining<Model> {
    SupervisedTraining::new(folder, loader(), loader())
        .num_epochs(epochs)
        .with_default_checkpointers()
        .with_metric_logger(InMemoryMetricLogger::new())
        .metric_train_numeric(LossMetric::new())
        .metric_valid_numeric(LossMetric::new())
        .with_application_logger(None)
}

fn learner(device: &Device) -> Learner<Model> {
    Learner::new(Model::new(device), config().init_learner(device).unwrap(), ConstantLr::new(LR))
}

/// The same in a loop of one's own.
fn plain(device: &Device, epochs: usize) -> (Model, MiAdam) {
    let (mut model, mut optimizer) = (Model::new(device), config().init(device).unwrap());
    for _ in 0..epochs {
        for batch in loader().to_device(&device.clone().autodiff()).iter() {
            let grads = TrainStep::step(&model, batch.unwrap()).grads;
            model = optimizer.step(LR, model, grads).unwrap();
        }
    }
    (model, optimizer)
}

fn resumes(device: &Device, name: &str) {
    let whole = Folder::new(&format!("{name}-whole"));
    let wanted = training(&whole.0, 2).launch(learner(device)).model.bits();
    assert_eq!(wanted, plain(device, 2).0.bits(), "a loop of one's own");

    let halves = Folder::new(&format!("{name}-halves"));
    let half = training(&halves.0, 1).launch(learner(device)).model.bits();
    assert_ne!(half, wanted);
    let resumed = training(&halves.0, 2).checkpoint(1).launch(learner(device)).model.bits();
    assert_eq!(resumed, wanted, "resumed");
}

#[test]
fn a_resumed_training_has_the_same_bits() {
    ready();
    resumes(&Device::flex(), "flex");
}

#[cfg(feature = "wgpu")]
#[test]
fn a_resumed_training_has_the_same_bits_on_wgpu() {
    resumes(&crate::common::gpu(), "wgpu");
}

/// The training over two wgpu devices, whose batches are added up before each step.
#[cfg(feature = "wgpu")]
fn shared(folder: &Path, epochs: usize, optim: MultiDeviceOptim) -> SupervisedTraining<Model> {
    let devices = crate::devices::devices().to_vec();
    training(folder, epochs).with_training_strategy(ExecutionStrategy::MultiDevice(devices, optim).into())
}

/// The optimizer on these devices. A norm over several is refused, so there is none here.
#[cfg(feature = "wgpu")]
fn learner_over(devices: &[Device]) -> Learner<Model> {
    let optim = config().with_grad_options(GradOptions::default()).init_learner_multi(devices).unwrap();
    Learner::new(Model::new(&devices[0]), optim, ConstantLr::new(LR))
}

#[cfg(feature = "wgpu")]
#[test]
fn a_training_over_two_devices_resumes_to_the_bit_and_is_that_of_one_within_rounding() {
    ready();
    let devices = crate::devices::devices();
    let whole = Folder::new("two-whole");
    let wanted = shared(&whole.0, 2, MultiDeviceOptim::OptimSharded).launch(learner_over(devices)).model.bits();

    let halves = Folder::new("two-halves");
    let half = shared(&halves.0, 1, MultiDeviceOptim::OptimSharded).launch(learner_over(devices)).model.bits();
    assert_ne!(half, wanted);
    let resumed = shared(&halves.0, 2, MultiDeviceOptim::OptimSharded).checkpoint(1).launch(learner_over(devices));
    assert_eq!(resumed.model.bits(), wanted, "resumed");

    // The main device steps for both.
    let main = Folder::new("two-main");
    let one = shared(&main.0, 2, MultiDeviceOptim::OptimMainDevice).launch(learner_over(&devices[..1])).model.bits();
    let start = Model::new(&devices[0]).bits();
    for ((&sharded, one), start) in wanted.iter().zip(one).zip(start) {
        let [sharded, one, start] = [sharded, one, start].map(f32::from_bits);
        // Gradients are added up in another order, and Adam divides by their size. A weight moves by up to lr at each step.
        assert!((sharded - one).abs() < 1e-3 * LR as f32, "{sharded}, not {one}, from {start}");
        assert!((sharded - start).abs() > 1e-3 * LR as f32, "{sharded} has not moved");
    }
}

/// burn loads records on its default device, and makes that device for it.
fn ready() {
    #[cfg(feature = "wgpu")]
    crate::common::gpu();
}

fn step(model: Model, optim: &mut ModuleOptimizer) -> Model {
    let device = model.devices()[0].clone();
    let grads = TrainStep::step(&model, Stacked.batch(vec![1, 2], &device)).grads;
    model.optimize(optim, LR.into(), grads)
}

#[test]
fn a_clone_has_a_state_of_its_own() {
    ready();
    let device = Device::flex();
    let mut optim = config().init_learner(&device).unwrap();
    let model = step(Model::new(&device), &mut optim);
    let mut copy = optim.clone();
    let wanted = step(step(model.clone(), &mut copy), &mut copy).bits();
    // The steps of the copy were none of the original.
    let again = step(step(model, &mut optim), &mut optim).bits();
    assert_eq!(again, wanted);
}

#[test]
fn a_record_before_the_first_step_is_fresh() {
    ready();
    let device = Device::flex();
    let mut optim = config().init_learner(&device).unwrap();
    let wanted = step(Model::new(&device), &mut optim).bits();
    let mut untouched = config().init_learner(&device).unwrap();
    learner::with(&mut untouched, |optimizer| assert_eq!(optimizer.state_bytes(), 0));
    let mut resumed = config().init_learner(&device).unwrap().load_record(untouched.to_record());
    assert_eq!(step(Model::new(&device), &mut resumed).bits(), wanted);
}

#[test]
fn the_record_holds_the_checkpoint_of_the_core() {
    ready();
    let device = Device::flex();
    let mut optim = config().init_learner(&device).unwrap();
    let model = step(Model::new(&device), &mut optim);
    // A record that was loaded can be saved again before a step.
    let bytes = optim.into_bytes().unwrap();
    let mut resumed = config().init_learner(&device).unwrap().from_bytes(bytes).unwrap();
    let mut resumed = config().init_learner(&device).unwrap().load_record(resumed_record(&mut resumed));
    let _ = step(model, &mut resumed);
    let checkpoint: Checkpoint = learner::with(&mut resumed, |optimizer| optimizer.checkpoint()).unwrap();
    assert_eq!(checkpoint.step(), 2);
    let names: Vec<_> = checkpoint.groups().flat_map(|(_, names)| names).collect();
    assert_eq!(names, ["first.weight", "first.bias", "second.weight", "second.bias"]);
}

/// Its record once it is ready, and has taken no step.
fn resumed_record(optim: &mut ModuleOptimizer) -> burn::optim::OptimizerRecord {
    learner::with(optim, |_| ());
    optim.to_record()
}

/// The message of a panic.
fn message<T>(act: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(act)).err().expect("it panics");
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| (*payload.downcast_ref::<&str>().unwrap()).to_owned())
}

#[test]
fn misuse_is_named() {
    ready();
    let device = Device::flex();
    let whole = || config().init_learner(&device).unwrap();
    let model = || Model::new(&device);
    let grads = |model: &Model| TrainStep::step(model, Stacked.batch(vec![1, 2], &model.devices()[0])).grads;

    let adam = message(|| step(model(), &mut AdamConfig::new().init()));
    assert!(adam.contains("not made by `MiAdamConfig::init_learner`"), "{adam}");

    let clipped = message(|| step(model(), &mut whole().with_grad_clipping(GradientClippingConfig::Norm(1.0).init())));
    assert!(clipped.contains("`clip_norm`"), "{clipped}");

    let (own, mut optim) = (model(), whole());
    let own_grads = grads(&own);
    let not_overridden = message(|| optim.step(LR, own, own_grads));
    assert!(not_overridden.contains("`miadam_burn::learner::optimize`"), "{not_overridden}");

    let mut adam = AdamConfig::new().init();
    let own = model();
    let own_grads = grads(&own);
    let _ = adam.step(LR, own, own_grads);
    let foreign = message(|| whole().load_record(adam.to_record()));
    assert!(foreign.contains("another optimizer"), "{foreign}");

    let mut optim = whole();
    let other = grads(&model());
    let failed = message(|| learner::optimize(&mut optim, LR, model(), other));
    assert!(failed.contains("gradients are of no parameter of this module"), "{failed}");
    // The optimizer goes on.
    let _ = step(model(), &mut optim);
}
