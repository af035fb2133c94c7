// y = ‖x − t‖₂ of each row.
// binding 0: x, 1: t, both [N, D] [vec4], 2: y [N, 1] [vec4]. Grid: one invocation a row. Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { rows: u32, count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> origin: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn row_distance(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let start = row * params.count;
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < params.count; i++) {
        let d = x[start + i] - origin[start + i];
        total += d * d;
    }
    y[row] = vec4<f32>(sqrt((total.x + total.y) + (total.z + total.w)), 0.0, 0.0, 0.0);
}
