// y = a token in front of x: y[n, c, 0] = token[n, c] (or token[0, c] for every image), y[n, c, t] = x[n, c, t − 1].
// binding 0: x NC4HW4 of `tokens` − 1 pixels, 1: token [1 or N][groups] vec4, 2: y NC4HW4 of `tokens` pixels.
// Grid: one invocation for each vec4 of y. Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { count: u32, tokens: u32, token_texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> token: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn prepend_token(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let plane = i / params.tokens;
    let t = i - plane * params.tokens;
    if t == 0u {
        y[i] = token[plane % params.token_texels];
    } else {
        y[i] = x[plane * (params.tokens - 1u) + t - 1u];
    }
}
