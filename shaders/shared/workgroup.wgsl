// The invocations of every workgroup. src/abi/mod.rs has the same number.

const WORKGROUP_SIZE = 256u;

// Neighbours that read side by side, a cache line of a GPU at a time. Where invocations take several quads, each such team
// goes through a stretch of its own from end to end: a software driver, which runs one team after the other, would jump
// through memory otherwise.
const TEAM = 8u;
const_assert WORKGROUP_SIZE % TEAM == 0u;

// The first of the `each` quads that an invocation takes; each of them is TEAM after the one before.
fn first_quad(lane: u32, each: u32) -> u32 {
    return lane / TEAM * TEAM * each + lane % TEAM;
}

// The number of quads that each invocation takes of so many.
fn share(quads: u32) -> u32 {
    return (quads + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}
