// Colour operators on RGB in [0, 1], as torchvision defines them. Import; no entry point.

fn gray_of(v: vec3<f32>) -> f32 {
    return v.x * 0.2989 + v.y * 0.587 + v.z * 0.114;
}

// factor·v + (1 − factor)·other, clamped.
fn blend(v: vec3<f32>, other: f32, factor: f32) -> vec3<f32> {
    return clamp(v * factor + (1.0 - factor) * other, vec3<f32>(0.0), vec3<f32>(1.0));
}

// Turns the hue through HSV without leaving RGB: with h in sixths of a turn, every channel is
// value − chroma·clamp(min(k, 4 − k), 0, 1), k = (5, 3, 1) + h modulo 6. Gray pixels have chroma 0 and stay.
fn turn_hue(v: vec3<f32>, turns: f32) -> vec3<f32> {
    let value = max(max(v.x, v.y), v.z);
    let chroma = value - min(min(v.x, v.y), v.z);
    let scale = 1.0 / select(1.0, chroma, chroma > 0.0);
    let blue_or_green = select(4.0 + (v.x - v.y) * scale, 2.0 + (v.z - v.x) * scale, value == v.y);
    let sixths = select(blue_or_green, (v.y - v.z) * scale, value == v.x);
    var k = vec3<f32>(5.0, 3.0, 1.0) + (sixths + 6.0 * turns);
    k -= 6.0 * floor(k * (1.0 / 6.0));
    return value - chroma * clamp(min(k, 4.0 - k), vec3<f32>(0.0), vec3<f32>(1.0));
}

// What images of 8 bits can hold, if pil8 says so.
fn quantise(v: vec3<f32>, pil8: bool) -> vec3<f32> {
    return select(v, round(v * 255.0) / 255.0, pil8);
}
