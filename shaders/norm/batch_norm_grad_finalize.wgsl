// dγ = Σ g·x̂ and dβ = Σ g from their partial sums, in a fixed order, and what batch_norm_grad_apply needs of a
// channel group and split, side by side: μ, inv_std, γ, β, dγ/n, dβ/n (the last two 0 where statistics are constants).
// binding 0: partials [2][groups][parts], 1: mean, 2: inv_std or running variance, 3: γ, 4: β, 5: dγ, 6: dβ,
// 7: constants [groups][6], all vec4; mean, spread and constants have the groups of a split after those of the split before it,
// dγ and dβ sum over splits. Grid: one workgroup a channel group of the tensor. Roofline: latency.
#import common/planes
#import norm/inverse_deviation

struct Params { planes: Planes, is_variance: u32, epsilon: f32, splits: u32 }
var<immediate> params: Params;
#operand 0 partials
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
    let channel_groups = planes.groups / params.splits;
    let share = select(1.0 / (f32(planes.images) * f32(planes.pixels)), 0.0, params.is_variance != 0u);
    var whole_product = vec4<f32>(0.0);
    var whole_sum = vec4<f32>(0.0);
    for (var split = 0u; split < params.splits; split++) {
        let row = split * channel_groups + group.x;
        let first = row * parts;
        var product = vec4<f32>(0.0);
        var sum = vec4<f32>(0.0);
        for (var part = local; part < parts; part += ${WORKGROUP}u) {
            product += load_partials(first + part);
            sum += load_partials(planes.groups * parts + first + part);
            // Spares a turn without lanes (docs/kernels.md).
            if part + ${WORKGROUP}u >= parts { break; }
        }
        products[local] = product;
        sums[local] = sum;
        workgroupBarrier();
        if local == 0u {
            product = vec4<f32>(0.0);
            sum = vec4<f32>(0.0);
            for (var i = 0u; i < ${WORKGROUP}u; i++) {
                product += products[i];
                sum += sums[i];
            }
            whole_product += product;
            whole_sum += sum;
            let at = row * 6u;
            constants[at] = mean[row];
            constants[at + 1u] = inverse_deviation(spread[row], params.is_variance, params.epsilon);
            constants[at + 2u] = gamma[group.x];
            constants[at + 3u] = beta[group.x];
            constants[at + 4u] = product * share;
            constants[at + 5u] = sum * share;
        }
        if split + 1u >= params.splits { break; }
        workgroupBarrier();
    }
    if local != 0u { return; }
    dgamma[group.x] = whole_product;
    dbeta[group.x] = whole_sum;
}
