use std::borrow::Cow;

use miadam::{Binding, Dtype, GradOptions, Hyperparams, MiAdam, Param, ParamGroup, cpu};

use super::{Gpu, Random, Spot, Values};

/// The words of all buffers. They are compared as they are, so that nothing is rounded and NaN equals itself.
pub type Contents = Vec<Vec<u32>>;

/// The tensor's values at that place.
fn get(contents: &Contents, (buffer, at): (usize, usize), dtype: Dtype, len: usize) -> Values {
    Values::from_bytes(dtype, bytemuck::cast_slice(&contents[buffer][at..]), len)
}

pub fn put(contents: &mut Contents, (buffer, at): (usize, usize), values: &Values) {
    let bytes = values.bytes();
    bytemuck::cast_slice_mut::<_, u8>(&mut contents[buffer][at..])[..bytes.len()].copy_from_slice(&bytes);
}

fn floats(contents: &Contents, (buffer, at): (usize, usize), dtype: Dtype, len: usize) -> Cow<'_, [f32]> {
    match dtype {
        Dtype::F32 => Cow::Borrowed(bytemuck::cast_slice(&contents[buffer][at..][..len])),
        _ => Cow::Owned(get(contents, (buffer, at), dtype, len).single()),
    }
}

impl Spot {
    pub fn param_in<'a>(&self, contents: &'a Contents) -> Cow<'a, [f32]> {
        floats(contents, self.param, self.dtype, self.len)
    }

    pub fn grad_in<'a>(&self, contents: &'a Contents) -> Cow<'a, [f32]> {
        floats(contents, self.grad, self.grad_dtype, self.len)
    }

    /// In its own type.
    pub fn values_in(&self, contents: &Contents) -> Values {
        get(contents, self.param, self.dtype, self.len)
    }

    /// For the optimizer on the GPU.
    pub fn bind<'a>(&self, name: &'a str, buffers: &[wgpu::Buffer]) -> Binding<'a> {
        let [param, grad] = [self.param, self.grad].map(|(buffer, at)| (&buffers[buffer], 4 * at as u64));
        Binding::new(name, param, grad).with_grad_dtype(self.grad_dtype)
    }
}

/// Fills what belongs to no tensor; never written, or a test fails.
const SENTINEL: u32 = 0xa5a5_a5a5;

/// One GPU optimizer and its CPU twin over the same tensors, `tensor.0`, `tensor.1` and so on.
pub struct Rig {
    pub gpu: Gpu,
    pub optimizer: MiAdam,
    pub twin: cpu::MiAdam,
    pub buffers: Vec<wgpu::Buffer>,
    /// What the buffers should hold: the CPU twin's results among untouched contents.
    pub expected: Contents,
    pub spots: Vec<Spot>,
    pub names: Vec<String>,
}

