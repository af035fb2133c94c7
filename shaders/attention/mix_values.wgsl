// y[plane, d, i] = scale · Σ_j p[plane, i, j] · b[plane, d, j]: values mixed by probabilities, and the gradient to queries.
// bindings (attention/operands) 0: p, rows of texels, 1: b NC4HW4, 2: y NC4HW4.
// Grid: one invocation for four tokens of a channel group. Roofline: compute; 8 loads for 64 multiply–adds.
#import common/grid
#import attention/operands

@compute @workgroup_size(${WORKGROUP})
fn mix_values(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let i = index % params.a_tiles * 4u;
    let line = index / params.a_tiles;
    let plane = line / params.groups;
    let b_start = line * params.b_tokens;
#for r in 0..4
    let p_at_${r} = (plane * params.a_tokens + min(i + ${r}u, params.a_tokens - 1u)) * params.b_tiles;
    var y_${r} = vec4<f32>(0.0);
#end
    for (var j = 0u; j < params.b_tiles; j++) {
#for r in 0..4
        let b_${r} = load_second(b_start + min(j * 4u + ${r}u, params.b_tokens - 1u));
#end
#for r in 0..4
        let p_${r} = load_first(p_at_${r} + j);
        y_${r} += ((p_${r}.x * b_0 + p_${r}.y * b_1) + p_${r}.z * b_2) + p_${r}.w * b_3;
#end
    }
    let to = line * params.a_tokens + i;
#for r in 0..4
    if i + ${r}u < params.a_tokens { result[to + ${r}u] = params.scale * y_${r}; }
#end
}
