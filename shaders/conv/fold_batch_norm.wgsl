// Batch norm with the running statistics as scale = γ/√(σ² + ε) and shift = β − μ·scale.
// binding 0: γ, 1: β, 2: μ, 3: σ² [vec4]; 4: scales, then shifts.
// Grid: one invocation a texel of channels. Roofline: memory, next to nothing.
#import norm/inverse_deviation

struct Params { channels4: u32, epsilon: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> variance: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> folded: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn fold_batch_norm(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= params.channels4 { return; }
    let scale = gamma[i] * inverse_deviation(variance[i], 1u, params.epsilon);
    folded[i] = scale;
    folded[params.channels4 + i] = beta[i] - mean[i] * scale;
}
