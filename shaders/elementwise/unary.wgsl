// y = f(x), element by element, f the activation of common/activation.
// binding 0: x [vec4], 1: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 8 bytes an element.
// f(0) = 0 for every f here, so padding lanes stay zero.
#import common/grid
#import common/activation

struct Params { count: u32 }
var<immediate> params: Params;
#operand 0 x
#result 1 y

@compute @workgroup_size(${WORKGROUP})
fn unary(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    store_y(i, activate(load_x(i)));
}
