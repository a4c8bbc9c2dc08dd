// Words that are whole before they are stored.
//
// Mesa's lavapipe stores the lanes of a vector one by one, in a loop. LLVM, its compiler, moves what the words were put together by into that
// loop, as far back as every operation has a constant operand: with state in fewer bits that took up to half of a step. It does not look
// behind a choice of the larger. `nothing` is 0, which no compiler may know.
fn whole(words: vec4<u32>, nothing: u32) -> vec4<u32> {
    return max(words, vec4(nothing));
}
