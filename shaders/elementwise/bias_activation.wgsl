// y = f(x + b) with one b for each channel, f the activation of common/activation.
// binding 0: x [vec4], 1: b [groups] vec4, 2: y [vec4]. Grid: one invocation a share (common/planes).
// Roofline: memory, 8 bytes an element. Padding lanes of b are zero, so those of y are.
#import common/grid
#import common/planes
#import common/activation

struct Params { planes: Planes }
var<immediate> params: Params;
#operand 0 x
@group(0) @binding(1) var<storage, read> bias: array<vec4<f32>>;
#result 2 y

@compute @workgroup_size(${WORKGROUP})
fn bias_activation(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    let b = bias[share.group];
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += planes.lanes) {
            store_y(start + p, activate(load_x(start + p) + b));
            // Spares a turn without lanes (docs/kernels.md).
            if p + planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
}
