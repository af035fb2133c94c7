// dx = dy·(F(x) + x·F'(x)), element by element (common/gelu). The result y does not say which x it came from: these
// functions fall before they rise.
// binding 0: x, 1: dy, 2: dx [vec4]. Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid
#import common/gelu

struct Params { count: u32 }
var<immediate> params: Params;
#operand 0 x
#operand 1 dy
#result 2 dx

@compute @workgroup_size(${WORKGROUP})
fn gelu_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    store_dx(i, load_dy(i) * slope(load_x(i)));
}
