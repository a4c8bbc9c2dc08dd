use miadam::{Binding, Checkpoint, Dtype, Hyperparams, MiAdam, Optimizer, OtherGrad, Param, ParamGroup, Slice, cpu};

use super::{Gpu, Values, gpu};

/// A parameter, and what it starts from once that is rounded to its type.
#[derive(Clone)]
pub struct Start {
    pub name: String,
    pub dtype: Dtype,
    pub values: Vec<f32>,
}

impl Start {
    fn param(&self) -> Param {
        Param::new(&self.name, self.values.len()).with_dtype(self.dtype)
    }
}

pub type Groups = Vec<(Hyperparams, Vec<Start>)>;

fn param_groups(groups: &Groups) -> Vec<ParamGroup> {
    let group = |(hyperparams, params): &(Hyperparams, Vec<Start>)| {
        ParamGroup::new(hyperparams.clone(), params.iter().map(Start::param))
    };
    groups.iter().map(group).collect()
}

/// An optimizer with its parameters, on either device.
pub trait Run: Sized {
    type Device: miadam::OnDevice;

    /// All parameters in one buffer, or each in its own. None where there is no device.
    fn new(groups: &Groups, pool: bool) -> Option<Self>;

    fn optimizer(&mut self) -> &mut Optimizer<Self::Device>;

    /// A step by these gradients, each of a parameter by its name.
    fn step(&mut self, grad: impl Fn(&str) -> Vec<f32>) {
        self.step_with_others(grad, &[]);
    }

    /// The same, where these gradients of others count.
    fn step_with_others(&mut self, grad: impl Fn(&str) -> Vec<f32>, others: &[Vec<f32>]);

    /// The same after the leader's step and by its verdict, to which these gradients were given.
    fn step_following(&mut self, leader: &Self, grad: impl Fn(&str) -> Vec<f32>);

    /// With the parameters in it.
    fn checkpoint(&self) -> Checkpoint;

    /// The parameters of a checkpoint.
    fn write_params(&mut self, checkpoint: &Checkpoint);

    /// State and parameters.
    fn load(&mut self, checkpoint: &Checkpoint) {
        self.optimizer().load(checkpoint).unwrap();
        self.write_params(checkpoint);
    }

    /// In the order of the groups.
    fn params(&self) -> Vec<Vec<f32>> {
        let checkpoint = self.checkpoint();
        let param = |state: &miadam::ParamState| {
            let (dtype, bytes) = checkpoint.param(&state.name).unwrap();
            Values::from_bytes(dtype, bytes, state.len()).single()
        };
        checkpoint.states().iter().map(param).collect()
    }
}

pub struct OnCpu {
    pub optimizer: cpu::MiAdam,
    params: Vec<(String, Values)>,
}

impl OnCpu {
    /// Swaps parameters and averages.
    pub fn swap(&mut self) {
        let bindings = self.params.iter_mut().map(|(name, param)| cpu::Binding::new(name, param, &mut [0.0; 0]));
        self.optimizer.swap_averages(bindings).unwrap();
    }
}

fn bindings<'a>(
    params: &'a mut [(String, Values)],
    grads: &'a mut [Vec<f32>],
) -> impl Iterator<Item = cpu::Binding<'a>> {
    params.iter_mut().zip(grads).map(|((name, param), grad)| cpu::Binding::new(name, param, grad))
}

impl Run for OnCpu {
    type Device = cpu::Cpu;

    fn new(groups: &Groups, _: bool) -> Option<Self> {
        let params = groups.iter().flat_map(|(_, params)| params);
        let params = params.map(|Start { name, dtype, values }| (name.clone(), Values::new(*dtype, values))).collect();
        Some(Self { optimizer: cpu::MiAdam::new(param_groups(groups)).unwrap(), params })
    }

    fn optimizer(&mut self) -> &mut cpu::MiAdam {
        &mut self.optimizer
    }

