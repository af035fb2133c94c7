// target ← m·target + (1−m)·source: MoCo's key encoder (He et al., CVPR 2020, equation 2).
// binding 0: source [vec4], 1: target [vec4].
// Grid: a workgroup for every ${WORKGROUP}·${ITEMS} vec4. Roofline: memory, 12 bytes an element.

struct Params { count: u32, momentum: f32, one_minus_momentum: f32 }
var<immediate> params: Params;
#operand 0 source
#update 1 averaged

@compute @workgroup_size(${WORKGROUP})
fn ema(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) local: u32) {
    let first = (group.x + group.y * groups.x) * ${WORKGROUP * ITEMS}u + local;
    for (var k = 0u; k < ${ITEMS}u; k++) {
        let i = first + k * ${WORKGROUP}u;
        if i >= params.count { return; }
        store_averaged(i, fma(vec4<f32>(params.momentum), load_averaged(i), params.one_minus_momentum * load_source(i)));
    }
}
