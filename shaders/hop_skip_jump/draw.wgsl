// Random words of a row: a function of the phase's key, the image's own number and the draw, whatever else is in
// the table. Two channels of a pixel share the two words of the pair (channel / 2, pixel).
#import common/threefry

fn row_key(phase: vec2<u32>, image: u32, number: u32) -> vec2<u32> {
    return threefry2x32_20(phase, vec2<u32>(image, number));
}

// The words of texel k: x, y those of its first two channels, z, w those of the others.
fn texel_words(key: vec2<u32>, k: u32, pixels: u32) -> vec4<u32> {
    let group = k / pixels;
    let first = 2u * group * pixels + (k - group * pixels);
    return vec4<u32>(threefry2x32_20(key, vec2<u32>(first, 0u)), threefry2x32_20(key, vec2<u32>(first + pixels, 0u)));
}

// v with zeros in the lanes that are no channel.
fn without_padding(v: vec4<f32>, k: u32, pixels: u32, channels: u32) -> vec4<f32> {
    let lanes = vec4<u32>(4u * (k / pixels)) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), v, lanes < vec4<u32>(channels));
}
