// Access to the caller's tensors element by element: at any offset, and no further than the tensor's end, so
// that a neighbour in the same buffer is not even rewritten with its own value.

alias Word = f32;

fn load_param(chunk: Chunk, quad: u32) -> vec4<f32> {
    let at = chunk.param + 4u * quad;
    let last = chunk.param + chunk.len - 1u;
    return vec4(
        read_param(chunk, at),
        read_param(chunk, min(at + 1u, last)),
        read_param(chunk, min(at + 2u, last)),
        read_param(chunk, min(at + 3u, last)),
    );
}

fn load_grad(chunk: Chunk, quad: u32) -> vec4<f32> {
    let at = chunk.grad + 4u * quad;
    let last = chunk.grad + chunk.len - 1u;
    return vec4(
        read_grad(chunk, at),
        read_grad(chunk, min(at + 1u, last)),
        read_grad(chunk, min(at + 2u, last)),
        read_grad(chunk, min(at + 3u, last)),
    );
}

fn store_param(chunk: Chunk, quad: u32, value: vec4<f32>) {
    let at = chunk.param + 4u * quad;
    let left = chunk.len - 4u * quad;
    write_param(chunk, at, value.x);
    if left > 1u {
        write_param(chunk, at + 1u, value.y);
    }
    if left > 2u {
        write_param(chunk, at + 2u, value.z);
    }
    if left > 3u {
        write_param(chunk, at + 3u, value.w);
    }
}

fn store_grad(chunk: Chunk, quad: u32, value: vec4<f32>) {
    let at = chunk.grad + 4u * quad;
    let left = chunk.len - 4u * quad;
    write_grad(chunk, at, value.x);
    if left > 1u {
        write_grad(chunk, at + 1u, value.y);
    }
    if left > 2u {
        write_grad(chunk, at + 2u, value.z);
    }
    if left > 3u {
        write_grad(chunk, at + 3u, value.w);
    }
}
