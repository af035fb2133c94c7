// y[plane, d, j] = scale · Σ_i p[plane, i, j] · a[plane, d, i]: the transposed product, gradients to keys and values.
// bindings (attention/operands) 0: p, rows of texels, 1: a NC4HW4, 2: y NC4HW4.
// Grid: one invocation for four tokens of two channel groups. Roofline: compute; 3 loads for 32 multiply–adds.
#import common/grid
#import attention/operands

@compute @workgroup_size(${WORKGROUP})
fn mix_queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let j_tile = index % params.b_tiles;
    let pairs = (params.groups + 1u) / 2u;
    let pair = index / params.b_tiles % pairs;
    let plane = index / params.b_tiles / pairs;
    let p_start = plane * params.a_tokens * params.b_tiles + j_tile;
#for c in 0..2
    // The second of an odd number of groups is the first once more.
    let g_${c} = min(pair * 2u + ${c}u, params.groups - 1u);
    let a_start_${c} = (plane * params.groups + g_${c}) * params.a_tokens;
#for r in 0..4
    var y_${c}_${r} = vec4<f32>(0.0);
#end
#end
    for (var i = 0u; i < params.a_tokens; i += 4u) {
#for k in 0..4
        let i_${k} = min(i + ${k}u, params.a_tokens - 1u);
        let p_${k} = select(vec4<f32>(0.0), load_first(p_start + i_${k} * params.b_tiles), i + ${k}u < params.a_tokens);
#for c in 0..2
        let a_${c}_${k} = load_second(a_start_${c} + i_${k});
#end
#end
#for c in 0..2
#for r in 0..4
        y_${c}_${r} = (((y_${c}_${r} + p_0.${r:xyzw} * a_${c}_0) + p_1.${r:xyzw} * a_${c}_1) + p_2.${r:xyzw} * a_${c}_2)
            + p_3.${r:xyzw} * a_${c}_3;
#end
#end
    }
#for c in 0..2
    let to_${c} = (plane * params.groups + g_${c}) * params.b_tokens + j_tile * 4u;
#for r in 0..4
    if pair * 2u + ${c}u < params.groups && j_tile * 4u + ${r}u < params.b_tokens {
        result[to_${c} + ${r}u] = params.scale * y_${c}_${r};
    }
#end
#end
}
