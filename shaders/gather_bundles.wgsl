// gather_bundles: what gather.wgsl does, for planes that are kept in fewer bits before, after, or both.
//
//     after[row·width + i] <- before[rows[row]·width + i]     rounded to nearest
//
// Each invocation writes whole bundles. What a bundle has from another segment before is there already, or comes later.
//
// Twin of src/cpu/rows.rs.

#import shared/bundle.wgsl
#import shared/half.wgsl
#import shared/q8.wgsl
#import shared/rows.wgsl
#import shared/workgroup.wgsl
#import STATE

// Quads of a bundle before.
override WIDTH_BEFORE: u32 = 1u;

@group(0) @binding(2) var<storage, read> before: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> after: array<Packed>;

// The place of an element that is taken from nowhere.
const NOWHERE = 0xffffffffu;

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather_rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    if index >= arrayLength(&gathers) {
        return;
    }
    let own = gathers[index];
    let each = share(own.len);
    let first = first_quad(lane, each);
    let end = min(first + TEAM * each, own.len);
    for (var at = first; at < end; at += TEAM) {
        var cells: Cells;
        #cell cells.{q} = after[own.after + cell_of(at, {i}u, CELLS)];
        var bundle = decode(cells, own.is_signed == 1u, own.is_signed >> 1u);
        #each bundle.{q} = gathered_quad(own, own.start + 4u * quad_of(at, {i}u), bundle.{q});
        cells = encode(bundle, own.is_signed == 1u, nearest(), own.is_signed >> 1u);
        #cell after[own.after + cell_of(at, {i}u, CELLS)] = cells.{q};
    }
}

// Four elements after, of which those keep `present` that the segment before has not.
fn gathered_quad(own: Gather, element: u32, present: vec4<f32>) -> vec4<f32> {
    if own.width % 4u == 0u {
        let source = source_of(own, element);
        if source == NOWHERE {
            return present;
        }
        return quad_before(own, source / 4u);
    }
    var values = bitcast<vec4<u32>>(present);
    for (var i = 0u; i < 4u; i++) {
        let source = source_of(own, element + i);
        if source != NOWHERE {
            let quad = bitcast<vec4<u32>>(quad_before(own, source / 4u));
            let taken = select(vec4(0u), quad, LANES == vec4(source % 4u));
            values = select(values, vec4(taken.x | taken.y | taken.z | taken.w), LANES == vec4(i));
        }
    }
    return bitcast<vec4<f32>>(values);
}

const LANES = vec4(0u, 1u, 2u, 3u);

// The place in the segment before of what an element after is taken from.
fn source_of(own: Gather, element: u32) -> u32 {
    let number = element / own.width;
    // Past the tensor's end.
    if number >= arrayLength(&rows) {
        return NOWHERE;
    }
    let row = rows[number];
    let column = element % own.width;
    if row >= own.count {
        if column == 0u {
            count_bad(own, row);
        }
        return NOWHERE;
    }
    let source = row * own.width + column;
    if source < own.from_start || source >= own.from_end {
        return NOWHERE;
    }
    return source - own.from_start;
}

// A quad of the segment before.
fn quad_before(own: Gather, quad: u32) -> vec4<f32> {
    if WIDTH_BEFORE == 1u {
        return bitcast<vec4<f32>>(before[own.before + quad]);
    }
    if WIDTH_BEFORE == 2u {
        // A block has two rows of four quads in four cells.
        let cell = before[own.before + quad / 8u * 4u + quad % 4u];
        return bitcast<vec4<f32>>(select(cell << vec4(16u), cell & UPPER_HALF, quad % 8u >= 4u));
    }
    // A block has eight rows of four quads in eight cells.
    let place = own.before + quad / 32u * 8u + quad % 4u;
    let row = quad % 32u / 4u;
    let first = before[place];
    let second = before[place + 4u];
    let words = select(first, second, row >= 4u);
    return decode_row(words, row % 4u, gathered(first, second), own.is_signed == 1u, 0u);
}
