// y[s, c] = factor · Σ x[s, e, c] over the elements e of set s.
// binding 0: x [sets·elements, C], 1: y [sets, C] [vec4]. Grid: one invocation for each vec4 of y.
// Roofline: memory, one read of x.
#import common/grid

struct Params { sets: u32, elements: u32, groups: u32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn set_sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.sets * params.groups { return; }
    let owner = i / params.groups;
    let start = owner * params.elements * params.groups + (i - owner * params.groups);
    var sum = vec4<f32>(0.0);
    for (var e = 0u; e < params.elements; e++) { sum += x[start + e * params.groups]; }
    y[i] = params.factor * sum;
}
