// Sizes of one product of attention and how its operands are read. A plane is a head of an image: `groups` channel
// groups of `a_tokens` (or `b_tokens`) texels each. Rows of scores are `b_tiles` texels long, four tokens of b in each.
// An invocation computes four rows or columns at once, so that one load serves four products. Indices beyond the last
// token are drawn back to it; what comes of them is not stored, or multiplied by a score's padding, which is zero.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/texel

struct Params {
    groups: u32, a_tokens: u32, b_tokens: u32, a_tiles: u32, b_tiles: u32, count: u32, scale: f32,
}
var<immediate> params: Params;
#if TEXTURES
@group(0) @binding(0) var first: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var second: texture_storage_2d<rgba32float, read>;
#else
@group(0) @binding(0) var<storage, read> first: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> second: array<vec4<f32>>;
#endif
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

fn load_first(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(first, at(i));
#else
    return first[i];
#endif
}

fn load_second(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(second, at(i));
#else
    return second[i];
#endif
}
