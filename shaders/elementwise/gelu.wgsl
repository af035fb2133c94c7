// y = x·F(x), element by element (common/gelu).
// binding 0: x [vec4], 1: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 8 bytes an element.
#import common/grid
#import common/gelu

struct Params { count: u32 }
var<immediate> params: Params;
#operand 0 x
#result 1 y

@compute @workgroup_size(${WORKGROUP})
fn gelu(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    store_y(i, distributed(load_x(i)));
}
