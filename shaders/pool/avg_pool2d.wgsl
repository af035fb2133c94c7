// y = the sum over each window / kernel²; padding counts as zeros.
// binding 0: x [vec4], 1: y [vec4]. Grid: one invocation for each vec4 of y.
// Roofline: memory, each x from cache kernel²/stride² times.
#import common/grid

struct Params { count: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel: u32, stride: u32, padding: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn avg_pool2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let line = i / params.out_w;
    let plane = line / params.out_h;
    let top = (line - plane * params.out_h) * params.stride;
    let left = (i - line * params.out_w) * params.stride;
    let first_column = max(left, params.padding);
    let rows = min(top + params.kernel, params.h + params.padding);
    let columns = min(left + params.kernel, params.w + params.padding);
    var sum = vec4<f32>(0.0);
    for (var row = max(top, params.padding); row < rows; row++) {
        let start = (plane * params.h + row - params.padding) * params.w;
        for (var column = first_column; column < columns; column++) {
            sum += x[start + column - params.padding];
        }
    }
    y[i] = sum / f32(params.kernel * params.kernel);
}
