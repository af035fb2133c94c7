// y_i = x_{rows[i]} for rows of `texels` vec4.
// binding 0: x [vec4], 1: y [vec4], 2: rows [u32], one for each row of y, each a row of x.
// Grid: one invocation a texel of y. Roofline: memory, one read and one write.
#import common/grid

struct Params { count: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;

@compute @workgroup_size(${WORKGROUP})
fn gather_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let row = i / params.texels;
    y[i] = x[rows[row] * params.texels + (i - row * params.texels)];
}
