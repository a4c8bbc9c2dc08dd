//! The limits that shape a plan.

/// The limits that shape a plan, from those the device was requested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a storage binding.
    pub binding: u64,
    /// Bytes of a buffer.
    pub buffer: u64,
    /// Windows into the caller's buffers that a dispatch can bind.
    pub windows: usize,
    /// Workgroups in each dimension of a dispatch.
    pub workgroups: u32,
    /// A binding's offset is a multiple of this many bytes.
    pub alignment: u64,
}

impl Limits {
    /// The largest number of windows that a dispatch binds. With more, the `switch` over them costs more than the
    /// dispatches that it saves.
    pub const MAX_WINDOWS: usize = 6;
}
