// dx = dy·f'(x), element by element, with f' as a function of y = f(x) (common/activation).
// binding 0: y, 1: dy, 2: dx [vec4]. Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid
#import common/activation

struct Params { count: u32 }
var<immediate> params: Params;
#operand 0 y
#operand 1 dy
#result 2 dx

@compute @workgroup_size(${WORKGROUP})
fn unary_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    store_dx(i, activation_gradient(load_y(i), load_dy(i)));
}
