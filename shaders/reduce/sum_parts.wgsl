// y[i] = part[0][i] + part[1][i] + …, in this order: the second stage of split sums.
// binding 0: parts [count of parts][vec4], 1: y [vec4]. Grid: one invocation for each vec4. Roofline: memory.
#import common/grid

struct Params { count: u32, parts: u32 }
var<immediate> params: Params;
#operand 0 part
#result 1 y

@compute @workgroup_size(${WORKGROUP})
fn sum_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    var sum = load_part(i);
    for (var p = 1u; p < params.parts; p++) {
        sum += load_part(p * params.count + i);
        // Spares a turn without lanes (docs/kernels.md).
        if p + 1u >= params.parts { break; }
    }
    store_y(i, sum);
}
