// The last factor of a normalisation, 1/√(σ² + ε): in training it was saved, in evaluation the running
// variance is bound in its place. Import; no entry point.
fn inverse_deviation(spread: vec4<f32>, is_variance: u32, epsilon: f32) -> vec4<f32> {
    return select(spread, 1.0 / sqrt(max(spread, vec4<f32>(0.0)) + epsilon), vec4<bool>(is_variance != 0u));
}
