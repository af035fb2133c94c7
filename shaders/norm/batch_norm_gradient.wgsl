// The gradient before the activation at texel i, from that behind it, dy or dy + second (SECOND). Import; no entry point. With RESIDUAL y is known;
// otherwise, where there is an activation, it is computed again from d, the distance of x to its mean.
#import common/activation
fn gradient(i: u32, d: vec4<f32>, scale: vec4<f32>, shift: vec4<f32>) -> vec4<f32> {
    var g = load_dy(i);
#if SECOND
    g += load_second(i);
#endif
#if RESIDUAL
    return activation_gradient(load_y(i), g);
#else
    return activation_gradient(activate(fma(d, scale, shift)), g);
#endif
}
