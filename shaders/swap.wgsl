// swap: puts the averages of the weights in the parameters' place, and the parameters back.
//
//     in     parameter <- average,  rounded to the parameter's type
//     out    parameter <- θ,        to the bit, and the average is as it was
//
// EXCHANGE is the file that keeps θ meanwhile. It depends on where θ is kept else.
//
// The device knows by itself whether the averages are in, so that an encoder that is dropped does no harm: to put in what is
// in, or out what is out, changes nothing. Parameters that no step has averaged yet stay as they are,
// and so do fresh rows, whose average is NO_AVERAGE.
//
// Twin of src/math/swap.rs, which has the exchanges alone.

#import shared/average.wgsl
#import shared/chunk.wgsl
#import shared/coefs.wgsl
#import GRID
#import ACCESS
#import EXCHANGE

// True if the parameters go back.
override OUT: bool = false;
// Words from a clock to the next.
override CLOCK_WORDS: u32 = 8u;

// As bits, of which nothing is lost whatever they stand for.
@group(0) @binding(2) var<storage, read_write> moments: array<vec4<u32>>;
// CLOCK_WORDS for each clock, the fifth of which counts its averagings; and a quad, the first word of which is 1 while the
// averages are in.
@group(0) @binding(3) var<storage, read_write> clocks: array<u32>;

fn visit(chunk: Chunk, c: Coefs, quad: u32) {
    let are_in = clocks[arrayLength(&clocks) - 4u] == 1u;
    let averaged = clocks[chunk.clock * CLOCK_WORDS + 4u];
    if are_in == OUT && averaged > 0u {
        exchange(chunk, quad);
    }
}
