// dx[h, w] = Σ dy / kernel² over the windows that hold (h, w).
// binding 0: dy [vec4], 1: dx [vec4]. Grid: one invocation for each vec4 of dx.
// Roofline: memory, each dy from cache kernel²/stride² times.
#import common/grid

struct Params { count: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel: u32, stride: u32, padding: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;

#import pool/windows

@compute @workgroup_size(${WORKGROUP})
fn avg_pool2d_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let line = i / params.w;
    let plane = line / params.h;
    let rows = windows_of(line - plane * params.h + params.padding, params.out_h);
    let columns = windows_of(i - line * params.w + params.padding, params.out_w);
    var sum = vec4<f32>(0.0);
    for (var out_row = rows.x; out_row < rows.y; out_row++) {
        let start = (plane * params.out_h + out_row) * params.out_w;
        for (var out_column = columns.x; out_column < columns.y; out_column++) {
            sum += dy[start + out_column];
        }
    }
    dx[i] = sum / f32(params.kernel * params.kernel);
}
