// y = factor·x, or y += factor·x (ACCUMULATE), element by element.
// binding 0: x, 1: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 8 or 12 bytes an element.
#import common/grid

struct Params { count: u32, factor: f32 }
var<immediate> params: Params;
#operand 0 x
#update 1 y

@compute @workgroup_size(${WORKGROUP})
fn scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
#if ACCUMULATE
    store_y(i, fma(vec4<f32>(params.factor), load_x(i), load_y(i)));
#else
    store_y(i, params.factor * load_x(i));
#endif
}
