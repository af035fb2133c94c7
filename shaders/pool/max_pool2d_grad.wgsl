// dx[h, w] = Σ dy over the windows whose first maximum lies at (h, w): a gather, so no atomics.
// binding 0: dy [vec4], 1: places (max_pool2d), 2: dx [vec4]. Grid: one invocation for each vec4 of dx.
// Roofline: memory, each dy and place from cache kernel²/stride² times.
#import common/grid

struct Params { count: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel: u32, stride: u32, padding: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

#import pool/windows

@compute @workgroup_size(${WORKGROUP})
fn max_pool2d_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let line = i / params.w;
    let plane = line / params.h;
    let row = line - plane * params.h + params.padding;
    let column = i - line * params.w + params.padding;
    let rows = windows_of(row, params.out_h);
    let columns = windows_of(column, params.out_w);
    var sum = vec4<f32>(0.0);
    for (var out_row = rows.x; out_row < rows.y; out_row++) {
        let start = (plane * params.out_h + out_row) * params.out_w;
        let from_top = (row - out_row * params.stride) * params.kernel;
        for (var out_column = columns.x; out_column < columns.y; out_column++) {
            let packed = places[start + out_column];
            let place = vec4<u32>(packed.x & 0xffffu, packed.x >> 16u, packed.y & 0xffffu, packed.y >> 16u);
            let here = vec4<u32>(from_top + column - out_column * params.stride);
            sum += select(vec4<f32>(0.0), dy[start + out_column], place == here);
        }
    }
    dx[i] = sum;
}
