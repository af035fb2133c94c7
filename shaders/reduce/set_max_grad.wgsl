// dx[s, e, c] = dy[s, c] where e is the first maximum of its set, otherwise 0.
// binding 0: dy [sets, C] [vec4], 1: places (set_max), 2: dx [sets·elements, C] [vec4].
// Grid: one invocation for each vec4 of dx. Roofline: memory, one write of dx.
#import common/grid

struct Params { sets: u32, elements: u32, groups: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> places: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn set_max_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let row = i / params.groups;
    let owner = row / params.elements;
    if owner >= params.sets { return; }
    let at = owner * params.groups + (i - row * params.groups);
    dx[i] = select(vec4<f32>(0.0), dy[at], places[at] == vec4<u32>(row - owner * params.elements));
}
