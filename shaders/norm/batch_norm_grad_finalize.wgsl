// dγ = Σ g·x̂ and dβ = Σ g from their partial sums, in a fixed order, and what batch_norm_grad_apply needs of a
// channel group, side by side: μ, inv_std, γ, β, dγ/n, dβ/n (the last two 0 where statistics are constants).
// binding 0: partials [2][groups][parts], 1: mean, 2: inv_std or running variance, 3: γ, 4: β, 5: dγ, 6: dβ,
// 7: constants [groups][6], all vec4. Grid: one workgroup a channel group. Roofline: latency.
#import common/planes
#import norm/statistic

struct Params { planes: Planes, is_variance: u32, epsilon: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> spread: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dgamma: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dbeta: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> constants: array<vec4<f32>>;
var<workgroup> products: array<vec4<f32>, ${WORKGROUP}>;
var<workgroup> sums: array<vec4<f32>, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_grad_finalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let parts = planes.parts;
    let first = group.x * parts;
    var product = vec4<f32>(0.0);
    var sum = vec4<f32>(0.0);
    for (var part = local; part < parts; part += ${WORKGROUP}u) {
        product += partials[first + part];
        sum += partials[planes.groups * parts + first + part];
    }
    products[local] = product;
    sums[local] = sum;
    workgroupBarrier();
    if local != 0u { return; }
    product = vec4<f32>(0.0);
    sum = vec4<f32>(0.0);
    for (var i = 0u; i < ${WORKGROUP}u; i++) {
        product += products[i];
        sum += sums[i];
    }
    dgamma[group.x] = product;
    dbeta[group.x] = sum;
    let share = select(1.0 / (f32(planes.images) * f32(planes.pixels)), 0.0, params.is_variance != 0u);
    let at = group.x * 6u;
    constants[at] = mean[group.x];
    constants[at + 1u] = inverse_deviation(spread[group.x], params.is_variance, params.epsilon);
    constants[at + 2u] = gamma[group.x];
    constants[at + 3u] = beta[group.x];
    constants[at + 4u] = product * share;
    constants[at + 5u] = sum * share;
}
