// EXCHANGE of a parameter in half precision with a master copy, which keeps θ. The average stays where it is.

fn exchange(chunk: Chunk, quad: u32) {
    let at = chunk.master + quad;
    let master = bitcast<vec4<f32>>(moments[at]);
    if OUT {
        store_param(chunk, quad, master, 0u);
        return;
    }
    // As adopt.wgsl does, so that what others have written comes back.
    let param = load_param(chunk, quad);
    let is_other = bitcast<vec4<u32>>(param) != bitcast<vec4<u32>>(rounded_param(master));
    moments[at] = select(bitcast<vec4<u32>>(master), bitcast<vec4<u32>>(param), is_other);
    let average = moments[chunk.average + quad];
    store_param(chunk, quad, select(bitcast<vec4<f32>>(average), param, average == vec4(NO_AVERAGE)), 0u);
}
