// One step of stochastic gradient descent:
//   d = g + λp; v ← μv + d; p ← p − ηv, or with Nesterov's momentum p ← p − η(d + μv).
// Without MOMENTUM there is no v and p ← p − ηd.
// binding 0: StepState (η, skip), 1: g [vec4], 2: p [vec4], 3: v [vec4] (MOMENTUM only).
// Grid: a workgroup for every ${WORKGROUP}·${ITEMS} vec4. Roofline: memory, 20 bytes an element (12 without momentum).
#import common/step

struct Params { count: u32, momentum: f32, weight_decay: f32, nesterov: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> state: StepState;
#operand 1 g
#update 2 p
#if MOMENTUM
#update 3 v
#endif

@compute @workgroup_size(${WORKGROUP})
fn sgd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) local: u32) {
    let first = (group.x + group.y * groups.x) * ${WORKGROUP * ITEMS}u + local;
    if state.skip != 0u { return; }
    let rate = state.learning_rate;
    for (var k = 0u; k < ${ITEMS}u; k++) {
        let i = first + k * ${WORKGROUP}u;
        if i >= params.count { return; }
        let before = load_p(i);
        let d = fma(vec4<f32>(params.weight_decay), before, load_g(i));
#if MOMENTUM
        let moved = fma(vec4<f32>(params.momentum), load_v(i), d);
        store_v(i, moved);
        let direction = select(moved, fma(vec4<f32>(params.momentum), moved, d), params.nesterov != 0u);
        store_p(i, fma(vec4<f32>(-rate), direction, before));
#else
        store_p(i, fma(vec4<f32>(-rate), d, before));
#endif
    }
}
