// gather: the state of the rows that parameters go on with, after rows have been split, pruned, duplicated or put in another
// order.
//
//     after[row·width + i] <- before[rows[row]·width + i]
//
// The state after is 0, and stays so for a fresh row and for one that is not there, which is counted. An average is NO_AVERAGE
// there, so that its next averaging copies. State is moved as
// integers, so that no device takes subnormal numbers for 0.
//
// Twin of src/cpu/rows.rs.

#import shared/workgroup.wgsl
#import shared/average.wgsl
#import shared/rows.wgsl
#import ELEMENT

@group(0) @binding(2) var<storage, read> before: array<Element>;
@group(0) @binding(3) var<storage, read_write> after: array<Element>;

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
    // The first element is found by a division. The others are counted from there, since a division is dear.
    var number = (own.start + first) / own.width;
    var column = (own.start + first) % own.width;
    let whole = TEAM / own.width;
    let rest = TEAM % own.width;
    for (var at = first; at < end; at += TEAM) {
        let row = rows[number];
        if row < own.count {
            let source = row * own.width + column;
            if source >= own.from_start && source < own.from_end {
                after[own.after + at] = before[own.before + source - own.from_start];
            }
        } else {
            if own.fills == 1u {
                after[own.after + at] = Element(NO_AVERAGE);
            }
            if column == 0u {
                count_bad(own, row);
            }
        }
        number += whole;
        column += rest;
        if column >= own.width {
            column -= own.width;
            number += 1u;
        }
    }
}
