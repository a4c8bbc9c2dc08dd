// EXCHANGE of a bf16 parameter that is rounded at random. Its 16 bits and the 32 of its average share their places:
//
//                  parameter                          average
//     out          θ                                  average
//     in           upper half of the average,         θ above the lower half of the average
//                  rounded to nearest, halves up
//
// The lower half tells whether the upper one was rounded up, so that both come back to the bit.

fn exchange(chunk: Chunk, quad: u32) {
    let at = first_average(chunk) + quad;
    let average = moments[at];
    let param = halves(load_half(chunk, PARAM, chunk.param, quad)) & vec4(0xffffu);
    let lower = average & vec4(0xffffu);
    if OUT {
        moments[at] = ((param - (lower >> vec4(15u))) << vec4(16u)) | lower;
        store_half(chunk, PARAM, chunk.param, quad, words(average >> vec4(16u)));
    } else {
        moments[at] = (param << vec4(16u)) | lower;
        store_half(chunk, PARAM, chunk.param, quad, words((average + vec4(0x8000u)) >> vec4(16u)));
    }
}
