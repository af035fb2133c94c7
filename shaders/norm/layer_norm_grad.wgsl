// dx = r·(g − mean(g) − x̂·mean(g·x̂)) with g = γ·dy, x̂ = (x − μ)·r and means over the channels of each pixel.
// binding 0: x NC4HW4, 1: dy NC4HW4, 2: γ [groups] vec4, 3: (μ, r) [image][pixel], 4: dx NC4HW4.
// Grid: a workgroup of 64 for eight pixels (norm/layer_norm_rows). Roofline: memory; x and dy are read twice, once from cache.
#import common/grid
#import norm/layer_norm_rows

struct Params { rows: Rows }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> statistics: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>;
var<workgroup> sums: array<vec2<f32>, 64>;

@compute @workgroup_size(${WORKGROUP})
fn layer_norm_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) local: u32) {
    let rows = params.rows;
    let row = row_of(linear_index(group, groups, local), rows);
    let count = (rows.channels + 3u) / 4u;
    let statistic = statistics[row.row];
    // Padding lanes of γ are zero, so padding adds nothing to either sum.
    var sum = vec4<f32>(0.0);
    var product = vec4<f32>(0.0);
    for (var g = row.slot; g < count; g += 8u) {
        let i = row.start + g * rows.pixels;
        let up = gamma[g] * dy[i];
        sum += up;
        product += up * ((x[i] - statistic.x) * statistic.y);
    }
    sums[local] = vec2<f32>((sum.x + sum.y) + (sum.z + sum.w), (product.x + product.y) + (product.z + product.w));
    workgroupBarrier();
    var means = vec2<f32>(0.0);
    for (var i = 0u; i < 8u; i++) { means += sums[i * 8u + row.lane]; }
    means /= f32(rows.channels);
    if !row.real { return; }
    for (var g = row.slot; g < count; g += 8u) {
        let i = row.start + g * rows.pixels;
        let normal = (x[i] - statistic.x) * statistic.y;
        let v = statistic.y * (gamma[g] * dy[i] - means.x - normal * means.y);
        dx[i] = select(vec4<f32>(0.0), v, is_channel(g, rows.channels));
    }
}
