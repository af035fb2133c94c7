// All of batch norm in training in one launch, with the bits of batch_norm_partials, batch_norm_finalize and batch_norm_apply:
//   y = f(γ·(x − μ)·inv_std + β [+ residual]), f the activation, and running statistics as in batch_norm_finalize.
// binding 0: x, 1: mean, 2: inv_std, 3: running mean, 4: running variance, 5: γ, 6: β, 7: y, two texels at a time, then, in this order,
// RESIDUAL: the number of the residual's, PARTIALS: that of partial statistics [2][groups][parts] of what made x, which spares the first pass over it [vec4].
// Grid: one workgroup a channel group, which is one subgroup of eight lanes: those of common/planes. Roofline: memory, two reads of x, of which a
// cache may answer the second, one of the residual, one write.
#import common/planes
#import common/activation
#import common/pack64
#import norm/statistics

struct Params { planes: Planes, channels: u32, epsilon: f32, momentum: f32 }
var<immediate> params: Params;
#operand 0 x
@group(0) @binding(1) var<storage, read_write> mean: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> running_variance: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<u64>>;
#if RESIDUAL
#operand RESIDUAL residual
#endif
#if PARTIALS
#operand PARTIALS partials
#endif

@compute @workgroup_size(8)
fn batch_norm_train(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let planes = params.planes;
#if PARTIALS
    let parts = planes.parts;
    let first = group.x * parts;
    let squares = planes.groups * parts + first;
    let local = lane;
#import norm/merge_partials
    let first_mean = pivot;
#else
    var mine = no_statistics();
    var first_mean = vec4<f32>(0.0);
    let rows = planes.parts / 8u;
    for (var row = 0u; row < rows; row++) {
        let block = divide(row, planes.segments);
        let share = share_at(group.x, block, row - block * planes.segments, lane, planes);
#import norm/share_statistics
        first_mean = select(first_mean, subgroupBroadcast(part.mean, 0u), row == 0u);
        mine = merged(mine, Statistics(part.count, part.mean - first_mean, part.squares));
        // Spares a turn without lanes (docs/kernels.md).
        if row + 1u >= rows { break; }
    }
#endif
    var batch = no_statistics();
#for i in 0..8
    batch = merged(batch, Statistics(
        subgroupBroadcast(mine.count, ${i}u), subgroupBroadcast(mine.mean, ${i}u), subgroupBroadcast(mine.squares, ${i}u)));
#end
    let mu = first_mean + batch.mean;
    let inverse = inverse_deviation_of(batch, params.epsilon);
    if lane == 0u {
        let zero = vec4<f32>(0.0);
        let real = real_channels(group.x, params.channels);
        mean[group.x] = select(zero, mu, real);
        inv_std[group.x] = select(zero, inverse, real);
        running_mean[group.x] = running(running_mean[group.x], mu, params.momentum, real);
        running_variance[group.x] = running(running_variance[group.x], unbiased_variance(batch), params.momentum, real);
    }
    let scale = gamma[group.x] * inverse;
    let shift = beta[group.x];
    for (var n = 0u; n < planes.images; n++) {
        let start = (n * planes.groups + group.x) * planes.pixels + 2u * lane;
        for (var p = 0u; p < planes.pixels; p += 16u) {
            // The gradient kernels repeat exactly this to know where the activation let through.
#for i in 0..2
            var v${i} = fma(load_x(start + p + ${i}u) - mu, scale, shift);
#if RESIDUAL
            v${i} += load_residual(start + p + ${i}u);
#endif
#end
            y[(start + p) / 2u] = vec4<u64>(pack64(activate(v0)), pack64(activate(v1)));
            if p + 16u >= planes.pixels { break; }
        }
        if n + 1u >= planes.images { break; }
    }
}
