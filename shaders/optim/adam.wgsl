// One step of Adam (Kingma and Ba, ICLR 2015), with λ in the gradient, or decoupled (AdamW):
//   Adam: d = g + λp. AdamW: p ← p(1 − ηλ), d = g. Then
//   m ← β₁m + (1−β₁)d; v ← β₂v + (1−β₂)d²; p ← p − η/(1−β₁ᵗ)·m / (√v/√(1−β₂ᵗ) + ε).
// binding 0: StepState (η, both corrections, skip), 1: g [vec4], 2: p [vec4], 3: m [vec4], 4: v [vec4].
// Grid: a workgroup for every ${WORKGROUP}·${ITEMS} vec4. Roofline: memory, 28 bytes an element.
// ε > 0 keeps padding lanes, where everything is zero, at zero.
#import common/step

struct Params { count: u32, beta1: f32, one_minus_beta1: f32, beta2: f32, one_minus_beta2: f32, eps: f32, weight_decay: f32, decoupled: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> state: StepState;
#operand 1 g
#update 2 p
#update 3 m
#update 4 v

@compute @workgroup_size(${WORKGROUP})
fn adam(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let first = (group.x + group.y * groups.x) * ${WORKGROUP * ITEMS}u + local;
    if state.skip != 0u { return; }
    let rate = state.learning_rate / state.adam_bias1;
    let correction = 1.0 / state.adam_bias2_sqrt;
    let decoupled = params.decoupled != 0u;
    let shrink = select(1.0, 1.0 - state.learning_rate * params.weight_decay, decoupled);
    let decay = select(params.weight_decay, 0.0, decoupled);
    for (var k = 0u; k < ${ITEMS}u; k++) {
        let i = first + k * ${WORKGROUP}u;
        if i >= params.count { return; }
        let before = load_p(i);
        let d = fma(vec4<f32>(decay), before, load_g(i));
        let mean = fma(vec4<f32>(params.beta1), load_m(i), params.one_minus_beta1 * d);
        let square = fma(vec4<f32>(params.beta2), load_v(i), params.one_minus_beta2 * d * d);
        store_m(i, mean);
        store_v(i, square);
        store_p(i, before * shrink - rate * mean / (sqrt(square) * correction + params.eps));
    }
}
