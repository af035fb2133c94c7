// Adds the directions of row.number queries, which begin at query row.output and lie around x[row.slot], to the sums
// of that image: plain += u and signed += φ u, with u = (query − x)/δ, δ = row.scale. One after the other, so that the
// bits do not depend on how many queries come at once.
// binding 0: rows [Row], 1: signs φ [f32, one a query], 2: x [vec4], 3: queries [vec4], 4: signed [vec4], 5: plain [vec4].
// Grid: one invocation for each (row, vec4). Roofline: memory, 4 bytes an element of a query.
#import common/grid
#import hop_skip_jump/row

struct Params { rows: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> signs: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> signed_sums: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> plain_sums: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn accumulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let index = i / params.texels;
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
    let k = i - index * params.texels;
    let place = row.slot * params.texels + k;
    let centre = x[place];
    var signed_sum = signed_sums[place];
    var plain_sum = plain_sums[place];
    for (var query = row.output; query < row.output + row.number; query++) {
        let u = (queries[query * params.texels + k] - centre) / row.scale;
        signed_sum += signs[query] * u;
        plain_sum += u;
    }
    signed_sums[place] = signed_sum;
    plain_sums[place] = plain_sum;
}
