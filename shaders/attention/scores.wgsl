// s[plane, i, j] = scale · Σ_d a[plane, d, i] · b[plane, d, j]: scores from queries and keys, and the gradient to
// probabilities. bindings (attention/operands) 0: a, 1: b NC4HW4, 2: s, rows of texels; padding lanes are written as zero.
// Grid: one invocation for 4 x 4 scores. Roofline: compute; 8 loads for 64 multiply–adds.
#import common/grid
#import attention/operands

@compute @workgroup_size(${WORKGROUP})
fn scores(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let j_tile = index % params.b_tiles;
    let i = index / params.b_tiles % params.a_tiles * 4u;
    let plane = index / params.b_tiles / params.a_tiles;
    let a_start = plane * params.groups * params.a_tokens;
    let b_start = plane * params.groups * params.b_tokens;
#for r in 0..4
    let a_at_${r} = a_start + min(i + ${r}u, params.a_tokens - 1u);
    let b_at_${r} = b_start + min(j_tile * 4u + ${r}u, params.b_tokens - 1u);
    var s_${r} = vec4<f32>(0.0);
#end
    for (var g = 0u; g < params.groups; g++) {
#for r in 0..4
        let b_${r} = load_second(b_at_${r} + g * params.b_tokens);
#end
#for r in 0..4
        let a_${r} = load_first(a_at_${r} + g * params.a_tokens);
        s_${r} += vec4<f32>(dot(a_${r}, b_0), dot(a_${r}, b_1), dot(a_${r}, b_2), dot(a_${r}, b_3));
#end
    }
    let real = vec4<u32>(0u, 1u, 2u, 3u) + 4u * j_tile < vec4<u32>(params.b_tokens);
    let to = (plane * params.a_tokens + i) * params.b_tiles + j_tile;
#for r in 0..4
    if i + ${r}u < params.a_tokens {
        result[to + ${r}u * params.b_tiles] = select(vec4<f32>(0.0), params.scale * s_${r}, real);
    }
#end
}
