// EXCHANGE of a parameter in f32: it trades places with its average, in and out.

fn exchange(chunk: Chunk, quad: u32) {
    let at = chunk.average + quad;
    let average = moments[at];
    let param = load_param(chunk, quad);
    let has_none = average == vec4(NO_AVERAGE);
    moments[at] = select(bitcast<vec4<u32>>(param), average, has_none);
    store_param(chunk, quad, select(bitcast<vec4<f32>>(average), param, has_none), 0u);
}
