// The nearest number that f16 has, ties to even, as IEEE 754 rounds; from 65,520 on infinity, so that an overflow is seen in what
// follows. In integers, because drivers may round as they like in pack2x16float and in conversions.
fn round_half(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // Eleven bits of significand stay.
    let nearest = (magnitude + vec4<u32>(0xfffu) + ((magnitude >> vec4<u32>(13u)) & vec4<u32>(1u))) & vec4<u32>(0xffffe000u);
    let normal = select(nearest, vec4<u32>(0x7f800000u), nearest > vec4<u32>(0x477fe000u));
    // Below 2^-14 f16 has the multiples of 2^-24.
    let small = bitcast<vec4<u32>>(round(abs(x) * 16777216.0) * 5.9604644775390625e-8);
    let rounded = select(normal, small, magnitude < vec4<u32>(0x38800000u));
    return bitcast<vec4<f32>>(rounded | (bits & vec4<u32>(0x80000000u)));
}
