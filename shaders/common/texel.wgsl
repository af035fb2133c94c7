// Where texel i of an operand texture lies (gpu::TEXTURE_WIDTH = 8192). NOWHERE lies below every texture;
// the software adapter reads zero there, which is how padding is made.
const NOWHERE: u32 = 0x7fffffffu;
fn texel(i: u32) -> vec2<u32> {
    return vec2<u32>(i & 8191u, i >> 13u);
}
