// y = a + b (OP_ADD) or y = a·b (OP_MUL), element by element.
// binding 0: a, 1: b, 2: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid

struct Params { count: u32 }
var<immediate> params: Params;
#operand 0 a
#operand 1 b
#result 2 y

@compute @workgroup_size(${WORKGROUP})
fn binary(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
#if OP_ADD
    store_y(i, load_a(i) + load_b(i));
#endif
#if OP_MUL
    store_y(i, load_a(i) * load_b(i));
#endif
}
