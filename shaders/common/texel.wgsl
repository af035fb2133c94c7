// Where texel i of an operand texture lies (gpu::TEXTURE_WIDTH = 8192).
fn texel(i: u32) -> vec2<u32> {
    return vec2<u32>(i & 8191u, i >> 13u);
}
