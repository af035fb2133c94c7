// dx = (dy − y (y·dy)) / ‖x‖ for each row, or dy / 1e-12 where the norm was clamped to 1e-12.
// binding 0: y [vec4, rows·depth], 1: norms [f32, rows] of the forward kernel, 2: dy, 3: dx [as y].
// Grid: one invocation a row. Roofline: memory, 12 bytes an element.
#import common/grid

struct Params { rows: u32, depth: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norms: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn l2_normalize_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                         @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let first = row * params.depth;
    let norm = norms[row];
    var products = vec4<f32>(0.0);
    for (var k = 0u; k < params.depth; k++) {
        products += y[first + k] * dy[first + k];
    }
    let along = select(0.0, (products.x + products.y) + (products.z + products.w), norm > 1e-12);
    for (var k = 0u; k < params.depth; k++) {
        dx[first + k] = (dy[first + k] - y[first + k] * along) / norm;
    }
}
