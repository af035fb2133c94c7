// Steps along a direction: y[row.output] = clip(x[row.slot] + ε v[row.slot]) with ε = row.scale. Padding lanes stay zero.
// binding 0: rows [Row], 1: x [vec4], 2: v [vec4], 3: y [vec4].
// Grid: one invocation for each (row, vec4). Roofline: memory, 12 bytes an element.
#import common/grid
#import hop_skip_jump/row
#import hop_skip_jump/draw

struct Params { rows: u32, texels: u32, pixels: u32, channels: u32, low: f32, high: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn step(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let index = i / params.texels;
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
    let k = i - index * params.texels;
    let place = row.slot * params.texels + k;
    let moved = x[place] + row.scale * v[place];
    let clipped = clamp(moved, vec4<f32>(params.low), vec4<f32>(params.high));
    y[row.output * params.texels + k] = without_padding(clipped, k, params.pixels, params.channels);
}
