// From the splits of G_i to the gradient of the un-normalised row: g_i = scale·(Σ_split G_i + f_i p̂_i) with the
// row's positive p̂_i and its factor f_i, then dx_i = (g_i − â_i (â_i·g_i)) / ‖x_i‖ (no projection where the norm was
// clamped to 1e-12).
// binding 0: G, row-major [f32, splits·rows·4·depth] or with PANELS [f32, splits·panels·dim_tiles·32·8·4], 1: â,
// 2: positives [vec4, rows·depth], 3: factors [f32], 4: norms [f32], 5: dx [vec4, rows·depth].
// Row i's positive is row (i + shift) mod rows.
// Grid: one invocation a row. Roofline: memory, (8·splits + 24)·dim bytes a row.
#import common/grid

struct Params { rows: u32, depth: u32, splits: u32, shift: u32, panel_count: u32, dim_tiles: u32, scale: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> gradient: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> positives: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read> norms: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>;

fn gradient_of(row: u32, k: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var split = 0u; split < params.splits; split++) {
#if PANELS
        let at = (((split * params.panel_count + row / 32u) * params.dim_tiles * 32u + k * 4u) * 8u) * 4u + row % 32u;
        sum += vec4<f32>(gradient[at], gradient[at + 32u], gradient[at + 64u], gradient[at + 96u]);
#else
        let at = ((split * params.rows + row) * params.depth + k) * 4u;
        sum += vec4<f32>(gradient[at], gradient[at + 1u], gradient[at + 2u], gradient[at + 3u]);
#endif
    }
    let positive = (row + params.shift) % params.rows * params.depth + k;
    return params.scale * (sum + factors[row] * positives[positive]);
}

@compute @workgroup_size(${WORKGROUP})
fn contrastive_finish(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let first = row * params.depth;
    let norm = norms[row];
    var products = vec4<f32>(0.0);
    for (var k = 0u; k < params.depth; k++) {
        products += a[first + k] * gradient_of(row, k);
    }
    let along = select(0.0, (products.x + products.y) + (products.z + products.w), norm > 1e-12);
    for (var k = 0u; k < params.depth; k++) {
        dx[first + k] = (gradient_of(row, k) - a[first + k] * along) / norm;
    }
}