    fn step_with_others(&mut self, grad: impl Fn(&str) -> Vec<f32>, others: &[Vec<f32>]) {
        let Self { optimizer, params } = self;
        let mut grads: Vec<_> = params.iter().map(|(name, _)| grad(name)).collect();
        optimizer.step_with_others(bindings(params, &mut grads), others).unwrap();
    }

    fn step_following(&mut self, leader: &Self, grad: impl Fn(&str) -> Vec<f32>) {
        let Self { optimizer, params } = self;
        let mut grads: Vec<_> = params.iter().map(|(name, _)| grad(name)).collect();
        optimizer.step_following(&leader.optimizer.verdict(), bindings(params, &mut grads)).unwrap();
    }

    fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = self.optimizer.read_checkpoint();
        for (name, values) in &self.params {
            checkpoint.insert_param(name, &values.clone().as_mut()).unwrap();
        }
        checkpoint
    }

    fn write_params(&mut self, checkpoint: &Checkpoint) {
        for (name, values) in &mut self.params {
            checkpoint.copy_param(name, values).unwrap();
        }
    }
}

pub struct OnGpu {
    pub gpu: Gpu,
    pub optimizer: MiAdam,
    grads: Vec<(String, wgpu::Buffer)>,
}

impl OnGpu {
    pub fn on(gpu: Gpu, groups: &Groups, pool: bool) -> Self {
        let words = |Start { dtype, values, .. }: &Start| {
            let mut bytes = Values::new(*dtype, values).bytes();
            bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
            bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)
        };
        let starts: Vec<_> = groups.iter().flat_map(|(_, params)| params).collect();
        let pool = pool.then(|| gpu.buffer_of(&starts.iter().flat_map(|start| words(start)).collect::<Vec<_>>()));
        let (mut offset, mut slices, mut grads) = (0, Vec::new(), Vec::new());
        for start in &starts {
            let values = words(start);
            slices.push(match &pool {
                Some(pool) => Slice::new(pool, offset),
                None => Slice::from(&gpu.buffer_of(&values)),
            });
            offset += 4 * values.len() as u64;
            grads.push((start.name.clone(), gpu.buffer_of(&vec![0.0; start.values.len()])));
        }
        let bindings = slices.into_iter().zip(&grads).map(|(param, (name, grad))| Binding::new(name, param, grad));
        let bindings = bindings.map(|binding| binding.with_grad_dtype(Dtype::F32));
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, param_groups(groups), bindings).unwrap();
        Self { gpu, optimizer, grads }
    }
}

impl OnGpu {
    fn write_grads(&self, grad: impl Fn(&str) -> Vec<f32>) {
        for (name, buffer) in &self.grads {
            self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&grad(name)));
        }
    }
}

impl Run for OnGpu {
    type Device = miadam::Gpu;

    fn new(groups: &Groups, pool: bool) -> Option<Self> {
        Some(Self::on(gpu()?, groups, pool))
    }

    fn optimizer(&mut self) -> &mut MiAdam {
        &mut self.optimizer
    }

    fn step_with_others(&mut self, grad: impl Fn(&str) -> Vec<f32>, others: &[Vec<f32>]) {
        let others = others.iter().map(|grad| OtherGrad::new(&self.gpu.buffer_of(grad), grad.len()));
        self.optimizer.set_other_grads(others).unwrap();
        self.write_grads(grad);
        self.gpu.step(&mut self.optimizer);
    }

    fn step_following(&mut self, leader: &Self, grad: impl Fn(&str) -> Vec<f32>) {
        self.optimizer.follow(Some(leader.optimizer.loss_scale())).unwrap();
        self.write_grads(grad);
        self.gpu.step(&mut self.optimizer);
    }

    fn checkpoint(&self) -> Checkpoint {
        self.gpu.checkpoint(&self.optimizer, true)
    }

    fn write_params(&mut self, checkpoint: &Checkpoint) {
        self.optimizer.write_params(checkpoint).unwrap();
    }
}
