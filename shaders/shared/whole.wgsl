// Words that are whole before they are stored.
//
// Mesa's lavapipe stores the lanes of a vector one by one, in a loop. LLVM, its compiler, moves what the words were put together by into
// that loop, as far back as each operation has a constant operand. So it was done for one lane at a time: with state in 8 bits that took a
// third of a step. LLVM does not look behind a choice of the larger. `nothing` is 0, which no compiler may know.
fn whole(words: vec4<u32>, nothing: u32) -> vec4<u32> {
    return max(words, vec4(nothing));
}
