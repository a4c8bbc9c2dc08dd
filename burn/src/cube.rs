//! The one file that touches burn's insides: from tensors to the wgpu buffers behind them, and back.
//!
//! burn's wgpu backend is cubecl, with or without burn-fusion around it. cubecl records launches and submits them later, moves
//! tensors about in pools, and counts who holds a tensor. A tensor may be written in place only if nobody else holds it, and
//! once no launch that still waits holds its address. Everything here follows from that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::backend::Device as _;
use burn::tensor::Tensor;
use burn::tensor::kind::BridgeTensor;
use burn::tensor::wgpu::WgpuSetup;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{Cube, CubeBackend, CubeDevice};
use burn_fusion::custom::{CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr};
use burn_fusion::{Fusion, FusionBackend, FusionTensor};
use cubecl::device_handle::DeviceHandle;
use cubecl::server::{BufferBinding, Server, ServerStorage};
use cubecl::wgpu::{AutoCompiler, WgpuServer};
use miadam::Slice;

use crate::copies::{self, Copy};
use crate::error::Error;
use crate::order::Order;

type Runtime = WgpuServer<AutoCompiler>;

/// The place of a tensor, which stays there as long as this lives.
struct Located {
    slice: Slice,
    bytes: u64,
    _binding: BufferBinding,
}

impl Located {
    fn copy_to(&self, to: &Self) -> Copy {
        Copy { from: self.slice.clone(), to: to.slice.clone(), bytes: self.bytes.next_multiple_of(4) }
    }
}

/// Tensors that are written, and tensors that are only read.
pub struct Tensors<T> {
    pub written: Vec<T>,
    pub read: Vec<T>,
}

type Work = Box<dyn FnOnce(&Tensors<Slice>, &[Order]) -> Result<(), Error> + Send>;

/// What is done with the buffers of tensors.
pub struct Job {
    /// The device that the tensors are on.
    pub setup: WgpuSetup,
    /// The order of the elements of each written tensor, and of the one that is read beside it. Where it is none, it is that of
    /// the tensor that is read.
    pub orders: Vec<Option<Order>>,
    /// What happens, with the orders, once all that burn queued before has been submitted.
    pub work: Work,
}

/// Runs a job on the buffers of tensors, in the order of burn's own operations. It gives the written ones back, whether the work
/// is done or not.
pub fn run(tensors: Tensors<BridgeTensor>, job: Job) -> (Vec<BridgeTensor>, Result<(), Error>) {
    let primitive = |tensor: BridgeTensor| match Tensor::<1>::from_bridge(tensor).try_into_primitive::<Cube>() {
        Ok(tensor) => Ok(tensor),
        Err(error) => Err(Error::Burn(format!("{error:?}"))),
    };
    let primitives = |tensors: Vec<BridgeTensor>| tensors.into_iter().map(primitive).collect::<Result<Vec<_>, Error>>();
    let (written, result) = match (primitives(tensors.written), primitives(tensors.read)) {
        (Ok(written), Ok(read)) => Cube::run(Tensors { written, read }, job),
        (Ok(written), Err(error)) => (written, Err(error)),
        (Err(error), _) => (Vec::new(), Err(error)),
    };
    (written.into_iter().map(|tensor| Tensor::<1>::from_primitive::<Cube>(tensor).into_bridge()).collect(), result)
}

/// burn's wgpu backend as it is compiled, with fusion or without it.
trait Backend: burn::backend::Backend {
    fn run(
        tensors: Tensors<Self::FloatTensorPrimitive>,
        job: Job,
    ) -> (Vec<Self::FloatTensorPrimitive>, Result<(), Error>);
}

impl Backend for CubeBackend {
    fn run(mut tensors: Tensors<CubeTensor>, job: Job) -> (Vec<CubeTensor>, Result<(), Error>) {
        let (start, count) = (Instant::now(), tensors.iter().count());
        let orders = arrange(&mut tensors, job.orders);
        let result = locate(&mut tensors).and_then(|(located, moved)| {
            let copies: Vec<_> = moved.iter().map(|(from, to)| from.copy_to(&located.written[*to])).collect();
            copies::submit(&job.setup, &copies);
            log::debug!("{count} tensors found in {:?}", start.elapsed());
            let slices = |located: &[Located]| located.iter().map(|located| located.slice.clone()).collect();
            (job.work)(&Tensors { written: slices(&located.written), read: slices(&located.read) }, &orders)
        });
        (tensors.written, result)
    }
}

