// y[plane, t] = x[plane, t + shift] where x has such a token, otherwise 0: a range of tokens, or its gradient.
// binding 0: x NC4HW4 of `x_tokens` pixels, 1: y NC4HW4 of `y_tokens` pixels. Grid: one invocation for each vec4 of y.
// Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { count: u32, x_tokens: u32, y_tokens: u32, shift: i32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn shift_tokens(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let plane = i / params.y_tokens;
    // Negative tokens wrap to large ones.
    let from_token = u32(i32(i - plane * params.y_tokens) + params.shift);
    var v = vec4<f32>(0.0);
    if from_token < params.x_tokens { v = x[plane * params.x_tokens + from_token]; }
    y[i] = v;
}
