// Partial sums of each channel over the shares of common/planes; reduce/fold adds them.
// binding 0: x [vec4], 1: partial sums [groups][parts] vec4. Grid: one invocation a share.
// Roofline: memory, one read of x.
#import common/grid
#import common/planes

struct Params { planes: Planes }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn channel_sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    var sum = vec4<f32>(0.0);
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += planes.lanes) {
            sum += x[start + p];
            // Spares a turn without lanes (docs/kernels.md).
            if p + planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
    partials[share.part] = sum;
}
