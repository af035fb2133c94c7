// Threefry2x32-20 (Salmon et al., SC 2011): counter-based random bits, equal to `contraleak::rng` bit
// for bit. Integer add, rotate and xor only. Import; no entry point, no bindings.

fn threefry_mix(x: vec2<u32>, rotation: u32) -> vec2<u32> {
    let sum = x.x + x.y;
    return vec2<u32>(sum, ((x.y << rotation) | (x.y >> (32u - rotation))) ^ sum);
}

fn threefry_rounds_even(x: vec2<u32>) -> vec2<u32> {
    return threefry_mix(threefry_mix(threefry_mix(threefry_mix(x, 13u), 15u), 26u), 6u);
}

fn threefry_rounds_odd(x: vec2<u32>) -> vec2<u32> {
    return threefry_mix(threefry_mix(threefry_mix(threefry_mix(x, 17u), 29u), 16u), 24u);
}

// 64 random bits: a keyed bijection of the counter.
fn threefry2x32_20(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let parity = 0x1BD11BDAu ^ key.x ^ key.y;
    var x = counter + key;
    x = threefry_rounds_even(x) + vec2<u32>(key.y, parity + 1u);
    x = threefry_rounds_odd(x) + vec2<u32>(parity, key.x + 2u);
    x = threefry_rounds_even(x) + vec2<u32>(key.x, key.y + 3u);
    x = threefry_rounds_odd(x) + vec2<u32>(key.y, parity + 4u);
    return threefry_rounds_even(x) + vec2<u32>(parity, key.x + 5u);
}

// The two words of (sample, view, draw); `key` is that of the stream and epoch. view, draw < 65536.
fn rng_draw(key: vec2<u32>, sample: u32, view: u32, draw: u32) -> vec2<u32> {
    return threefry2x32_20(key, vec2<u32>(sample, (view << 16u) | draw));
}

// [0, 1) from the upper 24 bits, exact in f32.
fn rng_uniform(bits: u32) -> f32 {
    return f32(bits >> 8u) * (1.0 / 16777216.0);
}
