// dx = factor·(x − t)/‖x − t‖₂ of each row, 0 for a row that has not moved.
// binding 0: x, 1: t, 2: dx, all [N, D] [vec4], 3: ‖x − t‖₂ [N, 1] [vec4].
// Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid

struct Params { rows: u32, count: u32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> origin: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> distances: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn row_distance_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let row = i / params.count;
    if row >= params.rows { return; }
    let distance = distances[row].x;
    dx[i] = select(0.0, params.factor / distance, distance > 0.0) * (x[i] - origin[i]);
}
