// dx = γ·inv_std·(g − mean(g) − x̂·mean(g·x̂)) with g as in batch_norm_grad_partials.
// binding 0: x, 1: dy, or g where it is known (then no activation is defined), 2: constants
// (batch_norm_grad_finalize), 3: dx [vec4], with SECOND 4: what is added to dy. Grid: one invocation a share. Roofline: memory, two reads (three), one write.
// Padding lanes: γ = 0 there, so dx = 0.
#import common/grid
#import common/planes
#import norm/batch_norm_gradient

struct Params { planes: Planes }
var<immediate> params: Params;
#operand 0 x
#operand 1 dy
@group(0) @binding(2) var<storage, read> constants: array<vec4<f32>>;
#result 3 dx
#if SECOND
#operand 4 second
#endif

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_grad_apply(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                         @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    let at = share.group * 6u;
    let mu = constants[at];
    let scale = constants[at + 2u] * constants[at + 1u];
    let slope = constants[at + 1u] * constants[at + 4u];
    let offset = constants[at + 5u];
    let shift = constants[at + 3u];
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += planes.lanes) {
            let d = load_x(start + p) - mu;
            let g = gradient(start + p, d, scale, shift);
            store_dx(start + p, scale * ((g - offset) - d * slope));
            // Spares a turn without lanes (docs/kernels.md).
            if p + planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
}
