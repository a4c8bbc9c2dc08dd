//! Both trainers on the GPU. They share the digits and take the same batches.

#[path = "../../../examples/mlp_mnist/gpu/kernels.rs"]
mod kernels;

use miadam::wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePassDescriptor, ComputePipeline};
use miadam::{Binding, Checkpoint, Dtype, MiAdam, ParamGroup};

use super::Gpu;
use crate::Result;
use crate::cpu::CLASSES_PADDED;
use crate::digits::{BATCH, Digits};
use crate::mnist::network::{CLASSES, INPUTS, Score, Weights};
use crate::settings::Settings;
use kernels::{BATCH_BYTES, Kernels};

/// Batches of a submit, at most.
pub const BURST: usize = 16;
/// Bytes from one `Batch` to the next.
const STRIDE: usize = 256;
/// A label of no class: no probability is lowered by 1.
const NO_LABEL: u32 = 15;

pub struct GpuPair {
    gpu: Gpu,
    kernels: Kernels,
    quads: usize,
    /// The digits, and room for one that is drawn.
    images: Buffer,
    slots: Buffer,
    batches: Buffer,
    trainers: [GpuTrainer; 2],
}

struct GpuTrainer {
    optimizer: MiAdam,
    params: Buffer,
    dlogits: Buffer,
    totals: Buffer,
    bindings: BindGroup,
    own: Vec<Buffer>,
}

/// A batch: 16·image + label for each of its rows.
type Rows = Vec<u32>;

impl GpuPair {
    pub async fn new(gpu: Gpu, settings: &Settings, weights: &Weights, digits: &Digits) -> Result<Self> {
        let quads = weights.hidden() / 4;
        let kernels = Kernels::new(&gpu.device, quads, Dtype::F32, false);
        let mut images = digits.images.clone();
        images.resize(images.len() + INPUTS, 0);
        let images = gpu.buffer_with("images", &images, BufferUsages::STORAGE);
        let usage = BufferUsages::COPY_DST;
        let slots = gpu.buffer("samples", (4 * BURST * BATCH) as u64, usage | BufferUsages::STORAGE);
        let batches = gpu.buffer("batches", (BURST * STRIDE) as u64, usage | BufferUsages::UNIFORM);
        let mut pool: Vec<f32> = weights.tensors().concat();
        pool.resize(pool.len() + CLASSES_PADDED - CLASSES, 0.0);
        let mut lens = weights.tensors().map(<[f32]>::len);
        lens[3] = CLASSES_PADDED;
        let shared = [&batches, &images, &slots];
        let [adam, miadam] = settings.groups(lens);
        let trainers = [
            GpuTrainer::new(&gpu, &kernels, shared, &pool, lens, adam).await?,
            GpuTrainer::new(&gpu, &kernels, shared, &pool, lens, miadam).await?,
        ];
        gpu.check()?;
        Ok(Self { gpu, kernels, quads, images, slots, batches, trainers })
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// A step of each trainer by each of these batches, at most [`BURST`]. Gives their sums.
    pub async fn train(&mut self, digits: &Digits, batches: &[Vec<u32>]) -> Result<[Score; 2]> {
        let batches: Vec<Rows> = batches.iter().map(|batch| labelled(digits, batch)).collect();
        self.run(&batches, true).await
    }

    /// The sums over the digits held out.
    pub async fn test(&mut self, digits: &Digits) -> Result<[Score; 2]> {
        let samples: Vec<u32> = digits.test().map(|sample| sample as u32).collect();
        let batches: Vec<Rows> = samples.chunks(BATCH).map(|batch| labelled(digits, batch)).collect();
        let mut sums = [Score::default(); 2];
        for burst in batches.chunks(BURST) {
            for (sum, score) in sums.iter_mut().zip(self.run(burst, false).await?) {
                sum.add(score);
            }
        }
        Ok(sums)
    }

    /// The probabilities that each network gives the classes.
    pub async fn predict(&mut self, pixels: &[u8]) -> Result<[[f32; CLASSES]; 2]> {
        let place = self.images.size() - INPUTS as u64;
        self.gpu.queue.write_buffer(&self.images, place, pixels);
        let image = (place / INPUTS as u64) as u32;
        let encoder = self.record(&[vec![16 * image + NO_LABEL]], false)?;
        let [adam, miadam] = &self.trainers;
        let found = self.gpu.run_and_read(encoder, &[&adam.dlogits, &miadam.dlogits]).await?;
        let rows = [0, found.len() / 2];
        Ok(rows.map(|row| std::array::from_fn(|class| found[row + class])))
    }

    async fn run(&mut self, batches: &[Rows], trains: bool) -> Result<[Score; 2]> {
        let encoder = self.record(batches, trains)?;
        let [adam, miadam] = &self.trainers;
        let found = self.gpu.run_and_read(encoder, &[&adam.totals, &miadam.totals]).await?;
        let sum = |totals: &[f32]| {
            let mut sum = Score::default();
            for &[loss, accuracy] in totals.as_chunks().0 {
                sum.add(Score { loss: loss.into(), accuracy: accuracy.into() });
            }
            sum
        };
        let (adam, miadam) = found.split_at(found.len() / 2);
        Ok([sum(adam), sum(miadam)])
    }

    fn record(&mut self, batches: &[Rows], trains: bool) -> Result<CommandEncoder> {
        self.gpu.check()?;
        let (mut slots, mut uniforms) = (Vec::new(), vec![0_u8; batches.len() * STRIDE]);
        for (rows, uniform) in batches.iter().zip(uniforms.chunks_exact_mut(STRIDE)) {
            let batch = [slots.len() as u32, rows.len() as u32];
            uniform[..BATCH_BYTES].copy_from_slice(bytemuck::cast_slice(&batch));
            slots.extend(rows);
            slots.resize(slots.len().next_multiple_of(8), 0);
        }
        self.gpu.queue.write_buffer(&self.slots, 0, bytemuck::cast_slice(&slots));
        self.gpu.queue.write_buffer(&self.batches, 0, &uniforms);
        let Self { gpu, kernels, quads, trainers, .. } = self;
        let mut encoder = gpu.encoder();
        for trainer in trainers {
            trainer.record(gpu, kernels, *quads, &mut encoder, batches, trains)?;
        }
        Ok(encoder)
    }

    pub async fn checkpoints(&self) -> Result<[Checkpoint; 2]> {
        let [adam, miadam] = &self.trainers;
        Ok([adam.checkpoint(&self.gpu).await?, miadam.checkpoint(&self.gpu).await?])
    }

    pub async fn load(&mut self, checkpoints: &[Checkpoint; 2]) -> Result<()> {
        for (trainer, checkpoint) in self.trainers.iter_mut().zip(checkpoints) {
            let loaded = trainer.optimizer.load_async(checkpoint).await;
            loaded.map_err(|error| self.gpu.explain(error))?;
            let written = trainer.optimizer.write_params_async(checkpoint).await;
            written.map_err(|error| self.gpu.explain(error))?;
        }
        self.gpu.check()
    }
}

/// A browser frees what is dropped when it pleases, and what is destroyed at once.
impl Drop for GpuPair {
    fn drop(&mut self) {
        let shared = [&self.images, &self.slots, &self.batches];
        let own = self.trainers.iter().flat_map(|GpuTrainer { params, dlogits, totals, own, .. }| {
            [params, dlogits, totals].into_iter().chain(own)
        });
        shared.into_iter().chain(own).for_each(Buffer::destroy);
        // Nothing of the run is left, and a browser gives a page only so many devices.
        self.gpu.device.destroy();
    }
}

fn labelled(digits: &Digits, batch: &[u32]) -> Rows {
    batch.iter().map(|&sample| 16 * sample + u32::from(digits.labels[sample as usize])).collect()
}

impl GpuTrainer {
    async fn new(
        gpu: &Gpu,
        kernels: &Kernels,
        shared: [&Buffer; 3],
        pool: &[f32],
        lens: [usize; 4],
        group: ParamGroup,
    ) -> Result<Self> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let buffer = |label, elements: usize| gpu.buffer(label, 4 * elements as u64, usage);
        let params = gpu.buffer_with("params", bytemuck::cast_slice(pool), usage);
        let [hidden, dhidden] = ["hidden", "dhidden"].map(|label| buffer(label, BATCH * lens[1]));
        let (dlogits, grads) = (buffer("dlogits", BATCH * CLASSES_PADDED), buffer("grads", pool.len()));
        let totals = buffer("totals", 2 * BATCH);

