// The device's own counts. src/abi/structs.rs describes each field.

struct Progress {
    step: u32,
    skipped: u32,
    norm: u32,
    generation: u32,
    bad_rows: u32,
    @size(12) padding: u32,
}
