//! Binding numbers, all in group 0.

/// Bindings of `update.wgsl`, all in group 0.
pub mod update {
    /// `Chunk` for a run, `array<Chunk>` for a table; read.
    pub const CHUNKS: u32 = 0;
    /// `Coefs` for a run, `array<Coefs>` for a table; read.
    pub const COEFS: u32 = 1;
    /// `array<vec4<f32>>`, read and written.
    pub const MOMENTS: u32 = 2;
    /// `array<vec4<f32>>`, read and written.
    pub const INTEGRALS: u32 = 3;
    /// The first of the windows into the caller's buffers, read and written.
    pub const WINDOWS: u32 = 4;
}

/// Bindings of `swap.wgsl`, all in group 0. The others have the numbers that they have in `update.wgsl`.
pub mod swap {
    /// The clocks' words and a quad behind them, read. The layout is that of the update's bindings.
    pub const CLOCKS: u32 = super::update::INTEGRALS;
}

/// Bindings of `measure.wgsl`, all in group 0. Its windows have the numbers that they have in `update.wgsl`.
pub mod measure {
    /// `array<Chunk>`, of one element for a run; read.
    pub const CHUNKS: u32 = 0;
    /// `array<Partial>`, written.
    pub const PARTIALS: u32 = 1;
}

/// Bindings of `advance.wgsl`, all in group 0.
pub mod advance {
    /// `array<Group>`, read.
    pub const GROUPS: u32 = 0;
    /// [`Recorded`](crate::abi::Recorded) and an `array<Tick>`, read, at the dynamic offset of the recorded step.
    pub const RECORDED: u32 = 1;
    /// `Progress`, read and written.
    pub const PROGRESS: u32 = 2;
    /// `array<Coefs>`, written.
    pub const COEFS: u32 = 3;
    /// `array<Partial>`, read.
    pub const PARTIALS: u32 = 4;
    /// `Scaler`, read and written.
    pub const SCALER: u32 = 5;
    /// The clocks' words, read and written.
    pub const CLOCKS: u32 = 6;
}

/// Bindings of `move.wgsl`, all in group 0.
pub mod moves {
    /// The generation of the moves and an `array<Move>`, read.
    pub const MOVES: u32 = 0;
    /// `Progress`, read.
    pub const PROGRESS: u32 = 1;
    /// The quads to be copied, read.
    pub const BEFORE: u32 = 2;
    /// Their copies, written.
    pub const AFTER: u32 = 3;
}

/// Bindings of `gather.wgsl`, all in group 0.
pub mod gather {
    /// `array<Gather>`, read.
    pub const GATHERS: u32 = 0;
    /// The caller's row numbers, read.
    pub const ROWS: u32 = 1;
    /// A bank of a page before, read.
    pub const BEFORE: u32 = 2;
    /// One after, written.
    pub const AFTER: u32 = 3;
    /// The words of `Progress`, of which one counts.
    pub const PROGRESS: u32 = 4;
}
