// The gradient before the activation at texel i, from that behind it. Import; no entry point. With RESIDUAL y is known and dy may be a sum (SECOND); otherwise, where
// there is an activation, y is computed again from d, the distance of x to its mean.
#import common/activation
fn gradient(i: u32, d: vec4<f32>, scale: vec4<f32>, shift: vec4<f32>) -> vec4<f32> {
#if RESIDUAL
#if SECOND
    return activation_gradient(load_y(i), load_dy(i) + load_second(i));
#else
    return activation_gradient(load_y(i), load_dy(i));
#endif
#else
    return activation_gradient(activate(fma(d, scale, shift)), load_dy(i));
#endif
}
