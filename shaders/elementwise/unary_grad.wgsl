// dx = dy·f'(x), element by element, with f' as a function of y = f(x) (common/activation).
// binding 0: y, 1: dy, 2: dx [vec4]. Grid: one invocation for each vec4. Roofline: memory, 12 bytes an element.
#import common/grid
#import common/activation

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn unary_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    dx[i] = activation_gradient(y[i], dy[i]);
}
