// out[g, i] = Σ over the `fan` parts of group g, in order, of parts[p, i]: one level of an ordered sum.
// binding 0: parts [vec4], `parts` times `count`; 1: out [vec4], ⌈parts / fan⌉ times `count`.
// Grid: one invocation for each vec4 of out. Roofline: memory, each part read once.
#import common/grid

struct Params { count: u32, parts: u32, fan: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn sum_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    let first = index / params.count * params.fan;
    if first >= params.parts { return; }
    let i = index % params.count;
    let end = min(first + params.fan, params.parts);
    var sum = vec4<f32>(0.0);
    for (var p = first; p < end; p++) {
        sum += parts[p * params.count + i];
    }
    out[index] = sum;
}
