// Points of segments: y[row.output] = (1 − a) x[row.slot] + a·b[row.number] with a = row.scale. At a = 0 and 1 the
// result is an end, bit for bit, so this also copies rows.
// binding 0: rows [Row], 1: x [vec4], 2: b [vec4], 3: y [vec4].
// Grid: one invocation for each (row, vec4). Roofline: memory, 12 bytes an element.
#import common/grid
#import hop_skip_jump/row

struct Params { rows: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn interpolate(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let index = i / params.texels;
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
    let k = i - index * params.texels;
    let near = x[row.slot * params.texels + k];
    let far = b[row.number * params.texels + k];
    y[row.output * params.texels + k] = (1.0 - row.scale) * near + row.scale * far;
}
