// Puts a row's partial sums together in slot order: L_i = log₂ Σ_j exp2 x_ij, the row's loss ln2·(L_i − x_ip) with
// its positive p, and the factor of the positive in the gradient: −2 for NT-Xent (twice the one-hot of a
// symmetric pair), exp2(x_ip − L_i) − 1 for InfoNCE, whose positive joins the sum here.
// binding 0: partial [f32, slots·stride], 1: â [vec4, rows·depth], 2: positives [vec4, rows·depth],
// 3: L [f32, stride], 4: losses [vec4, rows] with the loss in x, 5: factors [f32, stride]; L and factors are zero
// beyond the last row.
// Row i's positive is row (i + shift) mod rows. block_rows > 0: only slots of workgroups before a row's own hold
// something, and the last slot (contrastive_sums_software, SYMMETRIC).
// Grid: one invocation a row. Roofline: memory, slots·4 + dim·8 bytes a row.
#import common/grid

struct Params {
    rows: u32, depth: u32, slots: u32, stride: u32, shift: u32,
    group: u32, logarithms: u32, positive_joins: u32, kappa: f32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> positives: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> log_sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> factors: array<f32>;

// The exponential, or the summand itself, relative to the top.
fn summand(partial_value: f32, top: f32) -> f32 {
    if params.logarithms != 0u { return exp2(partial_value - top); }
    return partial_value;
}

@compute @workgroup_size(${WORKGROUP})
fn contrastive_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.stride { return; }
    if row >= params.rows {
        log_sums[row] = 0.0;
        factors[row] = 0.0;
        return;
    }
    // Slots before the last one that hold something for this row.
    var used = params.slots - 1u;
    if params.group > 0u {
        let block = row / 32u;
        used = block / params.group;
        if block > used * params.group { used += 1u; }
    }
    let last = (params.slots - 1u) * params.stride + row;
    var products = vec4<f32>(0.0);
    let positive = (row + params.shift) % params.rows * params.depth;
    for (var k = 0u; k < params.depth; k++) {
        products += a[row * params.depth + k] * positives[positive + k];
    }
    let x = params.kappa * (((products.x + products.y) + (products.z + products.w)) - 1.0);
    var top = 0.0;
    if params.logarithms != 0u {
        top = partial[last];
        for (var s = 0u; s < used; s++) { top = max(top, partial[s * params.stride + row]); }
        if params.positive_joins != 0u { top = max(top, x); }
    }
    var sum = summand(partial[last], top);
    for (var s = 0u; s < used; s++) { sum += summand(partial[s * params.stride + row], top); }
    if params.positive_joins != 0u { sum += exp2(x - top); }
    let log_sum = top + log2(sum);
    log_sums[row] = log_sum;
    losses[row] = vec4<f32>(0.6931471805599453 * (log_sum - x), 0.0, 0.0, 0.0);
    factors[row] = select(-2.0, exp2(x - log_sum) - 1.0, params.positive_joins != 0u);
}
