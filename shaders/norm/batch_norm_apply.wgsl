// y = f(γ·(x − μ)·inv_std + β [+ residual]), f the activation.
// binding 0: x, 1: mean, 2: inv_std or running variance, 3: γ, 4: β, 5: y, 6: residual (if RESIDUAL) [vec4].
// With SPLIT the channel groups of all splits lie side by side (kernels::norm), under one γ and β.
// Grid: one invocation a share (common/planes). Roofline: memory, one read of each input, one write.
// Padding lanes: γ = β = 0 and x = residual = 0 there, so y = f(0) = 0.
#import common/grid
#import common/planes
#import common/activation
#import norm/inverse_deviation

struct Params {
    planes: Planes,
    is_variance: u32,
    epsilon: f32,
#if SPLIT
    channel_groups: u32,
#endif
}
var<immediate> params: Params;
#operand 0 x
@group(0) @binding(1) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> spread: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
#result 5 y
#if RESIDUAL
#operand 6 residual
#endif

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_apply(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    let mu = mean[share.group];
    var channels = share.group;
#if SPLIT
    channels %= params.channel_groups;
#endif
    let scale = gamma[channels] * inverse_deviation(spread[share.group], params.is_variance, params.epsilon);
    let shift = beta[channels];
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += planes.lanes) {
            // The gradient kernels repeat exactly this to know where the activation let through.
            var v = fma(load_x(start + p) - mu, scale, shift);
#if RESIDUAL
            v += load_residual(start + p);
#endif
            store_y(start + p, activate(v));
            // Spares a turn without lanes (docs/kernels.md).
            if p + planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
}
