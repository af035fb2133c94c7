// y = factor·x, or y += factor·x (ACCUMULATE), element by element.
// binding 0: x, 1: y [vec4]. Grid: one invocation for each vec4. Roofline: memory, 8 or 12 bytes an element.
#import common/grid

struct Params { count: u32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
#if ACCUMULATE
    y[i] = fma(vec4<f32>(params.factor), x[i], y[i]);
#else
    y[i] = params.factor * x[i];
#endif
}
