// dx[n, c, h, w] = dy[n, c] / pixels.
// binding 0: dy [vec4], 1: dx [vec4]. Grid: one invocation for each vec4 of dx. Roofline: memory, one write.
#import common/grid

struct Params { count: u32, pixels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn global_avg_pool2d_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    dx[i] = dy[i / params.pixels] / f32(params.pixels);
}
