// All gradients of batch norm in training in one launch, with the bits of batch_norm_grad_partials, batch_norm_grad_finalize and batch_norm_grad_apply:
//   dβ = Σ g, dγ = Σ g·x̂, dx = γ·inv_std·(g − mean(g) − x̂·mean(g·x̂)), g the gradient before the activation (norm/batch_norm_gradient).
// binding 0: x, 1: dy, 2: mean, 3: inv_std, 4: γ, 5: β, 6: dγ, 7: dβ, 8: dx; with RESIDUAL 9: y, 10: dresidual = g; SECOND: the number of the last, what is
// added to dy [vec4].
// dx is stored two texels at a time, with RESIDUAL one: the second pass then loads g alone instead of what it is computed from.
// Grid: one workgroup a channel group, which is one subgroup of eight lanes: those of common/planes. Roofline: memory, two reads of x and dy (and
// second) and one write; with RESIDUAL two reads of x, one of dy, y (and second), g written and read, one write.
#import common/planes
#import common/pack64
#import norm/batch_norm_gradient

struct Params { planes: Planes }
var<immediate> params: Params;
#operand 0 x
#operand 1 dy
@group(0) @binding(2) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> inv_std: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dgamma: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dbeta: array<vec4<f32>>;
#if RESIDUAL
#result 8 dx
#operand 9 y
#update 10 dresidual
#else
@group(0) @binding(8) var<storage, read_write> dx: array<vec4<u64>>;
#endif
#if SECOND
#operand SECOND second
#endif

@compute @workgroup_size(8)
fn batch_norm_train_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let planes = params.planes;
    let mu = mean[group.x];
    let inverse = inv_std[group.x];
    let scale = gamma[group.x] * inverse;
    let shift = beta[group.x];
    var my_product = vec4<f32>(0.0);
    var my_sum = vec4<f32>(0.0);
    let rows = planes.parts / 8u;
    for (var row = 0u; row < rows; row++) {
        let block = divide(row, planes.segments);
        let share = share_at(group.x, block, row - block * planes.segments, lane, planes);
#import norm/share_gradients
        my_product += product * inverse;
        my_sum += sum;
        // Spares a turn without lanes (docs/kernels.md).
        if row + 1u >= rows { break; }
    }
    var all_product = vec4<f32>(0.0);
    var all_sum = vec4<f32>(0.0);
#for i in 0..8
    all_product += subgroupBroadcast(my_product, ${i}u);
    all_sum += subgroupBroadcast(my_sum, ${i}u);
#end
    if lane == 0u {
        dgamma[group.x] = all_product;
        dbeta[group.x] = all_sum;
    }
    let part = 1.0 / (f32(planes.images) * f32(planes.pixels));
    let slope = inverse * (all_product * part);
    let offset = all_sum * part;
    for (var n = 0u; n < planes.images; n++) {
        let start = (n * planes.groups + group.x) * planes.pixels;
        for (var p = 0u; p < planes.pixels; p += 16u) {
#if RESIDUAL
            // The first pass has stored g, each lane the texels that it reads here.
#for i in 0..2
            let p${i} = start + p + ${8 * i}u + lane;
            let d${i} = load_x(p${i}) - mu;
            store_dx(p${i}, scale * ((load_dresidual(p${i}) - offset) - d${i} * slope));
#end
#else
            let pair = start + p + 2u * lane;
#for i in 0..2
            let d${i} = load_x(pair + ${i}u) - mu;
            let g${i} = gradient(pair + ${i}u, d${i}, scale, shift);
            let dx${i} = scale * ((g${i} - offset) - d${i} * slope);
#end
            dx[pair / 2u] = vec4<u64>(pack64(dx0), pack64(dx1));
#endif
            if p + 16u >= planes.pixels { break; }
        }
        if n + 1u >= planes.images { break; }
    }
}
