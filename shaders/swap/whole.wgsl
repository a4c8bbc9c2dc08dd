// EXCHANGE of a parameter in f32: it trades places with its average, in and out.

fn exchange(chunk: Chunk, quad: u32) {
    let at = first_average(chunk) + quad;
    let average = bitcast<vec4<f32>>(moments[at]);
    moments[at] = bitcast<vec4<u32>>(load_param(chunk, quad));
    store_param(chunk, quad, average, 0u);
}
