// The activations x·F(x) with F a distribution function, and their slopes F(x) + x·F'(x).
// With EXACT F is the normal one, Φ, otherwise the logistic σ(1.702·x) that comes near it. Both are 0 at 0, so padding
// lanes stay zero. F(−|x|) is computed and 1 − F(−|x|) where x > 0, so that nothing cancels in the tails.
//
// Φ(−a)·exp(a²/2) = t·P(t) with t = 1/(1 + 0.45·a/√2), P of degree 9 through the values at the Chebyshev nodes of (0, 1]:
// in exact arithmetic Φ is missed by at most 1.8e-8 (a scan of a in steps of 0.0004), and by 3.2e-8 of itself.
#if EXACT
fn tail(a: vec4<f32>, e: vec4<f32>) -> vec4<f32> {
    let t = vec4<f32>(1.0) / (vec4<f32>(1.0) + 0.318198052 * a);
    var p = vec4<f32>(-0.0215126812);
    p = p * t + 0.0989918239;
    p = p * t - 0.1570853822;
    p = p * t + 0.078034398;
    p = p * t - 0.0151918786;
    p = p * t + 0.0613619231;
    p = p * t + 0.087356389;
    p = p * t + 0.1141621336;
    p = p * t + 0.1269405922;
    p = p * t + 0.1269426665;
    return p * t * e;
}

// Beyond 16 the tail is below the smallest number, and squares stay finite.
fn distributed(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4<f32>(16.0));
    let below = tail(a, exp(-0.5 * a * a));
    return x * select(vec4<f32>(1.0) - below, below, x < vec4<f32>(0.0));
}

fn slope(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4<f32>(16.0));
    let e = exp(-0.5 * a * a);
    let below = tail(a, e);
    return select(vec4<f32>(1.0) - below, below, x < vec4<f32>(0.0)) + 0.398942280 * x * e;
}
#else
// Beyond 80 the tail is below the smallest number.
fn distributed(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-min(abs(1.702 * x), vec4<f32>(80.0)));
    return x * select(vec4<f32>(1.0), e, x < vec4<f32>(0.0)) / (vec4<f32>(1.0) + e);
}

fn slope(x: vec4<f32>) -> vec4<f32> {
    let u = 1.702 * x;
    let e = exp(-min(abs(u), vec4<f32>(80.0)));
    let total = vec4<f32>(1.0) + e;
    let negative = x < vec4<f32>(0.0);
    let s = select(vec4<f32>(1.0), e, negative) / total;
    return s + u * s * (select(e, vec4<f32>(1.0), negative) / total);
}
#endif