/// With fusion, a tensor is a promise of burn's queue. One custom operation over all tensors takes its place in the queue, so
/// that nothing is resolved tensor by tensor.
impl<B: FusionBackend<FloatTensorPrimitive = CubeTensor>> Backend for Fusion<B> {
    fn run(
        tensors: Tensors<FusionTensor<B::FusionRuntime>>,
        job: Job,
    ) -> (Vec<FusionTensor<B::FusionRuntime>>, Result<(), Error>) {
        let Some(first) = tensors.written.first() else { return (Vec::new(), Ok(())) };
        let client = first.client.clone();
        let written = tensors.written.len();
        let inputs: Vec<_> = tensors.written.into_iter().chain(tensors.read).map(FusionTensor::into_ir).collect();
        let output =
            |input: &TensorIr| TensorIr::uninit(client.create_empty_handle(), input.shape.clone(), input.dtype);
        let outputs: Vec<_> = inputs[..written].iter().map(output).collect();
        let ir = OperationIr::Custom(CustomOpIr::new("miadam", &inputs, &outputs));

        let job = Arc::new(Mutex::new((Some(job), Ok(()))));
        let shared = job.clone();
        let operation = move |handles: &mut HandleContainer<_>| {
            let mut all = inputs.iter().map(|input| handles.get_float_tensor::<B>(input));
            let tensors = Tensors { written: all.by_ref().take(written).collect(), read: all.collect() };
            let (job, result) = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(job) = job.take() else { return Ok(()) };
            let (written, answer) = CubeBackend::run(tensors, job);
            *result = answer;
            for (tensor, output) in written.into_iter().zip(&outputs) {
                handles.register_float_tensor::<B>(&output.id, tensor);
            }
            Ok(())
        };
        let written = client.register(StreamId::current(), ir, OperationFn(operation));
        let ran = client.try_sync(|| ()).map_err(|error| Error::Burn(format!("{error:?}")));
        let (_, result) = &mut *job.lock().unwrap_or_else(PoisonError::into_inner);
        (written, ran.and(std::mem::replace(result, Ok(()))))
    }
}

impl<T> Tensors<T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.written.iter().chain(&self.read)
    }

    fn get_mut(&mut self, number: usize) -> &mut T {
        let written = self.written.len();
        if number < written { &mut self.written[number] } else { &mut self.read[number - written] }
    }
}

/// What cubecl's thread finds.
enum Found {
    /// Where everything lies, the sources of copies included.
    All(Tensors<Located>, Vec<Located>),
    /// The numbers of tensors that need a copy first.
    Shared(Vec<usize>),
    /// The numbers of copies whose sources do not start at a whole word.
    Odd(Vec<usize>),
}

/// Where all tensors lie, and from where which of them is still to be copied.
type Places = (Tensors<Located>, Vec<(Located, usize)>);

/// Puts each written tensor, and the one that is read beside it, in the same order of elements.
fn arrange(tensors: &mut Tensors<CubeTensor>, orders: Vec<Option<Order>>) -> Vec<Order> {
    let Tensors { written, read } = tensors;
    let arranged = written.iter_mut().zip(orders).enumerate().map(|(number, (written, order))| {
        let beside = read.get_mut(number).filter(|read| read.meta.shape() == written.meta.shape());
        let order =
            order.or_else(|| Order::of(beside.as_deref()?)).unwrap_or_else(|| Order::row_major(written.meta.shape()));
        for tensor in std::iter::once(written).chain(beside) {
            *tensor = order.apply(tensor.clone());
        }
        order
    });
    arranged.collect()
}

/// Finds where all tensors lie, those that are written where they may be. A tensor that somebody else holds, or that cannot be
/// bound as it is, becomes a copy. A copy of a written tensor is still to be made: from a place, to the tensor of a number.
fn locate(tensors: &mut Tensors<CubeTensor>) -> Result<Places, Error> {
    let Some(first) = tensors.written.first() else {
        return Ok((Tensors { written: Vec::new(), read: Vec::new() }, Vec::new()));
    };
    let CubeDevice::Wgpu(device) = &first.device else {
        return Err(Error::Burn(format!("{:?} is not a wgpu device", first.device)));
    };
    let server = DeviceHandle::<Runtime>::new(device.to_id());
    let mut moved: Vec<(CubeTensor, usize)> = Vec::new();
    // One round for what is shared, one for overlaps, one for odd places, and one that finds everything.
    for _ in 0..4 {
        let (all, sources) = (&*tensors, &*moved);
        let found = server.submit_blocking(move |server| find(server, all, sources));
        match found.map_err(|error| Error::Burn(format!("{error:?}")))?? {
            Found::All(located, sources) => {
                let numbers = moved.iter().map(|(_, number)| *number);
                return Ok((located, sources.into_iter().zip(numbers).collect()));
            }
            Found::Shared(numbers) => {
                for number in numbers {
                    let is_written = number < tensors.written.len();
                    let tensor = tensors.get_mut(number);
                    if is_written && bytes(tensor) > 0 {
                        let place = place_like(tensor);
                        moved.push((std::mem::replace(tensor, place), number));
                    } else {
                        *tensor = tensor.copy();
                    }
                }
            }
            Found::Odd(places) => {
                for place in places {
                    let (source, _) = &mut moved[place];
                    *source = source.copy();
                }
            }
        }
    }
    Err(Error::Burn("the copy of a tensor is shared".to_owned()))
}

