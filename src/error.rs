//! Everything that can go wrong.

use std::fmt;
use std::path::PathBuf;

use crate::dtype::Dtype;

/// Which of a parameter's two tensors an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The parameter itself. A step reads and writes it.
    Param,
    /// Its gradient. A step reads it, and writes it only to reset it.
    Grad,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Param => "parameter",
            Self::Grad => "gradient",
        })
    }
}

/// Everything that can go wrong, in words. `{:?}` is the same text, so that a `main` that returns an error prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Everything that can go wrong. Each message names the parameter or group in question and says how to mend it.
///
/// Every check runs before anything is recorded. After an error the optimizer, its state and the device are what
/// they were before the call. Two errors show later than their cause. [`Overlap`](Self::Overlap) shows at the step that
/// follows a `rebind`. [`ReadbackLost`](Self::ReadbackLost) shows in the [`Readback`](crate::Readback) itself.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter is not finite or outside its range.
    #[error("group {group}: `{field}` is {}; it must be {expected}", number(*value))]
    InvalidHyperparam {
        /// Index of the parameter group.
        group: usize,
        /// The field of [`Hyperparams`](crate::Hyperparams), or of its schedule after `schedule.`.
        field: &'static str,
        /// The value found.
        value: f64,
        /// The values allowed.
        expected: &'static str,
    },

    /// An option for the gradients is not finite or outside its range.
    #[error("the gradients' `{field}` is {}; it must be {expected}", number(*value))]
    InvalidGradOption {
        /// The field of [`GradOptions`](crate::GradOptions).
        field: &'static str,
        /// The value found.
        value: f64,
        /// The values allowed.
        expected: &'static str,
    },

    /// An option of an optimizer that follows another, which has the say on it.
    #[error(
        "an optimizer that follows another takes the verdict on the gradients from it; leave `{option}` to the leader, or \
         do not follow"
    )]
    LeadersOption {
        /// The field of [`GradOptions`](crate::GradOptions), or `set_other_grads`.
        option: &'static str,
    },

    /// The gradient of a tensor that somebody else updates cannot be measured.
    #[error("other gradient {index} {reason}")]
    OtherGrad {
        /// Its number among those that were given.
        index: usize,
        /// What is wrong with it, and what to do.
        reason: String,
    },

    /// A buffer from which no verdict can be taken.
    #[error("the leader's buffer {reason}")]
    LeaderBuffer {
        /// What is wrong with it, and what to do.
        reason: String,
    },

    /// The step scale, a power of the learning rate, leaves the normal range of `f32`.
    #[error(
        "group {group}: `lr` {lr:e} at `order` {order} gives a step scale of {scale:e}, outside the normal range of f32; \
         {remedy}"
    )]
    StepScaleRange {
        /// Index of the parameter group.
        group: usize,
        /// The learning rate; where the scale is too large, the largest of the schedule.
        lr: f64,
        /// The number of integrals.
        order: u32,
        /// The step scale computed in `f64`.
        scale: f64,
        /// How to mend it.
        remedy: &'static str,
    },

    /// `StepScale::UnitGain` divides by the gain 1/(1-κ)ⁿ, which κ = 1 makes infinite.
    #[error("group {group}: `StepScale::UnitGain` needs `kappa` below 1; lower `kappa` or use `StepScale::ExactGain`")]
    UnitGainKappa {
        /// Index of the parameter group.
        group: usize,
    },

    /// A parameter has no name, so its state could not be told from another's.
    #[error("group {group}: parameter {index} has an empty name; give every parameter a unique name")]
    EmptyName {
        /// Index of the parameter group.
        group: usize,
        /// Index of the parameter in its group.
        index: usize,
    },

    /// Two parameters share a name.
    #[error("parameter `{name}` appears twice; give every parameter a unique name")]
    DuplicateName {
        /// The name in question.
        name: String,
    },

    /// A call names a parameter twice.
    #[error("parameter `{name}` is named twice; name it once")]
    NamedTwice {
        /// The name in question.
        name: String,
    },

    /// No parameter has this name.
    #[error("no parameter is named `{name}`; use a name that the optimizer was made with")]
    UnknownParam {
        /// The name asked for.
        name: String,
    },

    /// A step, or a change of parameters or groups, while averages are in the parameters' place.
    #[error("the averages are in the parameters' place; call `swap_averages` first, which puts the parameters back")]
    AveragesIn,

    /// A swap of averages where there are none.
    #[error("no group keeps an average of its weights; set `Hyperparams::average`")]
    NoAverages,

    /// No parameter group has this index.
    #[error("there is no group {group}; the optimizer has {groups}, counted from 0")]
    UnknownGroup {
        /// The index asked for.
        group: usize,
        /// How many groups there are.
        groups: usize,
    },

    /// A group has no parameters, so that its steps would do nothing.
    #[error("group {group} has no parameters; give it some, or leave it out")]
    EmptyGroup {
        /// Index of the parameter group.
        group: usize,
    },

    /// Rows do not fit a parameter.
    #[error("parameter `{name}`: {reason}")]
    Rows {
        /// The parameter's name.
        name: String,
        /// What does not fit, and what to do.
        reason: String,
    },

    /// A row that is not there.
    #[error("row {index} is to be taken from row {row}, but there are {rows}; use a lower number, or `FRESH_ROW`")]
    RowOutOfRange {
        /// The row's number after.
        index: usize,
        /// The row's number before.
        row: u32,
        /// Rows before.
        rows: usize,
    },

    /// The row numbers cannot be bound.
    #[error("the buffer of row numbers {reason}")]
    RowBuffer {
        /// What is wrong with it, and what to do.
        reason: String,
    },

    /// No parameter would be left.
    #[error("the optimizer needs at least one parameter; keep one, or drop the optimizer")]
    LastParam,

    /// There is no group, so that steps would do nothing.
    #[error("there are no parameter groups; give at least one")]
    NoGroups,

    /// wgpu refuses a caller's buffer: it is destroyed or mapped, or belongs to another device.
    #[error(
        "parameter `{name}`: wgpu refuses the {role} buffer ({reason}); bind a buffer that was made on the optimizer's device \
         and is neither destroyed nor mapped"
    )]
    RefusedBuffer {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// wgpu's words.
        reason: String,
    },

    /// A group uses its integrals at every step, because `switch_step` is [`Hyperparams::NEVER`](crate::Hyperparams::NEVER).
    #[error("group {group} never stops using its integrals, since its `switch_step` is never; set `switch_step`")]
    IntegralsAlwaysUsed {
        /// Index of the parameter group.
        group: usize,
    },

    /// A group may still use its integrals.
    #[error(
        "group {group} uses its integrals until step {switch_step}, and `{name}` is known to have taken {known_step} steps; \
         await a report or the state after its step {needed} or a later one first"
    )]
    IntegralsInUse {
        /// The parameter that is the furthest from it.
        name: String,
        /// Index of the parameter group.
        group: usize,
        /// ζ, the first step that is plain Adam.
        switch_step: u32,
        /// Steps that a readback has shown.
        known_step: u32,
        /// The first step after which the integrals are not needed.
        needed: u32,
    },

    /// A caller's buffer cannot be bound as a storage buffer.
    #[error("parameter `{name}`: the {role} buffer lacks BufferUsages::STORAGE; create it with that usage")]
    MissingStorageUsage {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
    },

    /// A caller's buffer cannot be copied from, or written.
    #[error("parameter `{name}`: the {role} buffer lacks BufferUsages::{usage}; create it with that usage")]
    MissingCopyUsage {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// `COPY_SRC` or `COPY_DST`.
        usage: &'static str,
    },

    /// A slice does not start at a multiple of 4 bytes.
    #[error(
        "parameter `{name}`: the {role} slice starts at byte {offset}; move it to a multiple of 4 (offsets count bytes)"
    )]
    Misaligned {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// The byte offset found.
        offset: u64,
    },

    /// A slice reaches past the end of its buffer.
    #[error(
        "parameter `{name}`: the {role} slice of {len} elements at byte {offset} passes the end of its buffer of {size} bytes; \
         shorten it or enlarge the buffer (lengths count elements, offsets count bytes)"
    )]
    OutOfBounds {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// First byte of the slice.
        offset: u64,
        /// Elements in the slice.
        len: u64,
        /// Bytes in the buffer.
        size: u64,
    },

    /// A slice of the CPU, or the values in a checkpoint, do not have their parameter's length.
    #[error("parameter `{name}` has {expected} elements, but its {role} slice has {found}; make them equal")]
    LengthMismatch {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// Elements in the parameter.
        expected: u64,
        /// Elements in the slice.
        found: u64,
    },

    /// Two slices share bytes, so that one dispatch would write what another reads.
    #[error(
        "the {role} slice of `{name}` overlaps the {other_role} slice of `{other}`; give each its own bytes, and give a \
         parameter that two layers share once, with the sum of its gradients"
    )]
    Overlap {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// The other parameter's name.
        other: String,
        /// Which of the other's two tensors.
        other_role: Role,
    },

    /// A slice of the CPU, or the values in a checkpoint, are of another type than their parameter.
    #[error("parameter `{name}`: the {role} slice is {found}, not {expected}; keep the type, or make a new optimizer")]
    DtypeMismatch {
        /// The parameter's name.
        name: String,
        /// Which of its two tensors.
        role: Role,
        /// The type it had.
        expected: Dtype,
        /// The type found.
        found: Dtype,
    },

    /// Another precision for state that is in use.
    #[error(
        "the state of parameter `{name}` is kept in {from}, and cannot become {to} while it is in use; save a checkpoint, and \
         load it with `LoadOptions::own_hyperparams`, and `lenient` where {to} has fewer bits, into an optimizer that is made with {to}"
    )]
    StatePrecision {
        /// The parameter's name.
        name: String,
        /// The precision that its state has.
        from: String,
        /// The precision asked for.
        to: String,
    },

    /// Stochastic rounding of an f16 parameter.
    #[error("parameter `{name}` is f16, but stochastic rounding is for bf16; use `HalfParams::Master` or make it bf16")]
    StochasticRounding {
        /// The parameter's name.
        name: String,
    },

    /// A parameter in half precision whose gradient has no type.
    #[error("parameter `{name}` is in half precision; say by `with_grad_dtype` what its gradient is")]
    UnknownGradDtype {
        /// The parameter's name.
        name: String,
    },

    /// No binding says where a parameter lies.
    #[error("parameter `{name}` has no binding; give one for every parameter, by its name")]
    UnboundParam {
        /// The parameter's name.
        name: String,
    },

    /// Two bindings of one call name the same parameter.
    #[error("parameter `{name}` is bound twice in one call; give one binding for each parameter")]
    BoundTwice {
        /// The parameter's name.
        name: String,
    },

    /// A file that is no checkpoint, or a damaged one.
    #[error("not a whole checkpoint ({reason}); use one written by `Checkpoint::save`")]
    CheckpointFormat {
        /// The fault.
        reason: String,
    },

    /// A checkpoint of another version.
    #[error(
        "the checkpoint has version {found}, but this release reads version {supported}; use a release that reads it"
    )]
    CheckpointVersion {
        /// The file's version.
        found: u64,
        /// The version that is read.
        supported: u64,
    },

    /// An entry of a checkpoint that is missing, unknown or ill-shaped, or does not fit the optimizer.
    #[error("checkpoint entry `{entry}`: {reason}")]
    CheckpointEntry {
        /// The entry of the file, the parameter, or the first parameter of the group.
        entry: String,
        /// The fault, and how to mend it.
        reason: String,
    },

    /// A checkpoint that could not be opened again, and so is not written.
    #[error(
        "the checkpoint could not be opened again, so it is not written ({reason}); read it from the optimizer again, with \
         less data of your own, shorter names and schedules less deep"
    )]
    UnreadableCheckpoint {
        /// What would be refused.
        reason: String,
    },

    /// The file of a checkpoint could not be read or written.
    #[error("cannot {operation} the checkpoint `{}`: {reason}", path.display())]
    CheckpointFile {
        /// `read` or `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },

    /// A limit of the device is below what the optimizer needs.
    #[error("the device's `{limit}` is {available}, but {needed} is needed; request the device with a higher limit")]
    LimitTooSmall {
        /// The field of `wgpu::Limits`.
        limit: &'static str,
        /// The least that is needed.
        needed: u64,
        /// The device's value.
        available: u64,
    },

    /// The device, or the host under the CPU optimizer, has no memory for what the optimizer needs.
    #[error("out of memory: the optimizer needs {bytes} bytes more; free memory or lower `order`")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },

    /// A browser blocks for nothing.
    #[error("a browser cannot wait for a readback; await it instead")]
    CannotWait,

    /// wgpu refused an operation.
    #[error("wgpu refused to {operation}: {reason}; report it, with the adapter and its driver")]
    Gpu {
        /// The operation that was refused.
        operation: &'static str,
        /// wgpu's words.
        reason: String,
    },

    /// The device is lost: destroyed, reset by its driver, or unplugged.
    #[error("the device is lost; request a new one and make a new optimizer on it")]
    DeviceLost,

    /// A readback did not arrive: the device was lost or the commands were dropped before submission.
    #[error(
        "the readback never arrived; submit the encoder it was recorded in, see that wgpu does not refuse that encoder, and \
         keep polling the device"
    )]
    ReadbackLost,
}

/// A number as people write it: 4, 0.001 or 1e-50.
fn number(value: f64) -> String {
    let is_plain = value == 0.0 || (1e-4..1e9).contains(&value.abs());
    if is_plain || !value.is_finite() { value.to_string() } else { format!("{value:e}") }
}
