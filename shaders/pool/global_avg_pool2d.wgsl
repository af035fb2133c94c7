// y[n, c] = the mean over the pixels of x[n, c].
// binding 0: x [vec4], 1: y [vec4]. Grid: one invocation for each vec4 of y. Roofline: memory, one read of x.
#import common/grid

struct Params { count: u32, pixels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn global_avg_pool2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let end = (i + 1u) * params.pixels;
    var at = i * params.pixels;
    var sum = vec4<f32>(0.0);
    for (; at + 3u < end; at += 4u) {
        sum += (x[at] + x[at + 1u]) + (x[at + 2u] + x[at + 3u]);
    }
    for (; at < end; at++) { sum += x[at]; }
    y[i] = sum / f32(params.pixels);
}
