// Mean and sum of squared deviations of each share of x (common/planes).
// binding 0: x [vec4], 1: partial means, then partial sums of squared deviations [2][groups][parts] vec4.
// Grid: one invocation a share. Roofline: memory, one read of x.
#import common/grid
#import common/planes
#import norm/statistics

struct Params { planes: Planes }
var<immediate> params: Params;
#operand 0 x
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
#import norm/share_statistics
    partials[share.part] = part.mean;
    partials[planes.groups * planes.parts + share.part] = part.squares;
}
