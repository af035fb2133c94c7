// y = S·x: the gradient at its root times the loss scale, a power of two.
// binding 0: LossScale, 1: x [vec4], 2: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 8 bytes an element.
#import common/grid
#import loss_scale/state

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> loss_scale: LossScale;
#operand 1 x
#result 2 y

@compute @workgroup_size(${WORKGROUP})
fn scale_gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    store_y(i, loss_scale.scale * load_x(i));
}
