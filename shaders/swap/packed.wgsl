// EXCHANGE of a bf16 parameter that is rounded at random. Its 16 bits and the 32 of its average share their places:
//
//                  parameter                          average
//     out          θ                                  average
//     in           upper half of the average,         θ above the lower half of the average
//                  rounded to nearest, halves up
//
// The lower half tells whether the upper one was rounded up, so that both come back to the bit.

fn exchange(chunk: Chunk, quad: u32) {
    let at = chunk.average + quad;
    let average = moments[at];
    let param = halves(load_half(chunk, PARAM, chunk.param, quad)) & vec4(0xffffu);
    let lower = average & vec4(0xffffu);
    let has_none = average == vec4(NO_AVERAGE);
    if OUT {
        moments[at] = select(((param - (lower >> vec4(15u))) << vec4(16u)) | lower, average, has_none);
        store_half(chunk, PARAM, chunk.param, quad, words(select(average >> vec4(16u), param, has_none)));
    } else {
        moments[at] = select((param << vec4(16u)) | lower, average, has_none);
        let rounded = (average + vec4(0x8000u)) >> vec4(16u);
        store_half(chunk, PARAM, chunk.param, quad, words(select(rounded, param, has_none)));
    }
}