fn bytes(tensor: &CubeTensor) -> u64 {
    (tensor.meta.shape().num_elements() * tensor.dtype.size()) as u64
}

/// Memory for a tensor without holes, in the same order of elements.
fn place_like(tensor: &CubeTensor) -> CubeTensor {
    let CubeTensor { client, meta, device, dtype, .. } = tensor;
    let memory = client.empty(bytes(tensor) as usize);
    CubeTensor::new(client.clone(), memory, (**meta).clone(), device.clone(), *dtype)
}

/// On cubecl's own thread, so that nothing comes between.
fn find(server: &mut Runtime, tensors: &Tensors<CubeTensor>, moved: &[(CubeTensor, usize)]) -> Result<Found, Error> {
    let report = |error| Error::Burn(format!("{error}"));
    let current = StreamId::current();
    let mut streams = vec![current];
    for tensor in tensors.iter().chain(moved.iter().map(|(tensor, _)| tensor)) {
        if !streams.contains(&tensor.handle.stream) {
            streams.push(tensor.handle.stream);
        }
    }
    for stream in streams {
        server.flush(stream).map_err(report)?;
    }
    let is_shared = |tensor: &CubeTensor| !tensor.handle.can_mut() || tensor.handle.memory.is_bound();
    let written = tensors.written.iter().enumerate();
    let shared: Vec<_> = written.filter(|(_, tensor)| is_shared(tensor)).map(|(number, _)| number).collect();
    if !shared.is_empty() {
        return Ok(Found::Shared(shared));
    }
    let mut find = |tensor: &CubeTensor| -> Result<Located, Error> {
        let binding = tensor.handle.clone().binding();
        let resource = server.get_resource(binding.clone(), current).map_err(report)?;
        let resource = resource.resource();
        let slice = Slice::new(&resource.buffer, resource.offset);
        Ok(Located { slice, bytes: bytes(tensor), _binding: binding })
    };
    let sources = moved.iter().map(|(tensor, _)| find(tensor)).collect::<Result<Vec<_>, Error>>()?;
    let odd = |(place, source): (usize, &Located)| (!source.slice.offset.is_multiple_of(4)).then_some(place);
    let odd: Vec<_> = sources.iter().enumerate().filter_map(odd).collect();
    if !odd.is_empty() {
        return Ok(Found::Odd(odd));
    }
    let mut find_all = |tensors: &[CubeTensor]| tensors.iter().map(&mut find).collect::<Result<Vec<_>, Error>>();
    let located = Tensors { written: find_all(&tensors.written)?, read: find_all(&tensors.read)? };
    let shared = unbindable(&located);
    Ok(if shared.is_empty() { Found::All(located, sources) } else { Found::Shared(shared) })
}

/// The numbers of tensors that overlap another one, as where a sum has passed one gradient on to two parameters, and of tensors
/// that do not start at a whole word.
fn unbindable(located: &Tensors<Located>) -> Vec<usize> {
    let mut ranges = Vec::new();
    let mut numbers = Vec::new();
    for (number, Located { slice: Slice { buffer, offset }, bytes, .. }) in located.iter().enumerate() {
        if !offset.is_multiple_of(4) {
            numbers.push(number);
        } else if *bytes > 0 {
            ranges.push((buffer, *offset, bytes.next_multiple_of(4), number));
        }
    }
    ranges.sort_by(|(a, start, ..), (b, next, ..)| a.cmp(b).then(start.cmp(next)));
    for pair in ranges.windows(2) {
        let [(before, start, bytes, number), (after, next, _, other)] = pair else { continue };
        if before == after && start + bytes > *next {
            // Tensors that are written are held by nobody else, so that the later number is one that is read.
            numbers.push(*number.max(other));
        }
    }
    numbers
}