impl Rig {
    /// `spots` in the order of their groups; the buffers' lengths in words.
    pub fn new(gpu: Gpu, groups: &[Hyperparams], buffer_lens: &[usize], spots: &[Spot], seed: u64) -> Self {
        let mut expected: Contents = buffer_lens.iter().map(|&len| vec![SENTINEL; len]).collect();
        let mut random = Random(seed);
        for spot in spots {
            // Small, so that rounding θ to f32 hides little of the update.
            let param: Vec<_> = (0..spot.len).map(|_| 0.01 * random.normal()).collect();
            put(&mut expected, spot.param, &Values::new(spot.dtype, &param));
            put(&mut expected, spot.grad, &Values::new(spot.grad_dtype, &vec![0.0; spot.len]));
        }
        let buffers: Vec<_> = expected.iter().map(|words| gpu.buffer_of(bytemuck::cast_slice(words))).collect();
        let names: Vec<_> = (0..spots.len()).map(|number| format!("tensor.{number}")).collect();
        let groups: Vec<_> = groups
            .iter()
            .enumerate()
            .map(|(group, hyperparams)| {
                let own = spots.iter().zip(&names).filter(|(spot, _)| spot.group == group);
                let params = own.map(|(spot, name)| Param::new(name, spot.len).with_dtype(spot.dtype));
                ParamGroup::new(hyperparams.clone(), params)
            })
            .collect();
        let twin = cpu::MiAdam::new(groups.clone()).unwrap();
        let bindings = spots.iter().zip(&names).map(|(spot, name)| spot.bind(name, &buffers));
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups, bindings).unwrap();
        Self { gpu, optimizer, twin, buffers, expected, spots: spots.to_vec(), names }
    }

    /// Tells the optimizer where all tensors lie, once more.
    pub fn rebind(&mut self) {
        let Self { optimizer, spots, names, buffers, .. } = self;
        optimizer.rebind(spots.iter().zip(names).map(|(spot, name)| spot.bind(name, buffers))).unwrap();
    }

    /// New gradients on both sides.
    pub fn set_grads(&mut self, mut value: impl FnMut() -> f32) {
        for spot in &self.spots {
            let grad: Vec<_> = (0..spot.len).map(|_| value()).collect();
            put(&mut self.expected, spot.grad, &Values::new(spot.grad_dtype, &grad));
        }
        (0..self.spots.len()).for_each(|number| self.write_grad(number));
    }

    /// One element of a gradient in `f32`, on both sides.
    pub fn set_grad(&mut self, number: usize, element: usize, value: f32) {
        let (buffer, at) = self.spots[number].grad;
        self.expected[buffer][at + element] = value.to_bits();
        self.write_grad(number);
    }

    /// Writes what is expected of a gradient to its buffer.
    fn write_grad(&self, number: usize) {
        let Spot { grad: (buffer, at), len, grad_dtype, .. } = self.spots[number];
        let words = (len * grad_dtype.width() as usize).div_ceil(4);
        let words = bytemuck::cast_slice(&self.expected[buffer][at..][..words]);
        self.gpu.queue.write_buffer(&self.buffers[buffer], 4 * at as u64, words);
    }

    /// The same parameter on both sides.
    pub fn set_param(&mut self, number: usize, value: f32) {
        let spot = self.spots[number];
        put(&mut self.expected, spot.param, &Values::new(spot.dtype, &vec![value; spot.len]));
        let (buffer, _) = spot.param;
        self.gpu.queue.write_buffer(&self.buffers[buffer], 0, bytemuck::cast_slice(&self.expected[buffer]));
    }

    /// The same options on both sides.
    pub fn set_grad_options(&mut self, options: GradOptions) {
        self.optimizer.set_grad_options(options).unwrap();
        self.twin.set_grad_options(options).unwrap();
    }

    /// One step on the CPU.
    pub fn step_twin(&mut self) {
        let of = |spot: &Spot| {
            let grad = get(&self.expected, spot.grad, spot.grad_dtype, spot.len);
            (spot.values_in(&self.expected), grad)
        };
        let mut tensors: Vec<_> = self.spots.iter().map(of).collect();
        let bindings = self.names.iter().zip(&mut tensors);
        self.twin.step(bindings.map(|(name, (param, grad))| cpu::Binding::new(name, param, grad))).unwrap();
        for (spot, (param, grad)) in self.spots.iter().zip(&tensors) {
            put(&mut self.expected, spot.param, param);
            put(&mut self.expected, spot.grad, grad);
        }
    }

    /// Swaps parameters and averages on the CPU.
    pub fn swap_twin(&mut self) {
        let mut params: Vec<_> = self.spots.iter().map(|spot| spot.values_in(&self.expected)).collect();
        let bindings = self.names.iter().zip(&mut params);
        let bindings = bindings.map(|(name, param)| cpu::Binding::new(name, param, &mut [0.0; 0]));
        self.twin.swap_averages(bindings.collect::<Vec<_>>()).unwrap();
        for (spot, param) in self.spots.iter().zip(&params) {
            put(&mut self.expected, spot.param, param);
        }
    }

    /// One step on the GPU, submitted.
    pub fn step_gpu(&mut self) {
        self.gpu.step(&mut self.optimizer);
    }

    /// Gradients and all that belongs to no tensor are as the twin leaves them.
    pub fn assert_untouched(&self, found: &Contents) {
        let mut expected = self.expected.clone();
        for spot in &self.spots {
            put(&mut expected, spot.param, &spot.values_in(found));
        }
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let touched = found.iter().zip(expected).position(|(found, expected)| found != expected);
            assert_eq!(touched, None, "buffer {number} is touched at this word");
        }
    }

    /// Buffers as they are on the device.
    pub fn found(&self) -> Contents {
        self.buffers.iter().map(|buffer| bytemuck::cast_vec(self.gpu.floats(buffer))).collect()
    }
}
