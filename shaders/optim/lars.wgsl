// Third stage of LARS (You, Gitman and Ginsburg, 2017): d = g + λp; v ← μv + r·d; p ← p − ηv, r of the segment.
// binding 0: StepState (η, skip), 1: chunks [count] of (segment, first vec4, vec4s, unused), 2: ratios of segments,
// 3: g [vec4], 4: p [vec4], 5: v [vec4].
// Grid: one workgroup for each chunk. Roofline: memory, 20 bytes an element.
#import common/step

struct Params { count: u32, momentum: f32, weight_decay: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> state: StepState;
@group(0) @binding(1) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> ratios: array<f32>;
#operand 3 g
#update 4 p
#update 5 v

@compute @workgroup_size(${WORKGROUP})
fn lars(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let index = group.x + group.y * groups.x;
    if index >= params.count || state.skip != 0u { return; }
    let chunk = chunks[index];
    let ratio = ratios[chunk.x];
    for (var k = local; k < chunk.z; k += ${WORKGROUP}u) {
        let i = chunk.y + k;
        let before = load_p(i);
        let d = fma(vec4<f32>(params.weight_decay), before, load_g(i));
        let moved = fma(vec4<f32>(params.momentum), load_v(i), ratio * d);
        store_v(i, moved);
        store_p(i, fma(vec4<f32>(-state.learning_rate), moved, before));
    }
}
