// The rows that parameters go on with.

// A plane of a tensor, from one segment before to one after. Numbers count words or quads, or else cells, bundles and elements.
struct Gather {
    // The plane's first word, quad or cell in the segment before, which has elements from `from_start` up to `from_end` of the tensor.
    before: u32,
    from_start: u32,
    from_end: u32,
    // The plane's first word, quad or cell of this part of the segment after, which has `len` words, quads or bundles. `start` is the
    // first element.
    after: u32,
    start: u32,
    len: u32,
    width: u32,
    // Rows before.
    count: u32,
    // 1 for the plane that counts the rows that are not there.
    counts: u32,
    // 1 for an average, whose fresh rows have none yet.
    fills: u32,
    // 1 for a plane whose elements can be negative.
    is_signed: u32,
}

// The row that nothing is taken from.
const FRESH_ROW = 0xffffffffu;

// The place of `bad_rows` among the words of Progress.
const BAD_ROWS = 4u;

@group(0) @binding(0) var<storage, read> gathers: array<Gather>;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> progress: array<atomic<u32>>;

// Counts a row that is not there, once for all planes.
fn count_bad(own: Gather, row: u32) {
    if row != FRESH_ROW && own.counts == 1u {
        atomicAdd(&progress[BAD_ROWS], 1u);
    }
}
