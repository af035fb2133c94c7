// y[s, c] = the maximum of x[s, e, c] over the elements e of set s, and the first e that reaches it.
// binding 0: x [sets·elements, C], 1: y [sets, C] [vec4], 2: places [sets, C] [vec4<u32>].
// Grid: one invocation for each vec4 of y. Roofline: memory, one read of x.
#import common/grid

struct Params { sets: u32, elements: u32, groups: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> places: array<vec4<u32>>;

@compute @workgroup_size(${WORKGROUP})
fn set_max(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.sets * params.groups { return; }
    let owner = i / params.groups;
    let start = owner * params.elements * params.groups + (i - owner * params.groups);
    var best = x[start];
    var place = vec4<u32>(0u);
    for (var e = 1u; e < params.elements; e++) {
        let v = x[start + e * params.groups];
        let higher = v > best;
        best = select(best, v, higher);
        place = select(place, vec4<u32>(e), higher);
    }
    y[i] = best;
    places[i] = place;
}
