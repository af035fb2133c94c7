// The end of a step with dynamic loss scaling (Micikevicius et al., ICLR 2018; PyTorch's GradScaler). Where a gradient is not finite, the
// optimizer skips the step and S halves; after `growth_interval` good steps in a row S doubles.
// A skipped step does not count for Adam: its bias corrections are those of the steps that the phase's optimizer took.
// binding 0: GradientNorm, 1: corrections [entries] of (1 − β₁ᵗ, √(1 − β₂ᵗ)), t = 1, 2, …, all later ones as the last, 2: LossScale,
// 3: StepState (skip and both corrections).
// Grid: one invocation. Roofline: none worth naming.
#import common/step
#import loss_scale/state

struct Params { phase: u32, growth_interval: u32, entries: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> norm: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> corrections: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> loss_scale: LossScale;
@group(0) @binding(3) var<storage, read_write> state: StepState;

// Both have an exact inverse.
const SMALLEST = 1.1754943508222875e-38;
const LARGEST = 8.507059173023462e37;

@compute @workgroup_size(1)
fn update() {
    if norm[0].y != 0u {
        state.skip = 1u;
        loss_scale.skipped[params.phase] += 1u;
        loss_scale.good_steps = 0u;
        loss_scale.scale = max(0.5 * loss_scale.scale, SMALLEST);
        return;
    }
    let correction = corrections[min(state.optimizer_step - loss_scale.skipped[params.phase], params.entries - 1u)];
    state.adam_bias1 = correction.x;
    state.adam_bias2_sqrt = correction.y;
    loss_scale.good_steps += 1u;
    if loss_scale.good_steps == params.growth_interval {
        loss_scale.good_steps = 0u;
        loss_scale.scale = min(2.0 * loss_scale.scale, LARGEST);
    }
}
