// The activation that a kernel fuses: none, or the one whose name OP_RELU, OP_RELU6 or OP_TANH is defined.
// All have f(0) = 0, so padding lanes stay zero.
fn activate(v: vec4<f32>) -> vec4<f32> {
#if OP_RELU
    return max(v, vec4<f32>(0.0));
#endif
#if OP_RELU6
    return clamp(v, vec4<f32>(0.0), vec4<f32>(6.0));
#endif
#if OP_TANH
    // Some drivers compute tanh from exp, which overflows for large arguments.
    return tanh(clamp(v, vec4<f32>(-15.0), vec4<f32>(15.0)));
#endif
#if !OP_RELU && !OP_RELU6 && !OP_TANH
    return v;
#endif
}

// Gradient before the activation, from its result `y` and the gradient `dy` after it; 0 at the corners.
fn activation_gradient(y: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
#if OP_RELU
    return select(vec4<f32>(0.0), dy, y > vec4<f32>(0.0));
#endif
#if OP_RELU6
    return select(vec4<f32>(0.0), dy, (y > vec4<f32>(0.0)) & (y < vec4<f32>(6.0)));
#endif
#if OP_TANH
    return dy * (vec4<f32>(1.0) - y * y);
#endif
#if !OP_RELU && !OP_RELU6 && !OP_TANH
    return dy;
#endif
}
