// dx = dy·(F(x) + x·F'(x)), element by element (common/gelu). The result y does not say which x it came from: these
// functions fall before they rise.
// binding 0: x, 1: dy, 2: dx [vec4]. Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid
#import common/gelu

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn gelu_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    dx[i] = dy[i] * slope(x[i]);
}
