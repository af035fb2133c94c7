// Batch statistics of one channel group from those of its shares or of a convolution's tiles, in a fixed order: each invocation puts together every WORKGROUP-th, then the first
// puts together theirs. Means are relative to that of the first share, so that a large one costs no precision. With n values, mean μ and squared deviations M
//   inv_std = 1/√(M/n + ε),  running ← (1 − m)·running + m·(μ or M/(n − 1)), these two averaged over splits.
// binding 0: partials [2][groups][parts] vec4, 1: mean, 2: inv_std, 3: running mean, 4: running variance [C];
// partials, mean and inv_std have the channel groups of a split after those of the split before it.
// Grid: one workgroup a channel group of the tensor. Roofline: latency; it reads a 64th or less of x.
#import common/planes
#import norm/statistics

struct Params { planes: Planes, channels: u32, epsilon: f32, momentum: f32, splits: u32 }
var<immediate> params: Params;
#operand 0 partials
@group(0) @binding(1) var<storage, read_write> mean: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> running_variance: array<vec4<f32>>;
var<workgroup> of_invocations: array<Statistics, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_finalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let parts = planes.parts;
    let channel_groups = planes.groups / params.splits;
    let real = real_channels(group.x, params.channels);
    let zero = vec4<f32>(0.0);
    var batch_mean = zero;
    var batch_variance = zero;
    for (var split = 0u; split < params.splits; split++) {
        let row = split * channel_groups + group.x;
        let first = row * parts;
        let squares = planes.groups * parts + first;
#import norm/merge_partials
        of_invocations[local] = mine;
        workgroupBarrier();
        if local == 0u {
            var batch = no_statistics();
            for (var i = 0u; i < ${WORKGROUP}u; i++) { batch = merged(batch, of_invocations[i]); }
            let mu = pivot + batch.mean;
            mean[row] = select(zero, mu, real);
            inv_std[row] = select(zero, inverse_deviation_of(batch, params.epsilon), real);
            batch_mean += mu;
            batch_variance += unbiased_variance(batch);
        }
        if split + 1u >= params.splits { break; }
        workgroupBarrier();
    }
    if local != 0u { return; }
    let splits = f32(params.splits);
    running_mean[group.x] = running(running_mean[group.x], batch_mean / splits, params.momentum, real);
    running_variance[group.x] = running(running_variance[group.x], batch_variance / splits, params.momentum, real);
}
