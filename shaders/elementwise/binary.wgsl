// y = a + b (OP_ADD) or y = a·b (OP_MUL), element by element.
// binding 0: a, 1: b, 2: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn binary(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
#if OP_ADD
    y[i] = a[i] + b[i];
#endif
#if OP_MUL
    y[i] = a[i] * b[i];
#endif
}
