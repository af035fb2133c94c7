// Partial sums for dγ = Σ dy·x̂ and dβ = Σ dy over images and pixels, over the shares of common/planes; reduce/fold adds
// them. binding 0: x NC4HW4, 1: dy NC4HW4, 2: (μ, r) [image][pixel], 3: partial dγ, 4: partial dβ, both [groups][parts] vec4.
// Grid: one invocation a share. Roofline: memory, one read of x and dy. Padding lanes of dy are zero, so those of the sums are.
#import common/grid
#import common/planes

struct Params { planes: Planes }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> statistics: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> partial_gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partial_beta: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn layer_norm_grad_partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    var gamma = vec4<f32>(0.0);
    var beta = vec4<f32>(0.0);
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += planes.lanes) {
            let statistic = statistics[n * planes.pixels + p];
            let up = dy[start + p];
            gamma += up * ((x[start + p] - statistic.x) * statistic.y);
            beta += up;
            // Spares a turn without lanes (docs/kernels.md).
            if p + planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
    partial_gamma[share.part] = gamma;
    partial_beta[share.part] = beta;
}
