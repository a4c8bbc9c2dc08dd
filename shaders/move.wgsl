// move: copies state to other buffers, after parameters have come, gone or changed their planes.
//
//     after <- before, bit by bit
//
// It is recorded with each step until it is known to have run, since an encoder may be dropped. A step counts it as done by
// writing its generation to the progress. From then on a move that is recorded once more does nothing: the state before has
// grown old. State is moved as integers, so that no device takes subnormal numbers for 0.
//
// Nothing in src/math is its twin: the CPU copies slices.

#import shared/workgroup.wgsl
#import shared/progress.wgsl

struct Move {
    before: u32,
    after: u32,
    len: u32,
}

struct Moves {
    generation: u32,
    list: array<Move>,
}

@group(0) @binding(0) var<storage, read> moves: Moves;
@group(0) @binding(1) var<storage, read> progress: Progress;
@group(0) @binding(2) var<storage, read> before: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> after: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn move_state(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    if index >= arrayLength(&moves.list) || progress.generation >= moves.generation {
        return;
    }
    let own = moves.list[index];
    let each = share(own.len);
    let first = first_quad(lane, each);
    let end = min(first + TEAM * each, own.len);
    for (var quad = first; quad < end; quad += TEAM) {
        after[own.after + quad] = before[own.before + quad];
    }
}
