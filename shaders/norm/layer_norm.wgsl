// y = γ·(x − μ)·r + β with μ the mean and r = 1/√(σ² + ε) of the channels of each pixel, σ² the biased variance.
// binding 0: x NC4HW4, 1: γ, 2: β [groups] vec4, 3: y NC4HW4, 4: (μ, r) [image][pixel].
// Grid: a workgroup of 64 for eight pixels (norm/layer_norm_rows). Roofline: memory; x is read three times, twice from
// cache. Padding lanes of γ and β are zero, so those of y are.
#import common/grid
#import norm/layer_norm_rows

struct Params { rows: Rows, epsilon: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>;
var<workgroup> sums: array<f32, 64>;
var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(${WORKGROUP})
fn layer_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let rows = params.rows;
    let row = row_of(linear_index(group, groups, local), rows);
    let count = (rows.channels + 3u) / 4u;
    var sum = vec4<f32>(0.0);
    for (var g = row.slot; g < count; g += 8u) { sum += x[row.start + g * rows.pixels]; }
    sums[local] = (sum.x + sum.y) + (sum.z + sum.w);
    workgroupBarrier();
    var mean = 0.0;
    for (var i = 0u; i < 8u; i++) { mean += sums[i * 8u + row.lane]; }
    mean /= f32(rows.channels);

    var square = vec4<f32>(0.0);
    for (var g = row.slot; g < count; g += 8u) {
        let d = x[row.start + g * rows.pixels] - mean;
        square += select(vec4<f32>(0.0), d * d, is_channel(g, rows.channels));
    }
    squares[local] = (square.x + square.y) + (square.z + square.w);
    workgroupBarrier();
    var variance = 0.0;
    for (var i = 0u; i < 8u; i++) { variance += squares[i * 8u + row.lane]; }
    let spread = 1.0 / sqrt(variance / f32(rows.channels) + params.epsilon);
    if !row.real { return; }
    if row.slot == 0u { statistics[row.row] = vec2<f32>(mean, spread); }
    for (var g = row.slot; g < count; g += 8u) {
        let i = row.start + g * rows.pixels;
        y[i] = (x[i] - mean) * spread * gamma[g] + beta[g];
    }
}
