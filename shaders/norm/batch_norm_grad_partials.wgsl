// Partial sums of g and g·x̂ over each share, g = dy·f'(before the activation f), x̂ = (x − μ)·inv_std.
// binding 0: x, 1: dy, 2: mean, 3: inv_std or running variance [vec4], 4: partial Σ g·x̂, then partial Σ g
// [2][groups][parts] vec4. With RESIDUAL 5: y, 6: dresidual = g, and with SECOND 7: what is added to dy; otherwise, where there
// is an activation, its result is computed again from 5: γ, 6: β, which saves the read of y.
// With SPLIT the channel groups of all splits lie side by side (kernels::norm), under one γ and β.
// TURN: texels of a share in a turn of the loop; it divides what each share has in an image.
// Grid: one invocation a share. Roofline: memory, reads of x, dy (and y, second), with RESIDUAL one write.
#import common/grid
#import common/planes
#import common/activation
#import norm/statistic

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
#operand 1 dy
@group(0) @binding(2) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> spread: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;
#if RESIDUAL
#operand 5 y
#result 6 dresidual
#if SECOND
#operand 7 second
#endif
#else
#if ACTIVATED
@group(0) @binding(5) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> beta: array<vec4<f32>>;
#endif
#endif

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_grad_partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    let mu = mean[share.group];
    let inverse = inverse_deviation(spread[share.group], params.is_variance, params.epsilon);
#if ACTIVATED && !RESIDUAL
    var channels = share.group;
#if SPLIT
    channels %= params.channel_groups;
#endif
    let scale = gamma[channels] * inverse;
    let shift = beta[channels];
#endif
    var sum = vec4<f32>(0.0);
    var product = vec4<f32>(0.0);
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += ${TURN}u * planes.lanes) {
#for t in 0..TURN
            let p${t} = start + p + ${t}u * planes.lanes;
            let d${t} = load_x(p${t}) - mu;
            var g${t} = load_dy(p${t});
#if RESIDUAL
#if SECOND
            g${t} += load_second(p${t});
#endif
            g${t} = activation_gradient(load_y(p${t}), g${t});
            store_dresidual(p${t}, g${t});
#else
#if ACTIVATED
            g${t} = activation_gradient(activate(fma(d${t}, scale, shift)), g${t});
#endif
#endif
            sum += g${t};
            product = fma(g${t}, d${t}, product);
#end
            // Spares a turn without lanes (docs/kernels.md).
            if p + ${TURN}u * planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
    partials[share.part] = product * inverse;
    partials[planes.groups * planes.parts + share.part] = sum;
}
