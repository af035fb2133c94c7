// y[n] = x[n] + position for every image n.
// binding 0: x [images][texels] vec4, 1: position [texels] vec4, 2: y like x. Grid: one invocation for each vec4 of x.
// Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { count: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> position: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn add_position(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    y[i] = x[i] + position[i % params.texels];
}
