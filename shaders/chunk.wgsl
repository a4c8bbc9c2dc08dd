// A run of elements with everything that a kernel needs to know of it. Twin of Chunk in src/layout.rs.

struct Chunk {
    param: u32,
    grad: u32,
    moments: u32,
    integrals: u32,
    stride: u32,
    len: u32,
    group: u32,
    windows: u32,
    stream: u32,
    first: u32,
}
