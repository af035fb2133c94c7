// Queries around a point: y[row.output] = clip(x[row.slot] + δ g/‖g‖) with δ = row.scale and g standard normal
// (Box–Muller), draw (image, row.number). Padding lanes stay zero.
// binding 0: rows [Row], 1: key [vec4: two words], 2: images [u32, one a slot], 3: x [vec4], 4: y [vec4].
// Grid: one workgroup a row, or one invocation (shared_row); ‖g‖² is the sum of the invocations' shares, in their order.
// g waits in y, where each invocation finds its own again.
// Roofline: arithmetic, two Threefry calls, two logarithms and two sines and cosines a vec4.
#import hop_skip_jump/shares
#import hop_skip_jump/draw

struct Params { rows: u32, texels: u32, pixels: u32, channels: u32, low: f32, high: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> key: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> images: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Two standard normal numbers of two words. The logarithm's argument has 23 bits and a half: it lies inside (0, 1).
fn normals(words: vec2<u32>) -> vec2<f32> {
    let radius = sqrt(-2.0 * log((f32(words.x >> 9u) + 0.5) * (1.0 / 8388608.0)));
    // Centred, because drivers are most exact there.
    let angle = 6.283185307179586 * (rng_uniform(words.y) - 0.5);
    return radius * vec2<f32>(cos(angle), sin(angle));
}

@compute @workgroup_size(${WORKGROUP})
fn directions(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
#import hop_skip_jump/shared_row
    let words_key = row_key(key[0].xy, images[row.slot], row.number);
    let first = row.output * params.texels;
    var squares = 0.0;
    for (var k = lane; k < params.texels; k += ${LANES}u) {
        let words = texel_words(words_key, k, params.pixels);
        let drawn = vec4<f32>(normals(words.xy), normals(words.zw));
        let g = without_padding(drawn, k, params.pixels, params.channels);
        squares += dot(g, g);
        y[first + k] = g;
    }
#import hop_skip_jump/shared_total
    let factor = row.scale / sqrt(total);
    for (var k = lane; k < params.texels; k += ${LANES}u) {
        let moved = x[row.slot * params.texels + k] + factor * y[first + k];
        let clipped = clamp(moved, vec4<f32>(params.low), vec4<f32>(params.high));
        y[first + k] = without_padding(clipped, k, params.pixels, params.channels);
    }
}
