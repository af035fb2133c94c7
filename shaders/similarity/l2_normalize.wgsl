// y = x / max(‖x‖₂, 1e-12) for each row of a matrix; the clamped norm is kept.
// binding 0: x [vec4, rows·depth], 1: y [the same], 2: norms [f32, rows]. Grid: one invocation a row.
// Roofline: memory, 8 bytes an element. Padding lanes of x are zero and stay zero.
#import common/grid

struct Params { rows: u32, depth: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn l2_normalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let first = row * params.depth;
    var squares = vec4<f32>(0.0);
    for (var k = 0u; k < params.depth; k++) {
        let v = x[first + k];
        squares += v * v;
    }
    let norm = max(sqrt((squares.x + squares.y) + (squares.z + squares.w)), 1e-12);
    for (var k = 0u; k < params.depth; k++) {
        y[first + k] = x[first + k] / norm;
    }
    norms[row] = norm;
}
