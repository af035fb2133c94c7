// Batch statistics of one channel group from its partial ones, in a fixed order (Chan et al., 1983):
//   μ = Σ n_p μ_p / n,  M = Σ M_p + n_p (μ_p − μ)²,  inv_std = 1/√(M/n + ε),
//   running ← (1 − m)·running + m·(μ or M/(n − 1)), these two averaged over splits.
// binding 0: partials [2][groups][parts] vec4, 1: mean, 2: inv_std, 3: running mean, 4: running variance [C];
// partials, mean and inv_std have the channel groups of a split after those of the split before it.
// Grid: one workgroup a channel group of the tensor. Roofline: latency; it reads a 64th or less of x.
#import common/planes

struct Params { planes: Planes, channels: u32, epsilon: f32, momentum: f32, splits: u32 }
var<immediate> params: Params;
#operand 0 partials
@group(0) @binding(1) var<storage, read_write> mean: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> running_variance: array<vec4<f32>>;
var<workgroup> shifts: array<vec4<f32>, ${WORKGROUP}>;
var<workgroup> deviations: array<vec4<f32>, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_finalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let parts = planes.parts;
    let channel_groups = planes.groups / params.splits;
    let count = f32(planes.images) * f32(planes.pixels);
    let lanes = vec4<u32>(group.x * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let real = lanes < vec4<u32>(params.channels);
    let zero = vec4<f32>(0.0);
    var batch_mean = zero;
    var batch_variance = zero;
    for (var split = 0u; split < params.splits; split++) {
        let row = split * channel_groups + group.x;
        let first = row * parts;
        let pivot = load_partials(first);
        var shift = zero;
        for (var part = local; part < parts; part += ${WORKGROUP}u) {
            shift += f32(part_texels(part, planes)) * (load_partials(first + part) - pivot);
            // Spares a turn without lanes (docs/kernels.md).
            if part + ${WORKGROUP}u >= parts { break; }
        }
        shifts[local] = shift;
        workgroupBarrier();
        var total = zero;
        for (var i = 0u; i < ${WORKGROUP}u; i++) { total += shifts[i]; }
        let mu = pivot + total / count;
        let squares = planes.groups * parts + first;
        var deviation = zero;
        for (var part = local; part < parts; part += ${WORKGROUP}u) {
            let d = load_partials(first + part) - mu;
            deviation += load_partials(squares + part) + f32(part_texels(part, planes)) * (d * d);
            if part + ${WORKGROUP}u >= parts { break; }
        }
        deviations[local] = deviation;
        workgroupBarrier();
        // The next split writes `shifts` when all have read them, and `deviations` after its own first barrier.
        if local == 0u {
            var sum = zero;
            for (var i = 0u; i < ${WORKGROUP}u; i++) { sum += deviations[i]; }
            mean[row] = select(zero, mu, real);
            inv_std[row] = select(zero, 1.0 / sqrt(sum / count + params.epsilon), real);
            batch_mean += mu;
            batch_variance += sum / (count - 1.0);
        }
        if split + 1u >= params.splits { break; }
    }
    if local != 0u { return; }
    let splits = f32(params.splits);
    let old_mean = running_mean[group.x];
    let old_variance = running_variance[group.x];
    running_mean[group.x] = select(zero, old_mean + params.momentum * (batch_mean / splits - old_mean), real);
    running_variance[group.x] =
        select(zero, old_variance + params.momentum * (batch_variance / splits - old_variance), real);
}
