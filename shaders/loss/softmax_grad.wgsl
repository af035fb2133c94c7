// dx = y·(dy − Σ_c y_c dy_c) for each row of y = softmax(x).
// binding 0: y, 1: dy, 2: dx, all [N, C] [vec4]. Grid: one invocation a row. Roofline: latency; C is a number of classes.
#import common/grid

struct Params { rows: u32, count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn softmax_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let start = row * params.count;
    // Padding lanes of y are zero, so they add nothing and stay zero.
    var mean = 0.0;
    for (var i = 0u; i < params.count; i++) { mean += dot(y[start + i], dy[start + i]); }
    for (var i = 0u; i < params.count; i++) { dx[start + i] = y[start + i] * (dy[start + i] - mean); }
}
