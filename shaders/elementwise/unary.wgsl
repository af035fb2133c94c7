// y = f(x), element by element, where OP names f.
// binding 0: x [vec4], 1: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 8 bytes an element.
// f(0) = 0 for every f here, so padding lanes stay zero.
#import common/grid

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn unary(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let v = x[i];
#if OP_RELU
    y[i] = max(v, vec4<f32>(0.0));
#endif
#if OP_RELU6
    y[i] = clamp(v, vec4<f32>(0.0), vec4<f32>(6.0));
#endif
#if OP_TANH
    y[i] = tanh(clamp(v, vec4<f32>(-15.0), vec4<f32>(15.0)));
#endif
}
