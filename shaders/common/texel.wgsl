// Operand textures are linear: texel i lies at (i % 8192, i / 8192) (gpu::TEXTURE_WIDTH).
// NOWHERE lies below every texture; the software adapter reads zero there, which is how padding is made.
const NOWHERE: u32 = 0x7fffffffu;
fn at(i: u32) -> vec2<u32> {
    return vec2<u32>(i & 8191u, i >> 13u);
}
// An offset that moves any texel out of its texture or buffer; two of them still do, without wrapping around.
const OUTSIDE: u32 = 0x40000000u;
