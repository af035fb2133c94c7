// y[s, e, c] = factor · b[s, c], with ADD plus x[s, e, c].
// binding 0: b [sets, C], 1: y [sets·elements, C], with ADD 2: x [sets·elements, C], all [vec4].
// Grid: one invocation for each vec4 of y. Roofline: memory, one write of y (one read of x).
#import common/grid

struct Params { sets: u32, elements: u32, groups: u32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
#if ADD
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
#endif

@compute @workgroup_size(${WORKGROUP})
fn set_broadcast(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let row = i / params.groups;
    let owner = row / params.elements;
    if owner >= params.sets { return; }
    var v = params.factor * b[owner * params.groups + (i - row * params.groups)];
#if ADD
    v += x[i];
#endif
    y[i] = v;
}