        let mut offset = 0;
        let bindings = Weights::NAMES.into_iter().zip(lens).map(|(name, len)| {
            let binding = Binding::new(name, (&params, offset), (&grads, offset));
            offset += 4 * len as u64;
            binding
        });
        let bindings: Vec<_> = bindings.collect();
        let optimizer = MiAdam::new_async(&gpu.device, &gpu.queue, [group], bindings).await;
        let mut optimizer = optimizer.map_err(|error| gpu.explain(error))?;
        optimizer.prepare_async().await.map_err(|error| gpu.explain(error))?;
        let [batches, images, slots] = shared;
        let scale = optimizer.loss_scale();
        let bound = [batches, images, slots, &params, &hidden, &dlogits, &dhidden, &grads, &totals, scale];
        let bindings = kernels.bind(&gpu.device, bound);
        Ok(Self { optimizer, params, dlogits, totals, bindings, own: vec![hidden, dhidden, grads] })
    }

    fn record(
        &mut self,
        gpu: &Gpu,
        kernels: &Kernels,
        quads: usize,
        encoder: &mut CommandEncoder,
        batches: &[Rows],
        trains: bool,
    ) -> Result<()> {
        encoder.clear_buffer(&self.totals, 0, None);
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        for (number, batch) in batches.iter().enumerate() {
            pass.set_bind_group(0, &self.bindings, &[(number * STRIDE) as u32]);
            let mut run = |pipeline: &ComputePipeline, workgroups: usize| {
                pass.set_pipeline(pipeline);
                pass.dispatch_workgroups(workgroups as u32, 1, 1);
            };
            let rows = batch.len().next_multiple_of(8);
            run(&kernels.forward, (rows / 8 * (quads / 2)).div_ceil(32));
            run(&kernels.classify, rows / 8);
            if trains {
                run(&kernels.backward, (rows / 4 * quads).div_ceil(64));
                run(&kernels.gradient1, (INPUTS / 16 * (quads / 2)).div_ceil(32));
                run(&kernels.gradient2, (quads + 1).div_ceil(8));
                self.optimizer.step_in_pass(&mut pass).map_err(|error| gpu.explain(error))?;
            }
        }
        Ok(())
    }

    async fn checkpoint(&self, gpu: &Gpu) -> Result<Checkpoint> {
        let mut encoder = gpu.encoder();
        let checkpoint = self.optimizer.read_checkpoint(&mut encoder, true).map_err(|error| gpu.explain(error))?;
        gpu.queue.submit([encoder.finish()]);
        checkpoint.await.map_err(|error| gpu.explain(error))
    }
}
